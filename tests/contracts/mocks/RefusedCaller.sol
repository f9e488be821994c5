// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @title A contract wallet that makes a call when it is asked for a signature
/// @dev It signs anything if and only if that call fails with the expected error.
contract RefusedCaller {
    uint256 public touched;

    address private _target;
    bytes private _data;
    bytes4 private _error;

    /// @param selector What the call is to fail with; 0 for a failure without reason.
    function expect(address target, bytes calldata data, bytes4 selector) external {
        (_target, _data, _error) = (target, data, selector);
    }

    function touch() external {
        ++touched;
    }

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        (bool ok, bytes memory result) = _target.call(_data);
        return !ok && bytes4(result) == _error ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
