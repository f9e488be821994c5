// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

/// @title What the escrow uses of an ERC-3009 token: the form that takes contract wallets too
/// @dev https://eips.ethereum.org/EIPS/eip-3009, with the signature as `bytes` as in USDC since its version 2.2.
interface IERC3009 {
    /// @notice Moves `value` from `from`, who signed it, to `to`, which must be the sender.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}
