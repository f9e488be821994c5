// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

/// @title What the escrow uses of Permit2
/// @dev https://docs.uniswap.org/contracts/permit2/reference/signature-transfer
interface IPermit2 {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// @notice Moves `transferDetails` from `owner`, who signed the permit together with the witness.
    /// @param witnessTypeString The rest of the EIP-712 type after `uint256 deadline,`.
    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}
