// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// Solidity's own call copies all that the recipient returns: only assembly can bound that.
/* solhint-disable no-inline-assembly */

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title Sending money to an account that may be hostile
/// @notice A push never reverts because of its recipient, spends at most `gasLimit` on it,
/// and copies at most one word of what it returns.
library Push {
    /// @notice The caller's gas limit would let it decide whether the push fails.
    error Push_NotEnoughGas(uint256 left, uint256 needed);

    /// @dev More than a call costs beside the gas it passes on: access to a cold account (2,600), transfer of value
    /// (9,000), creation of an account (25,000).
    uint256 private constant CALL_OVERHEAD = 40_000;

    /// @notice Reverts unless a call made now can receive all of `gasLimit`.
    /// @dev EIP-150 passes on at most 63/64 of the gas left, silently: without this check a sender could choose a gas
    /// limit at which a good recipient's push fails.
    function requireGas(uint256 gasLimit) internal view {
        uint256 left = gasleft();
        uint256 needed = (gasLimit * 64) / 63 + CALL_OVERHEAD;
        require(left >= needed, Push_NotEnoughGas(left, needed));
    }

    /// @notice Sends native coin.
    function native(address to, uint256 amount, uint256 gasLimit) internal returns (bool sent) {
        assembly ("memory-safe") {
            sent := call(gasLimit, to, amount, 0, 0, 0, 0)
        }
    }

    /// @notice Sends ERC-20 tokens.
    /// @dev Tokens that return nothing are taken at their word; anything returned but a word of 1 is a failure.
    function token(IERC20 erc20, address to, uint256 amount, uint256 gasLimit) internal returns (bool sent) {
        bytes4 selector = IERC20.transfer.selector;
        uint256 size;
        uint256 word;
        assembly ("memory-safe") {
            // The call's 68 bytes overlap the free memory pointer, which is put back.
            let free := mload(0x40)
            mstore(0x00, selector)
            mstore(0x04, and(to, shr(96, not(0))))
            mstore(0x24, amount)
            sent := call(gasLimit, erc20, 0, 0x00, 0x44, 0x00, 0x20)
            size := returndatasize()
            word := mload(0x00)
            mstore(0x40, free)
        }
        return sent && (size == 0 ? address(erc20).code.length > 0 : size >= 0x20 && word == 1);
    }
}
