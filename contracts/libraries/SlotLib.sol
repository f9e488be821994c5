// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IEscrow.sol";

/// @notice Payee, money and state of a booking, in one word: `provider (160) | remaining (88) | state (8)`,
/// lowest bits first. `Open` and `Disputed` imply `remaining > 0`.
type Slot is uint256;

/// @notice All that is stored under an id.
struct Booking {
    Slot slot;
    uint256 disputedAt;
}

/// @dev What an id reads as that was never funded, or was closed from its start on.
Slot constant NO_BOOKING = Slot.wrap(0);

/// @title The stored word of a booking
/// @dev Of a struct with this layout each field would be written apart: more gas.
library SlotLib {
    uint256 private constant REMAINING_OFFSET = 160;
    uint256 private constant STATE_OFFSET = 248;

    function pack(address provider_, uint88 remaining_, State state_) internal pure returns (Slot) {
        return Slot.wrap(
            uint256(uint160(provider_)) | (uint256(remaining_) << REMAINING_OFFSET) | (uint256(state_) << STATE_OFFSET)
        );
    }

    function provider(Slot slot) internal pure returns (address) {
        return address(uint160(Slot.unwrap(slot)));
    }

    function remaining(Slot slot) internal pure returns (uint88) {
        return uint88(Slot.unwrap(slot) >> REMAINING_OFFSET);
    }

    /// @dev The slot with `amount <= remaining` taken from what remains.
    function less(Slot slot, uint256 amount) internal pure returns (Slot) {
        unchecked {
            return Slot.wrap(Slot.unwrap(slot) - (amount << REMAINING_OFFSET));
        }
    }

    function isOpen(Slot slot) internal pure returns (bool) {
        return Slot.unwrap(slot) >> STATE_OFFSET == uint256(State.Open);
    }

    function state(Slot slot) internal pure returns (State) {
        return State(uint8(Slot.unwrap(slot) >> STATE_OFFSET));
    }
}
