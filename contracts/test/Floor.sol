// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";

import {IERC3009} from "../interfaces/IERC3009.sol";

/// @title The least that any escrow must do: what gas is measured against
/// @dev One slot per booking, one log of one word, the money's own movement, no check of anything: never use it.
/// A slot is `provider (160) | amount (88) | state (8)`, lowest bits first, packed by the caller.
abstract contract Floor {
    mapping(bytes32 id => uint256 slot) internal _slots;

    event Funded(bytes32 id);
    event Settled(bytes32 id);

    function _open(bytes32 id, uint256 slot) internal {
        _slots[id] = slot;
        emit Funded(id);
    }

    function _close(bytes32 id) internal returns (address provider, uint256 amount) {
        uint256 slot = _slots[id];
        delete _slots[id];
        emit Settled(id);
        return (address(uint160(slot)), _amountOf(slot));
    }

    function _amountOf(uint256 slot) internal pure returns (uint256) {
        return uint88(slot >> 160);
    }
}

/// @title The floor of the native coin
contract NativeFloor is Floor {
    function fund(bytes32 id, uint256 slot) external payable {
        _open(id, slot);
    }

    function settle(bytes32 id) external {
        (address provider, uint256 amount) = _close(id);
        // Nothing is checked here.
        provider.call{value: amount}("");
    }
}

/// @title The floor of an ERC-20 token
contract TokenFloor is Floor {
    address private immutable _token;

    constructor(address token) {
        _token = token;
    }

    function fund(bytes32 id, uint256 slot) external {
        _open(id, slot);
        IERC20(_token).transferFrom(msg.sender, address(this), _amountOf(slot));
    }

    function fundWithPermit(bytes32 id, uint256 slot, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        _open(id, slot);
        uint256 amount = _amountOf(slot);
        IERC20Permit(_token).permit(msg.sender, address(this), amount, deadline, v, r, s);
        IERC20(_token).transferFrom(msg.sender, address(this), amount);
    }

    function fundWithAuthorization(bytes32 id, uint256 slot, address buyer, uint256 before, bytes calldata signature)
        external
    {
        _open(id, slot);
        IERC3009(_token).receiveWithAuthorization(buyer, address(this), _amountOf(slot), 0, before, id, signature);
    }

    function settle(bytes32 id) external {
        (address provider, uint256 amount) = _close(id);
        IERC20(_token).transfer(provider, amount);
    }
}
