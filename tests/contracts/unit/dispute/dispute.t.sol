// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Account, Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract DisputeTest is BookedTest {
    function test_RevertGiven_ThereIsNoArbiter() external {
        redeploy(attester.addr, address(0), feeRecipient.addr);
        booked = funded();
        vm.warp(booked.startsAt);

        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NoArbiter.selector));
        dispute(booked);
    }

    function test_RevertGiven_TheBookingWasNeverFunded() external {
        booked = terms();

        // it should revert
        _expectNotOpenInTheMiddle(State.None);
    }

    function test_RevertGiven_TheBookingWasCancelledBeforeItsStart() external {
        booked = funded();
        cancel(booked, buyer.addr);

        // it should revert
        _expectNotOpenInTheMiddle(State.Closed);
    }

    function test_RevertGiven_ACompletionCameFirst() external {
        booked = funded();
        vm.warp(booked.startsAt);
        settle(booked, 0);

        // it should revert
        _expectNotOpenInTheMiddle(State.None);
    }

    function test_RevertGiven_EverythingWasClaimed() external {
        booked = funded();
        vm.warp(booked.startsAt);
        claim(booked, AMOUNT, buyer);

        // it should revert
        _expectNotOpenInTheMiddle(State.None);
    }

    function test_RevertGiven_TheBookingIsDisputed() external {
        booked = disputed();
        uint256 disputedAt = escrow.disputedAt(idOf(booked));
        vm.warp(disputedAt + 1);

        // it should revert
        expectNotOpen(booked, State.Disputed);
        dispute(booked);
        vm.assertEq(escrow.disputedAt(idOf(booked)), disputedAt);
    }

    function test_RevertWhen_TheSenderIsNotTheBuyer() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt);
        Account[5] memory others = [stranger, provider, attester, arbiter, otherBuyer];

        // it should revert
        for (uint256 i; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotBuyer.selector, others[i].addr, buyer.addr)
            );
            vm.prank(others[i].addr);
            escrow.dispute(booked);
        }
    }

    function test_RevertWhen_TheTermsAreNotThoseThatWereFunded() external givenTheBookingIsOpen {
        booked.buyer = stranger.addr;

        // it should revert
        _expectNotOpenInTheMiddle(State.None);
    }

    function test_RevertWhen_TheBookingStartsInASecond() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt - 1);

        // it should revert
        expectTooEarly(booked.startsAt);
        dispute(booked);
    }

    function test_WhenTheBookingStartsNow() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt);

        // it should emit Disputed
        _expectDisputed();
        dispute(booked);

        // it should note the time
        vm.assertEq(escrow.disputedAt(idOf(booked)), booked.startsAt);
    }

    function test_WhenTheBookingEndsInASecond() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt - 1);

        // it should emit Disputed
        _expectDisputed();
        dispute(booked);

        // it should note the time
        vm.assertEq(escrow.disputedAt(idOf(booked)), booked.endsAt - 1);
    }

    function test_RevertWhen_TheBookingHasEnded() external givenTheBookingIsOpen {
        // it should revert
        for (uint256 late; late < 2; ++late) {
            vm.warp(booked.endsAt + late);
            expectTooLate(booked.endsAt);
            dispute(booked);
        }
    }

    function test_WhenTheBookingIsRunning() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt + 123);
        Books memory before = books();
        vm.recordLogs();

        // it should emit Disputed and nothing else
        _expectDisputed();
        dispute(booked);
        vm.assertEq(countEvents(), 1);

        // it should note the time
        vm.assertEq(escrow.disputedAt(idOf(booked)), booked.startsAt + 123);

        // it should keep what remains for the same provider
        assertSlot(booked, provider.addr, AMOUNT, State.Disputed);

        // it should move no money
        assertDivided(before, 0, 0, 0);
    }

    function test_GivenAPartWasClaimed() external givenTheBookingIsOpen {
        claim(booked, CLAIMED, buyer);
        vm.warp(booked.startsAt);
        dispute(booked);

        // it should keep the other part for the same provider
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED, State.Disputed);
    }

    function _expectDisputed() private {
        vm.expectEmit(address(escrow));
        emit IEscrow.Disputed(idOf(booked));
    }

    function _expectNotOpenInTheMiddle(State state) private {
        vm.warp(booked.startsAt + DURATION / 2);
        expectNotOpen(booked, state);
        dispute(booked);
    }
}

contract TokenDisputeTest is DisputeTest, TokenMarket {}

contract NativeDisputeTest is DisputeTest, NativeMarket {}
