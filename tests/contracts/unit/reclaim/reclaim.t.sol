// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract ReclaimTest is BookedTest {
    function test_RevertGiven_TheBookingWasNeverFunded() external {
        booked = terms();

        // it should revert
        _expectNotOpenAfterTheWindow(State.None);
    }

    function test_RevertGiven_TheBookingWasClosedBeforeItsStart() external {
        booked = funded();
        cancel(booked, buyer.addr);

        // it should revert
        _expectNotOpenAfterTheWindow(State.Closed);
    }

    function test_RevertGiven_TheBookingWasSettled() external {
        booked = funded();
        vm.warp(booked.endsAt);
        settle(booked, AMOUNT);

        // it should revert
        _expectNotOpenAfterTheWindow(State.None);
    }

    function test_RevertGiven_TheBookingWasReclaimed() external {
        booked = funded();
        vm.warp(booked.endsAt + WINDOW);
        reclaim(booked);

        // it should revert
        _expectNotOpenAfterTheWindow(State.None);
    }

    function test_RevertGiven_EverythingWasClaimed() external {
        booked = funded();
        vm.warp(booked.endsAt);
        claim(booked, AMOUNT, attester);

        // it should revert
        _expectNotOpenAfterTheWindow(State.None);
    }

    function test_RevertWhen_TheTermsAreNotThoseThatWereFunded() external givenTheBookingIsOpen {
        booked.buyer = stranger.addr;

        // it should revert
        _expectNotOpenAfterTheWindow(State.None);
    }

    function test_RevertWhen_TheClaimWindowHasNotPassed() external givenTheBookingIsOpen {
        uint256 from = booked.endsAt + WINDOW;
        uint256[4] memory times = [booked.startsAt - 1, booked.startsAt, booked.endsAt, from - 1];

        // it should revert
        for (uint256 i; i < times.length; ++i) {
            vm.warp(times[i]);
            expectTooEarly(from);
            reclaim(booked);
        }
    }

    function test_WhenTheClaimWindowHasPassed() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt + WINDOW);
        Books memory before = books();

        // it should emit Reclaimed
        _expectReclaimed(AMOUNT);
        reclaim(booked);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenTheClaimWindowPassedLongAgo() external givenTheBookingIsOpen {
        vm.warp(LAST_TIME + 1);
        Books memory before = books();
        reclaim(booked);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);
    }

    function test_GivenAPartWasClaimed() external givenTheBookingIsOpen {
        claim(booked, CLAIMED, buyer);
        vm.warp(booked.endsAt + WINDOW + 1);
        Books memory before = books();

        // it should emit Reclaimed
        _expectReclaimed(AMOUNT - CLAIMED);
        reclaim(booked);

        // it should refund the buyer the other part
        assertDivided(before, 0, 0, AMOUNT - CLAIMED);
    }

    function test_RevertWhen_TheArbitersTimeHasNotPassed() external givenTheBookingIsDisputed {
        uint256 from = escrow.disputedAt(idOf(booked)) + WINDOW + ARBITER_WINDOW;
        uint256[4] memory times = [booked.endsAt, from - ARBITER_WINDOW, booked.endsAt + WINDOW, from - 1];

        // it should revert
        for (uint256 i; i < times.length; ++i) {
            vm.warp(times[i]);
            expectTooEarly(from);
            reclaim(booked);
        }
    }

    function test_WhenTheArbitersTimeHasPassed() external givenTheBookingIsDisputed {
        uint256 disputedAt = escrow.disputedAt(idOf(booked));
        vm.warp(disputedAt + WINDOW + ARBITER_WINDOW);
        Books memory before = books();

        // it should emit Reclaimed
        _expectReclaimed(AMOUNT);
        reclaim(booked);

        // it should refund the buyer what remains
        assertDivided(before, 0, 0, AMOUNT);

        // it should delete the slot
        assertDeleted(booked);

        // it should keep the time of the dispute
        vm.assertEq(escrow.disputedAt(idOf(booked)), disputedAt);
    }

    function test_GivenAPartWasClaimedAfterTheDispute() external givenTheBookingIsDisputed {
        claim(booked, CLAIMED, attester);
        vm.warp(booked.endsAt + WINDOW + ARBITER_WINDOW);
        Books memory before = books();
        reclaim(booked);

        // it should refund the buyer the other part
        assertDivided(before, 0, 0, AMOUNT - CLAIMED);
    }

    function test_GivenALongBookingWasDisputedAtItsStart() external {
        booked = terms();
        booked.endsAt = booked.startsAt + 30 days;
        fund(booked);
        vm.warp(booked.startsAt);
        dispute(booked);
        vm.warp(booked.startsAt + WINDOW + ARBITER_WINDOW);
        Books memory before = books();
        reclaim(booked);

        // it should refund the buyer before the booking ends
        assertDivided(before, 0, 0, AMOUNT);
    }

    function test_GivenTheBookingEndsAtTheLastTimeOfAll() external {
        booked = fundedAtTheLast();

        // it should revert until the claim window has passed
        vm.warp(LAST_TIME + WINDOW - 1);
        expectTooEarly(LAST_TIME + WINDOW);
        reclaim(booked);

        // it should refund the buyer from then on
        vm.warp(LAST_TIME + WINDOW);
        Books memory before = books();
        reclaim(booked);
        assertDivided(before, 0, 0, AMOUNT);
    }

    function test_GivenTheDisputeWasInTheLastSecondOfAll() external {
        booked = fundedAtTheLast();
        vm.warp(LAST_TIME - 1);
        dispute(booked);
        uint256 from = LAST_TIME - 1 + WINDOW + ARBITER_WINDOW;

        // it should revert until the arbiter's time has passed
        vm.warp(from - 1);
        expectTooEarly(from);
        reclaim(booked);

        // it should refund the buyer after that
        vm.warp(from);
        Books memory before = books();
        reclaim(booked);
        assertDivided(before, 0, 0, AMOUNT);
    }

    function _expectReclaimed(uint256 refunded) private {
        vm.expectEmit(address(escrow));
        emit IEscrow.Reclaimed(idOf(booked), refunded);
    }

    function _expectNotOpenAfterTheWindow(State state) private {
        vm.warp(booked.endsAt + WINDOW);
        expectNotOpen(booked, state);
        reclaim(booked);
    }
}

contract TokenReclaimTest is ReclaimTest, TokenMarket {}

contract NativeReclaimTest is ReclaimTest, NativeMarket {}
