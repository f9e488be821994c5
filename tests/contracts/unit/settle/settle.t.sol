// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../../contracts/libraries/Messages.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Account, Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract SettleTest is BookedTest {
    uint256 internal constant EARNED = 600_001;

    function test_RevertGiven_TheBookingWasNeverFunded() external {
        booked = terms();

        // it should revert
        expectNotOpen(booked, State.None);
        settle(booked, 0);
    }

    function test_RevertGiven_TheBookingWasCancelledBeforeItsStart() external {
        booked = funded();
        cancel(booked, buyer.addr);

        // it should revert
        expectNotOpen(booked, State.Closed);
        settle(booked, 0);
    }

    function test_RevertGiven_TheBookingWasSettled() external {
        booked = funded();
        vm.warp(booked.endsAt);
        settle(booked, 0);
        bytes memory second = signCompletion(booked, AMOUNT, attester);

        // it should revert
        expectNotOpen(booked, State.None);
        settle(booked, AMOUNT);
        expectNotOpen(booked, State.None);
        _send(AMOUNT, second);
    }

    function test_RevertGiven_TheBookingWasReclaimed() external {
        booked = funded();
        vm.warp(booked.endsAt + WINDOW);
        reclaim(booked);

        // it should revert
        expectNotOpen(booked, State.None);
        settle(booked, AMOUNT);
    }

    function test_RevertGiven_TheBookingIsDisputed() external {
        booked = disputed();
        bytes memory signature = signCompletion(booked, 0, attester);

        // it should revert
        expectNotOpen(booked, State.Disputed);
        settle(booked, 0);
        expectNotOpen(booked, State.Disputed);
        _send(0, signature);
    }

    function test_RevertWhen_TheTermsAreNotThoseThatWereFunded() external givenTheBookingIsOpen {
        booked.provider = attester.addr;

        // it should revert
        expectNotOpen(booked, State.None);
        settle(booked, 0);
    }

    modifier whenAStrangerSendsIt() {
        vm.warp(booked.endsAt);
        _;
    }

    function test_RevertWhen_NobodySigned() external givenTheBookingIsOpen whenAStrangerSendsIt {
        address[5] memory senders = [stranger.addr, buyer.addr, provider.addr, arbiter.addr, feeRecipient.addr];

        // it should revert
        for (uint256 i; i < senders.length; ++i) {
            _expectUnsigned(EARNED);
            vm.prank(senders[i]);
            escrow.settle(booked, EARNED, EVIDENCE, NO_SIGNATURE);
        }
    }

    function test_RevertWhen_ThePartiesOrTheArbiterSigned() external givenTheBookingIsOpen whenAStrangerSendsIt {
        Account[4] memory others = [buyer, provider, arbiter, stranger];

        // it should revert
        for (uint256 i; i < others.length; ++i) {
            bytes memory signature = signCompletion(booked, EARNED, others[i]);
            _expectUnsigned(EARNED);
            _send(EARNED, signature);
        }
    }

    function test_RevertWhen_TheAttesterSignedAnotherSum() external givenTheBookingIsOpen whenAStrangerSendsIt {
        bytes memory signature = signCompletion(booked, EARNED, attester);

        // it should revert
        _expectUnsigned(EARNED + 1);
        _send(EARNED + 1, signature);
    }

    function test_RevertWhen_TheAttesterSignedOtherEvidence() external givenTheBookingIsOpen whenAStrangerSendsIt {
        bytes32 other = keccak256("other evidence");
        bytes memory signature = sign(digestOf(Messages.completion(idOf(booked), EARNED, other)), attester);

        // it should revert
        _expectUnsigned(EARNED);
        _send(EARNED, signature);
    }

    function test_RevertWhen_TheAttesterSignedAnotherBooking() external givenTheBookingIsOpen whenAStrangerSendsIt {
        bytes memory signature = signCompletion(terms(), EARNED, attester);

        // it should revert
        _expectUnsigned(EARNED);
        _send(EARNED, signature);
    }

    function test_RevertWhen_TheAttesterSignedForAnotherEscrow() external givenTheBookingIsOpen whenAStrangerSendsIt {
        bytes memory signature = signElsewhere(Messages.completion(idOf(booked), EARNED, EVIDENCE), attester);

        // it should revert
        _expectUnsigned(EARNED);
        _send(EARNED, signature);
    }

    function test_WhenTheAttesterSignedExactlyThis() external givenTheBookingIsOpen whenAStrangerSendsIt {
        bytes memory signature = signCompletion(booked, EARNED, attester);
        Books memory before = books();

        // it should emit Settled
        _expectSettled(AMOUNT, EARNED);
        _send(EARNED, signature);

        // it should divide the amount
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), AMOUNT - EARNED);
    }

    function test_WhenTheAttesterSendsItWithAWorthlessSignature() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt);
        Books memory before = books();
        vm.prank(attester.addr);
        escrow.settle(booked, EARNED, EVIDENCE, "worthless");

        // it should divide the amount
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), AMOUNT - EARNED);
    }

    function test_WhenTheClaimWindowClosesInASecond() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt + WINDOW - 1);
        Books memory before = books();
        settle(booked, EARNED);

        // it should divide the amount
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), AMOUNT - EARNED);
    }

    function test_RevertWhen_TheClaimWindowHasClosed() external givenTheBookingIsOpen {
        uint256 end = booked.endsAt + WINDOW;

        // it should revert
        for (uint256 late; late < 2; ++late) {
            vm.warp(end + late);
            expectTooLate(end);
            settle(booked, AMOUNT);
        }
    }

    function test_RevertWhen_EarnedIsAboveTheClock() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt - 1);
        expectAheadOfClock(1, 0);
        settle(booked, 1);

        // it should revert
        uint256[6] memory elapsed = [uint256(0), 1, 500, DURATION - 1, DURATION, DURATION + 5];
        for (uint256 i; i < elapsed.length; ++i) {
            uint256 cap = capAfter(elapsed[i]);
            vm.warp(booked.startsAt + elapsed[i]);
            expectAheadOfClock(cap + 1, cap);
            settle(booked, cap + 1);
            expectAheadOfClock(type(uint256).max, cap);
            settle(booked, type(uint256).max);
        }
    }

    function test_WhenEarnedIsWhatTheClockAllows() external givenTheBookingIsOpen {
        uint256[5] memory elapsed = [uint256(0), 1, 500, DURATION - 1, DURATION];
        uint256 start = vm.snapshotState();

        // it should divide the amount
        for (uint256 i; i < elapsed.length; ++i) {
            uint256 cap = capAfter(elapsed[i]);
            Books memory before = books();
            vm.warp(booked.startsAt + elapsed[i]);
            settle(booked, cap);
            assertDivided(before, cap, feeBetween(AMOUNT, AMOUNT - cap), AMOUNT - cap);
            vm.revertToState(start);
        }
    }

    function test_WhenEarnedIsAPart() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt);
        uint256 cost = feeBetween(AMOUNT, AMOUNT - EARNED);
        Books memory before = books();

        // it should emit Settled
        _expectSettled(AMOUNT, EARNED);
        settle(booked, EARNED);

        // it should pay the provider what was earned less the fee
        vm.assertEq(balance(provider.addr), before.provider + EARNED - cost);

        // it should refund the buyer the rest
        assertDivided(before, EARNED, cost, AMOUNT - EARNED);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenEarnedIsNothing() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt);
        Books memory before = books();
        expectPayments(buyer.addr, 1);
        expectPayments(provider.addr, 0);

        // it should emit Settled
        _expectSettled(AMOUNT, 0);
        settle(booked, 0);

        // it should refund the buyer everything without a fee
        assertDivided(before, 0, 0, AMOUNT);

        // it should send the provider nothing
        vm.assertEq(balance(provider.addr), before.provider);
    }

    function test_WhenEarnedIsEverything() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt);
        Books memory before = books();
        expectPayments(buyer.addr, 0);
        expectPayments(provider.addr, 1);

        // it should emit Settled
        _expectSettled(AMOUNT, AMOUNT);
        settle(booked, AMOUNT);

        // it should pay the provider the amount less the fee
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);

        // it should send the buyer nothing
        vm.assertEq(balance(buyer.addr), before.buyer);
    }

    function test_WhenTheBookingStartsInASecond() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt - 1);
        Books memory before = books();
        settle(booked, 0);

        // it should refund the buyer everything
        assertDivided(before, 0, 0, AMOUNT);

        // it should keep the slot as closed
        assertSlot(booked, address(0), 0, State.Closed);
    }

    function test_WhenTheBookingStartsNow() external givenTheBookingIsOpen {
        vm.warp(booked.startsAt);
        settle(booked, 0);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenEarnedIsNoMoreThanWhatWasClaimed() external givenTheBookingIsOpen givenAPartWasClaimed {
        vm.warp(booked.endsAt);
        uint256[3] memory earned = [0, CLAIMED - 1, CLAIMED];
        uint256 start = vm.snapshotState();

        for (uint256 i; i < earned.length; ++i) {
            Books memory before = books();

            // it should emit Settled
            _expectSettled(AMOUNT - CLAIMED, 0);
            settle(booked, earned[i]);

            // it should refund the buyer the other part
            assertDivided(before, 0, 0, AMOUNT - CLAIMED);
            vm.revertToState(start);
        }
    }

    function test_WhenEarnedIsMoreThanWhatWasClaimed() external givenTheBookingIsOpen givenAPartWasClaimed {
        vm.warp(booked.endsAt);
        uint256[3] memory earned = [CLAIMED + 1, EARNED, AMOUNT];
        uint256 start = vm.snapshotState();

        for (uint256 i; i < earned.length; ++i) {
            uint256 more = earned[i] - CLAIMED;
            uint256 rest = AMOUNT - earned[i];
            Books memory before = books();

            // it should emit Settled
            _expectSettled(AMOUNT - CLAIMED, more);
            settle(booked, earned[i]);

            // it should pay the provider the difference less the fee
            vm.assertEq(balance(provider.addr), before.provider + more - feeBetween(AMOUNT - CLAIMED, rest));

            // it should refund the buyer what was not earned
            assertDivided(before, more, feeBetween(AMOUNT - CLAIMED, rest), rest);
            vm.revertToState(start);
        }
    }

    function test_GivenAmountsAtWhichTheFeeRounds() external {
        uint256[6] memory earned = [uint256(0), 1, 99, 100, 101, 199];
        uint256 start = vm.snapshotState();

        // it should take the fee on what was earned however it was claimed
        for (uint256 i; i < earned.length; ++i) {
            for (uint256 claimed; claimed <= earned[i]; claimed += 49) {
                uint256 cost = fee(199) - fee(199 - earned[i]);
                Books memory before = books();
                _claimAndSettle(199, claimed, earned[i]);
                vm.assertEq(books().fees - before.fees, cost, "fees");
                vm.assertEq(books().provider - before.provider, earned[i] - cost, "provider");
                vm.revertToState(start);
            }
        }
    }

    function _claimAndSettle(uint88 amount, uint256 claimed, uint256 earned) private {
        Terms memory t = fundedWith(amount);
        vm.warp(t.endsAt);
        claim(t, claimed, attester);
        settle(t, earned);
    }

    function test_GivenTheLargestAmountThereIs() external {
        uint256 amount = type(uint88).max;
        booked = fundedWith(uint88(amount));
        vm.warp(booked.endsAt);
        Books memory before = books();
        settle(booked, amount - 1);

        // it should divide it exactly
        assertDivided(before, amount - 1, fee(amount), 1);
    }

    function test_GivenTheHighestFee() external {
        redeploy(1_000, WINDOW);
        booked = fundedWith(1_009);
        vm.warp(booked.endsAt);
        Books memory before = books();
        settle(booked, 1_009);

        // it should take a tenth of what was earned
        assertDivided(before, 1_009, 100, 0);
    }

    function test_GivenThereIsNoFee() external {
        redeploy(0, WINDOW);
        booked = funded();
        vm.warp(booked.endsAt);
        Books memory before = books();
        settle(booked, AMOUNT);

        // it should pay the provider all that was earned
        assertDivided(before, AMOUNT, 0, 0);
    }

    function test_GivenTheBookingEndsAtTheLastTimeOfAll() external {
        booked = fundedAtTheLast();

        // it should revert from the end of the claim window on
        vm.warp(LAST_TIME + WINDOW);
        expectTooLate(LAST_TIME + WINDOW);
        settle(booked, AMOUNT);

        // it should divide the amount until then
        vm.warp(LAST_TIME + WINDOW - 1);
        Books memory before = books();
        settle(booked, AMOUNT);
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }

    function _send(uint256 earned, bytes memory signature) private {
        vm.prank(stranger.addr);
        escrow.settle(booked, earned, EVIDENCE, signature);
    }

    function _expectUnsigned(uint256 earned) private {
        expectInvalidSignature(Messages.completion(idOf(booked), earned, EVIDENCE));
    }

    /// @dev `more` of `remaining` goes to the provider.
    function _expectSettled(uint256 remaining, uint256 more) private {
        uint256 cost = feeBetween(remaining, remaining - more);
        vm.expectEmit(address(escrow));
        emit IEscrow.Settled(idOf(booked), more - cost, cost, remaining - more, EVIDENCE);
    }
}

contract TokenSettleTest is SettleTest, TokenMarket {}

contract NativeSettleTest is SettleTest, NativeMarket {}
