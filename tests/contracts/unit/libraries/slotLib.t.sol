// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {State} from "../../../../contracts/interfaces/IEscrow.sol";
import {NO_BOOKING, Slot, SlotLib} from "../../../../contracts/libraries/SlotLib.sol";
import {vm} from "../../support/Vm.sol";

contract SlotLibTest {
    address private constant PROVIDER = address(0x00112233445566778899AABbCCdDeeFf00112233);
    uint88 private constant REMAINING = 0xa1a2a3a4a5a6a7a8a9aaab;
    address private constant LAST_ADDRESS = address(type(uint160).max);

    function test_WhenASlotIsPacked() external pure {
        uint256 word = Slot.unwrap(SlotLib.pack(PROVIDER, REMAINING, State.Disputed));

        // it should have the provider in its lowest 160 bits
        vm.assertEq(address(uint160(word)), PROVIDER);

        // it should have what remains in the next 88
        vm.assertEq(uint88(word >> 160), REMAINING);

        // it should have the state in its highest 8
        vm.assertEq(word >> 248, uint256(State.Disputed));
    }

    function test_WhenEveryFieldIsTheLargestThereIs() external pure {
        // it should read as what was packed
        _assertReads(LAST_ADDRESS, type(uint88).max, State.Closed);
    }

    function test_WhenOnlyOneFieldIsSet() external pure {
        // it should read the others as nothing
        _assertReads(LAST_ADDRESS, 0, State.None);
        _assertReads(address(0), type(uint88).max, State.None);
        _assertReads(address(0), 0, State.Closed);
    }

    function test_WhenLessRemains() external pure {
        uint88[4] memory amounts = [0, 1, REMAINING - 1, REMAINING];
        for (uint256 i; i < amounts.length; ++i) {
            Slot slot = SlotLib.less(SlotLib.pack(PROVIDER, REMAINING, State.Open), amounts[i]);

            // it should have taken the amount from what remains
            vm.assertEq(SlotLib.remaining(slot), REMAINING - amounts[i]);

            // it should have the provider and the state of before
            vm.assertEq(SlotLib.provider(slot), PROVIDER);
            vm.assertTrue(SlotLib.state(slot) == State.Open);
        }
    }

    function test_WhenTheStateIsAsked() external pure {
        // it should be open in that state only
        for (uint8 i; i <= uint8(type(State).max); ++i) {
            Slot slot = SlotLib.pack(LAST_ADDRESS, type(uint88).max, State(i));
            vm.assertEq(uint256(SlotLib.state(slot)), i);
            vm.assertTrue(SlotLib.isOpen(slot) == (State(i) == State.Open));
        }
    }

    function test_WhenThereIsNoBooking() external pure {
        // it should read as nothing
        vm.assertEq(Slot.unwrap(NO_BOOKING), 0);
        vm.assertEq(uint256(SlotLib.state(NO_BOOKING)), uint256(State.None));
        vm.assertFalse(SlotLib.isOpen(NO_BOOKING));
    }

    function _assertReads(address provider, uint88 remaining, State state) private pure {
        Slot slot = SlotLib.pack(provider, remaining, state);
        vm.assertEq(SlotLib.provider(slot), provider);
        vm.assertEq(SlotLib.remaining(slot), remaining);
        vm.assertEq(uint256(SlotLib.state(slot)), uint256(state));
    }
}
