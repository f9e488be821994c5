// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

import {BookingId, IEscrow, Terms} from "./IEscrow.sol";

/// @title The escrow of an ERC-20 token: the ways to fund by signature
/// @notice Each locks `terms.amount` of the buyer's tokens on the conditions of `fund`, the sender apart.
interface ITokenEscrow is IEscrow {
    error Escrow_TokenHasNoCode(address token);
    error Escrow_ReceivedShort(uint256 received, uint256 expected);

    /// @notice Funds a booking of the sender with an EIP-2612 permit of exactly `terms.amount`.
    /// @dev A permit that fails is ignored, since anyone may have used it first: the pull decides.
    function fundWithPermit(Terms calldata terms, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (BookingId id);

    /// @notice Funds a booking of `terms.buyer`, who needs no gas: anyone may send it.
    /// @param signature The buyer's, by key or ERC-1271, over the token's ERC-3009
    /// `ReceiveWithAuthorization(from = buyer, to = this, value = amount, validAfter = 0, validBefore = fundBy,
    /// nonce = booking id)`. The token must take signatures as `bytes`, as USDC does.
    function fundWithAuthorization(Terms calldata terms, bytes calldata signature) external returns (BookingId id);

    /// @notice Funds a booking of `terms.buyer`, who needs no gas but an allowance to Permit2: anyone may send it.
    /// @param nonce Any unused nonce of the buyer in Permit2.
    /// @param signature The buyer's over `PermitWitnessTransferFrom(permitted = (token, amount), spender = this,
    /// nonce, deadline = fundBy, witness = Terms)` in the domain of the canonical Permit2.
    function fundWithPermit2(Terms calldata terms, uint256 nonce, bytes calldata signature)
        external
        returns (BookingId id);
}
