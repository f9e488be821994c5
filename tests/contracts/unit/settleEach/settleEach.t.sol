// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Completion, IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Account, Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract SettleEachTest is BookedTest {
    uint256 internal constant EARNED = 700_001;
    uint256 internal constant OTHER_EARNED = 300_050;

    Completion[] internal batch;

    function test_WhenTheBatchIsEmpty() external {
        Books memory before = books();
        vm.recordLogs();
        _settle();

        // it should change nothing
        vm.assertEq(countEvents(), 0);
        assertDivided(before, 0, 0, 0);
    }

    /// @dev `EARNED` of one booking, `OTHER_EARNED` of one of others.
    modifier givenTheBookingsHaveJustEnded() {
        booked = funded();
        Terms memory other = otherTerms();
        fund(other);
        _add(booked, EARNED);
        batch.push(Completion(other, OTHER_EARNED, keccak256("other evidence")));
        vm.warp(booked.endsAt);
        _;
    }

    modifier whenAStrangerSendsIt() {
        _;
    }

    function test_RevertWhen_NobodySigned() external givenTheBookingsHaveJustEnded whenAStrangerSendsIt {
        // it should revert
        _expectRefused(NO_SIGNATURE);
    }

    function test_RevertWhen_ThePartiesOrTheArbiterSigned()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        Account[4] memory others = [buyer, provider, arbiter, stranger];

        // it should revert
        for (uint256 i; i < others.length; ++i) {
            _expectRefused(signEach(batch, others[i]));
        }
    }

    function test_RevertWhen_TheAttesterSignedFewerOrMoreCompletions()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        bytes memory signature = signEach(batch, attester);
        Completion memory last = batch[1];

        // it should revert
        batch.pop();
        _expectRefused(signature);
        batch.push(last);
        batch.push(last);
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedThemInAnotherOrder()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        bytes memory signature = signEach(batch, attester);
        Completion memory first = batch[0];
        batch[0] = batch[1];
        batch[1] = first;

        // it should revert
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedAnotherSum() external givenTheBookingsHaveJustEnded whenAStrangerSendsIt {
        bytes memory signature = signEach(batch, attester);
        batch[1].earned += 1;

        // it should revert
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedOtherEvidence()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        bytes memory signature = signEach(batch, attester);
        batch[1].evidence = EVIDENCE;

        // it should revert
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedAnotherBooking()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        bytes memory signature = signEach(batch, attester);
        batch[1].terms.salt += 1;

        // it should revert
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedForAnotherEscrow()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        // it should revert
        _expectRefused(signElsewhere(hashOfEach(batch), attester));
    }

    function test_WhenTheAttesterSignedExactlyThis() external givenTheBookingsHaveJustEnded whenAStrangerSendsIt {
        bytes memory signature = signEach(batch, attester);
        vm.prank(stranger.addr);
        escrow.settleEach(batch, signature);

        // it should divide each
        _assertEachDivided();
    }

    function test_WhenTheAttesterSendsItWithAWorthlessSignature() external givenTheBookingsHaveJustEnded {
        vm.prank(attester.addr);
        escrow.settleEach(batch, "worthless");

        // it should divide each
        _assertEachDivided();
    }

    function test_WhenTheAttesterSendsIt() external givenTheBookingsHaveJustEnded {
        // it should emit Settled for each with its evidence
        for (uint256 i; i < batch.length; ++i) {
            _expectSettled(batch[i], AMOUNT);
        }
        _settle();

        // it should pay each provider and refund each buyer
        _assertEachDivided();

        // it should delete the slots
        assertDeleted(batch[0].terms);
        assertDeleted(batch[1].terms);
    }

    function test_WhenABookingStandsTwice() external givenTheBookingsHaveJustEnded {
        _add(booked, AMOUNT);
        _add(booked, 0);
        vm.recordLogs();
        _settle();

        // it should take the first completion
        vm.assertEq(countEvents(), 2);
        _assertEachDivided();
    }

    modifier givenAPartOfItWasClaimed() {
        booked = funded();
        claim(booked, CLAIMED, buyer);
        vm.warp(booked.endsAt);
        _;
    }

    function test_WhenEarnedIsNoMoreThanWhatWasClaimed() external givenAPartOfItWasClaimed {
        uint256[3] memory earned = [0, CLAIMED - 1, CLAIMED];
        uint256 start = vm.snapshotState();

        // it should refund the buyer the other part
        for (uint256 i; i < earned.length; ++i) {
            _add(booked, earned[i]);
            Books memory before = books();
            _expectSettled(Completion(booked, CLAIMED, EVIDENCE), AMOUNT - CLAIMED);
            _settle();
            assertDivided(before, 0, 0, AMOUNT - CLAIMED);
            vm.revertToState(start);
        }
    }

    function test_WhenEarnedIsOneUnitMoreThanWhatWasClaimed() external givenAPartOfItWasClaimed {
        _add(booked, CLAIMED + 1);
        uint256 rest = AMOUNT - CLAIMED - 1;
        Books memory before = books();
        _expectSettled(batch[0], AMOUNT - CLAIMED);
        _settle();

        // it should divide the other part
        assertDivided(before, 1, feeBetween(rest + 1, rest), rest);
    }

    function test_GivenABookingThatHasNotStarted() external {
        booked = funded();
        _add(booked, 0);
        vm.warp(booked.startsAt - 1);
        Books memory before = books();
        _settle();

        // it should refund the buyer
        assertDivided(before, 0, 0, AMOUNT);

        // it should keep the slot as closed
        assertSlot(booked, address(0), 0, State.Closed);
    }

    modifier givenACompletionThatCannotBeSettled() {
        booked = otherTerms();
        _;
    }

    function test_WhenItWasNeverFunded() external givenACompletionThatCannotBeSettled {
        // it should skip it
        _assertSkipped(booked, 0, booked.endsAt);
    }

    function test_WhenItWasCancelledBeforeItsStart() external givenACompletionThatCannotBeSettled {
        fund(booked);
        cancel(booked, otherBuyer.addr);

        // it should skip it
        _assertSkipped(booked, 0, booked.endsAt);
    }

    function test_WhenItWasSettled() external givenACompletionThatCannotBeSettled {
        fund(booked);
        vm.warp(booked.startsAt);
        settle(booked, 0);

        // it should skip it
        _assertSkipped(booked, AMOUNT, booked.endsAt);
    }

    function test_WhenItIsDisputed() external givenACompletionThatCannotBeSettled {
        fund(booked);
        vm.warp(booked.startsAt + 10);
        dispute(booked);

        // it should skip it
        _assertSkipped(booked, 0, booked.endsAt);
    }

    function test_WhenItsTermsAreNotThoseThatWereFunded() external givenACompletionThatCannotBeSettled {
        fund(booked);
        booked.buyer = stranger.addr;

        // it should skip it
        _assertSkipped(booked, 0, booked.endsAt);
    }

    function test_WhenItIsAheadOfTheClock() external givenACompletionThatCannotBeSettled {
        fund(booked);

        // it should skip it
        _assertSkipped(booked, 1, booked.startsAt);
        _assertSkipped(booked, capAfter(500) + 1, booked.startsAt + 500);
    }

    function test_WhenItIsAboveTheAmount() external givenACompletionThatCannotBeSettled {
        fund(booked);

        // it should skip it
        _assertSkipped(booked, uint256(AMOUNT) + 1, booked.endsAt);
        _assertSkipped(booked, type(uint256).max, booked.endsAt + 2);
    }

    function test_WhenItsClaimWindowHasClosed() external givenACompletionThatCannotBeSettled {
        fund(booked);

        // it should skip it
        _assertSkipped(booked, AMOUNT, booked.endsAt + WINDOW);
        _assertSkipped(booked, 0, booked.endsAt + WINDOW + 2);
    }

    function test_GivenTheClaimWindowClosesInASecond() external {
        booked = funded();
        _add(booked, EARNED);
        vm.warp(booked.endsAt + WINDOW - 1);
        Books memory before = books();
        _settle();

        // it should divide the amount
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), AMOUNT - EARNED);
    }

    function test_GivenAMixedBatch() external {
        booked = funded();
        Terms memory greedy = funded();
        Terms memory whole = funded();
        _add(terms(), 0);
        _add(greedy, uint256(AMOUNT) + 1);
        _add(booked, EARNED);
        _add(booked, AMOUNT);
        _add(greedy, type(uint256).max);
        _add(whole, AMOUNT);
        vm.warp(booked.endsAt);
        Books memory before = books();
        vm.recordLogs();
        expectPayments(provider.addr, 2);
        expectPayments(buyer.addr, 1);
        _settle();

        // it should divide what can be divided
        vm.assertEq(countEvents(), 2);
        uint256 cost = feeBetween(AMOUNT, AMOUNT - EARNED) + fee(AMOUNT);
        assertDivided(before, EARNED + AMOUNT, cost, AMOUNT - EARNED);
        assertSlot(greedy, provider.addr, AMOUNT, State.Open);
    }

    function test_GivenTheBookingEndsAtTheLastTimeOfAll() external {
        booked = fundedAtTheLast();
        _add(booked, AMOUNT);

        // it should skip it from the end of the claim window on
        vm.warp(LAST_TIME + WINDOW);
        Books memory before = books();
        _settle();
        assertDivided(before, 0, 0, 0);

        // it should divide the amount until then
        vm.warp(LAST_TIME + WINDOW - 1);
        _settle();
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }

    function _add(Terms memory t, uint256 earned) private {
        batch.push(Completion(t, earned, EVIDENCE));
    }

    function _settle() private {
        vm.prank(attester.addr);
        escrow.settleEach(batch, NO_SIGNATURE);
    }

    /// @dev `remaining` is what the booking held; the completion earns at least what was claimed.
    function _expectSettled(Completion memory c, uint256 remaining) private {
        uint256 rest = AMOUNT - c.earned;
        uint256 cost = feeBetween(remaining, rest);
        vm.expectEmit(address(escrow));
        emit IEscrow.Settled(idOf(c.terms), remaining - rest - cost, cost, rest, c.evidence);
    }

    function _expectRefused(bytes memory signature) private {
        expectInvalidSignature(hashOfEach(batch));
        vm.prank(stranger.addr);
        escrow.settleEach(batch, signature);
    }

    /// @dev The bookings of `givenTheBookingsHaveJustEnded`: only the fees are left.
    function _assertEachDivided() private view {
        uint256 cost = feeBetween(AMOUNT, AMOUNT - EARNED);
        uint256 otherCost = feeBetween(AMOUNT, AMOUNT - OTHER_EARNED);
        vm.assertEq(balance(provider.addr), EARNED - cost, "provider");
        vm.assertEq(balance(otherProvider.addr), OTHER_EARNED - otherCost, "other provider");
        vm.assertEq(balance(buyer.addr), WEALTH - EARNED, "buyer");
        vm.assertEq(balance(otherBuyer.addr), WEALTH - OTHER_EARNED, "other buyer");
        vm.assertEq(escrow.owed(feeRecipient.addr), cost + otherCost, "fees");
        vm.assertEq(balance(address(escrow)), cost + otherCost, "escrow");
    }

    /// @dev At `time`, around a booking that can be settled, the completion leaves no trace.
    function _assertSkipped(Terms memory bad, uint256 earned, uint256 time) private {
        (address payee, uint256 remaining, State state) = escrow.booking(idOf(bad));
        Terms memory good = fundedToEndAt(time);
        delete batch;
        _add(bad, earned);
        _add(good, AMOUNT);
        _add(bad, earned);
        Books memory before = books();
        vm.recordLogs();
        _settle();
        vm.assertEq(countEvents(), 1, "events");
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
        assertDeleted(good);
        assertSlot(bad, payee, remaining, state);
    }
}

contract TokenSettleEachTest is SettleEachTest, TokenMarket {}

contract NativeSettleEachTest is SettleEachTest, NativeMarket {}
