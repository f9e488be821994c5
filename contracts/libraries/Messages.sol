// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Terms} from "../interfaces/IEscrow.sol";

/// @title EIP-712 struct hashes of what attesters and buyers sign
/// @dev Distinct types keep a receipt from closing a booking.
library Messages {
    bytes32 internal constant RECEIPT = keccak256("Receipt(bytes32 bookingId,uint256 earned)");
    bytes32 internal constant COMPLETION = keccak256("Completion(bytes32 bookingId,uint256 earned,bytes32 evidence)");
    bytes32 internal constant SETTLE_MANY = keccak256("SettleMany(bytes32[] bookingIds)");
    bytes32 internal constant SETTLE_EACH =
        keccak256("SettleEach(Completion[] completions)Completion(bytes32 bookingId,uint256 earned,bytes32 evidence)");

    bytes32 internal constant TERMS = keccak256(
        "Terms(address buyer,address provider,uint88 amount,uint32 fundBy,uint32 startsAt,uint32 endsAt,bytes32 listing,uint64 salt)"
    );

    /// @dev What Permit2 appends to its own type: the witness, then the struct types in alphabetical order.
    string internal constant PERMIT2_WITNESS =
        "Terms witness)Terms(address buyer,address provider,uint88 amount,uint32 fundBy,uint32 startsAt,uint32 endsAt,bytes32 listing,uint64 salt)TokenPermissions(address token,uint256 amount)";

    function terms(Terms memory terms_) internal pure returns (bytes32) {
        return keccak256(abi.encode(TERMS, terms_));
    }

    function receipt(BookingId id, uint256 earned) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT, id, earned));
    }

    function completion(BookingId id, uint256 earned, bytes32 evidence) internal pure returns (bytes32) {
        return keccak256(abi.encode(COMPLETION, id, earned, evidence));
    }

    function settleMany(BookingId[] calldata ids) internal pure returns (bytes32) {
        return keccak256(abi.encode(SETTLE_MANY, keccak256(abi.encodePacked(ids))));
    }

    /// @param completions The struct hash of each completion, in order.
    function settleEach(bytes32[] memory completions) internal pure returns (bytes32) {
        return keccak256(abi.encode(SETTLE_EACH, keccak256(abi.encodePacked(completions))));
    }
}
