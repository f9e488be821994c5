// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// Solidity hashes a struct only by copying it first.
/* solhint-disable no-inline-assembly */

import {BookingId, Terms} from "../interfaces/IEscrow.sol";

/// @title Identity and clock of a booking's terms
/// @dev All time arithmetic is in uint256: sums cannot wrap near 2^32.
library TermsLib {
    /// @notice The first 28 bytes of `keccak256(abi.encode(seed, terms))`, then `endsAt`.
    /// @dev In memory the eight fields stand as `abi.encode` would lay them out: the seed is put before them for as
    /// long as the hash takes, which saves a copy in every verb.
    function toId(Terms memory terms, bytes32 seed) internal pure returns (BookingId) {
        uint256 digest;
        assembly ("memory-safe") {
            let start := sub(terms, 0x20)
            let saved := mload(start)
            mstore(start, seed)
            digest := keccak256(start, 0x120)
            mstore(start, saved)
        }
        return BookingId.wrap(bytes32((digest & ~uint256(type(uint32).max)) | terms.endsAt));
    }

    /// @notice When the booking behind `id` ends (UTC seconds).
    function endOf(BookingId id) internal pure returns (uint256) {
        return uint32(uint256(BookingId.unwrap(id)));
    }

    /// @notice The most that can have been earned at `time`, in base units.
    function capAt(Terms memory terms, uint256 time) internal pure returns (uint256) {
        uint256 startsAt = terms.startsAt;
        uint256 endsAt = terms.endsAt;
        if (time <= startsAt) return 0;
        if (time >= endsAt) return terms.amount;
        return (terms.amount * (time - startsAt)) / (endsAt - startsAt);
    }
}
