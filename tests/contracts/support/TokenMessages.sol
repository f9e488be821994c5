// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";

/// @title EIP-712 struct hashes of what a buyer signs for its token or for Permit2
/// @dev The types are written out, as a wallet sees them, and not taken from the contracts under test.
library TokenMessages {
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    struct Authorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    struct WitnessTransfer {
        address token;
        uint256 amount;
        address spender;
        uint256 nonce;
        uint256 deadline;
        Terms witness;
    }

    /// @dev EIP-2612.
    function hash(Permit memory permit) internal pure returns (bytes32) {
        bytes32 kind = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        return keccak256(abi.encode(kind, permit));
    }

    /// @dev ERC-3009.
    function hash(Authorization memory authorization) internal pure returns (bytes32) {
        bytes32 kind = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        return keccak256(abi.encode(kind, authorization));
    }

    /// @dev ERC-3009.
    function hashCancellation(address authorizer, bytes32 nonce) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(keccak256("CancelAuthorization(address authorizer,bytes32 nonce)"), authorizer, nonce));
    }

    /// @dev Permit2's signature transfer, with the terms as witness.
    function hash(WitnessTransfer memory transfer) internal pure returns (bytes32) {
        bytes32 kind = keccak256(
            "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Terms witness)Terms(address buyer,address provider,uint88 amount,uint32 fundBy,uint32 startsAt,uint32 endsAt,bytes32 listing,uint64 salt)TokenPermissions(address token,uint256 amount)"
        );
        bytes32 permitted = keccak256(
            abi.encode(keccak256("TokenPermissions(address token,uint256 amount)"), transfer.token, transfer.amount)
        );
        return keccak256(
            abi.encode(kind, permitted, transfer.spender, transfer.nonce, transfer.deadline, hash(transfer.witness))
        );
    }

    function hash(Terms memory terms) internal pure returns (bytes32) {
        bytes32 kind = keccak256(
            "Terms(address buyer,address provider,uint88 amount,uint32 fundBy,uint32 startsAt,uint32 endsAt,bytes32 listing,uint64 salt)"
        );
        return keccak256(abi.encode(kind, terms));
    }
}
