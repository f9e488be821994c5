// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A contract wallet that may misbehave when it is paid
contract HostileWallet is IERC1271 {
    enum Mood {
        Accept,
        Reject,
        BurnGas,
        ReturnBomb,
        Reenter,
        RecordGas
    }

    address public immutable owner;

    Mood public mood;
    bool public signaturesRevoked;
    bool public reentered;
    bytes4 public reentryError;
    uint128 public gasSeen;

    address public reentryTarget;
    bytes public reentryCall;

    constructor(address owner_) {
        owner = owner_;
    }

    receive() external payable {
        onPaid();
    }

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    function setReentry(address target, bytes calldata data) external {
        mood = Mood.Reenter;
        reentryTarget = target;
        reentryCall = data;
    }

    function revokeSignatures() external {
        signaturesRevoked = true;
    }

    function execute(address target, uint256 value, bytes calldata data) external returns (bytes memory) {
        require(msg.sender == owner, "not the owner");
        (bool ok, bytes memory result) = target.call{value: value}(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }

    /// @notice What receiving native coin triggers, and what `HostileToken` calls in its hook mode.
    function onPaid() public {
        if (mood == Mood.Reject) revert("rejected");
        if (mood == Mood.BurnGas) {
            assembly ("memory-safe") {
                invalid()
            }
        }
        if (mood == Mood.ReturnBomb) {
            assembly ("memory-safe") {
                revert(0, 40000)
            }
        }
        if (mood == Mood.Reenter) {
            (bool ok, bytes memory result) = reentryTarget.call(reentryCall);
            (reentered, reentryError) = (ok, bytes4(result));
        }
        if (mood == Mood.RecordGas) gasSeen = uint128(gasleft());
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (address recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
        return !signaturesRevoked && recovered == owner ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
