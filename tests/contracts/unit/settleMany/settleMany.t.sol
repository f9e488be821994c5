// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Account, Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract SettleManyTest is BookedTest {
    uint256 internal constant NET = AMOUNT - AMOUNT / 100;

    BookingId[] internal ids;

    function test_WhenTheBatchIsEmpty() external {
        Books memory before = books();
        vm.recordLogs();
        _settle();

        // it should change nothing
        vm.assertEq(countEvents(), 0);
        assertDivided(before, 0, 0, 0);
    }

    /// @dev Two of `provider`, then one of `otherProvider`.
    modifier givenTheBookingsHaveJustEnded() {
        ids.push(idOf(funded()));
        booked = funded();
        ids.push(idOf(booked));
        ids.push(fund(otherTerms()));
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
            _expectRefused(signMany(ids, others[i]));
        }
    }

    function test_RevertWhen_TheAttesterSignedFewerOrMoreIds()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        bytes memory signature = signMany(ids, attester);
        BookingId last = ids[2];

        // it should revert
        ids.pop();
        _expectRefused(signature);
        ids.push(last);
        ids.push(last);
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedThemInAnotherOrder()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        bytes memory signature = signMany(ids, attester);
        (ids[0], ids[1]) = (ids[1], ids[0]);

        // it should revert
        _expectRefused(signature);
    }

    function test_RevertWhen_TheAttesterSignedForAnotherEscrow()
        external
        givenTheBookingsHaveJustEnded
        whenAStrangerSendsIt
    {
        // it should revert
        _expectRefused(signElsewhere(hashOfMany(ids), attester));
    }

    function test_WhenTheAttesterSignedExactlyThis() external givenTheBookingsHaveJustEnded whenAStrangerSendsIt {
        bytes memory signature = signMany(ids, attester);
        vm.prank(stranger.addr);
        escrow.settleMany(ids, signature);

        // it should settle all in full
        _assertAllPaid();
    }

    function test_WhenTheAttesterSendsItWithAWorthlessSignature() external givenTheBookingsHaveJustEnded {
        vm.prank(attester.addr);
        escrow.settleMany(ids, "worthless");

        // it should settle all in full
        _assertAllPaid();
    }

    function test_WhenTheAttesterSendsIt() external givenTheBookingsHaveJustEnded {
        expectPayments(buyer.addr, 0);
        expectPayments(otherBuyer.addr, 0);

        // it should emit SettledInFull for each
        for (uint256 i; i < ids.length; ++i) {
            _expectSettled(ids[i], AMOUNT);
        }
        _settle();

        // it should pay each provider all that remains less the fees
        _assertAllPaid();

        // it should send the buyers nothing
        vm.assertEq(balance(buyer.addr), WEALTH - 2 * AMOUNT);
        vm.assertEq(balance(otherBuyer.addr), WEALTH - AMOUNT);

        // it should delete the slots
        for (uint256 i; i < ids.length; ++i) {
            (address payee, uint256 remaining, State state) = escrow.booking(ids[i]);
            vm.assertTrue(payee == address(0) && remaining == 0 && state == State.None);
        }
    }

    function test_WhenAnIdStandsTwice() external givenTheBookingsHaveJustEnded {
        ids.push(ids[0]);
        ids.push(ids[2]);
        vm.recordLogs();
        _settle();

        // it should settle it once
        vm.assertEq(countEvents(), 3);
        _assertAllPaid();
    }

    function test_GivenRunsOfTheSameProvider() external {
        booked = terms();
        for (uint256 i; i < 5; ++i) {
            Terms memory t = i == 2 || i == 3 ? otherTerms() : terms();
            ids.push(fund(t));
        }
        vm.warp(booked.endsAt);

        // it should send one payment for each run
        expectPayments(provider.addr, 2);
        expectPayments(otherProvider.addr, 1);
        _settle();

        // it should pay each provider its sum
        vm.assertEq(balance(provider.addr), 3 * NET);
        vm.assertEq(balance(otherProvider.addr), 2 * NET);
        vm.assertEq(escrow.owed(feeRecipient.addr), 5 * fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), 5 * fee(AMOUNT));
    }

    function test_GivenPartsWereClaimed() external {
        Terms memory other = funded();
        booked = funded();
        claim(other, 1, buyer);
        claim(booked, CLAIMED, buyer);
        ids = [idOf(other), idOf(booked)];
        vm.warp(booked.endsAt);
        Books memory before = books();

        // it should emit SettledInFull with the fee on what remained
        _expectSettled(ids[0], AMOUNT - 1);
        _expectSettled(ids[1], AMOUNT - CLAIMED);
        _settle();

        // it should pay what remained less the fees
        uint256 rest = AMOUNT - 1 + AMOUNT - CLAIMED;
        assertDivided(before, rest, fee(AMOUNT - 1) + fee(AMOUNT - CLAIMED), 0);
    }

    function test_GivenAmountsAtWhichTheFeeRounds() external {
        uint88[5] memory amounts = [uint88(1), 99, 100, 199, 201];
        uint256 fees;
        uint256 total;
        for (uint256 i; i < amounts.length; ++i) {
            ids.push(idOf(fundedWith(amounts[i])));
            fees += fee(amounts[i]);
            total += amounts[i];
        }
        vm.warp(terms().endsAt);
        Books memory before = books();
        _settle();

        // it should take the fee of each booking alone
        assertDivided(before, total, fees, 0);
    }

    modifier givenABookingThatCannotBeSettled() {
        booked = otherTerms();
        _;
    }

    function test_WhenItWasNeverFunded() external givenABookingThatCannotBeSettled {
        // it should skip it
        _assertSkipped(idOf(booked), booked.endsAt);
    }

    function test_WhenItWasCancelledBeforeItsStart() external givenABookingThatCannotBeSettled {
        fund(booked);
        cancel(booked, otherBuyer.addr);

        // it should skip it
        _assertSkipped(idOf(booked), booked.endsAt);
    }

    function test_WhenItWasSettled() external givenABookingThatCannotBeSettled {
        fund(booked);
        vm.warp(booked.startsAt);
        settle(booked, 0);

        // it should skip it
        _assertSkipped(idOf(booked), booked.endsAt);
    }

    function test_WhenItIsDisputed() external givenABookingThatCannotBeSettled {
        fund(booked);
        vm.warp(booked.startsAt);
        dispute(booked);

        // it should skip it
        _assertSkipped(idOf(booked), booked.endsAt);
    }

    function test_WhenItEndsInASecond() external givenABookingThatCannotBeSettled {
        fund(booked);

        // it should skip it
        _assertSkipped(idOf(booked), booked.endsAt - 1);
    }

    function test_WhenItsClaimWindowHasClosed() external givenABookingThatCannotBeSettled {
        fund(booked);

        // it should skip it
        _assertSkipped(idOf(booked), booked.endsAt + WINDOW);
        _assertSkipped(idOf(booked), booked.endsAt + WINDOW + 2);
    }

    function test_WhenItsIdSaysAnotherEnd() external givenABookingThatCannotBeSettled {
        bytes32 id = BookingId.unwrap(fund(booked));
        BookingId crafted = BookingId.wrap(id ^ bytes32(uint256(booked.endsAt ^ booked.startsAt)));

        // it should skip it
        _assertSkipped(crafted, booked.startsAt);
        assertSlot(booked, otherProvider.addr, AMOUNT, State.Open);
    }

    function test_GivenTheClaimWindowClosesInASecond() external {
        booked = funded();
        ids.push(idOf(booked));
        vm.warp(booked.endsAt + WINDOW - 1);
        Books memory before = books();
        _settle();

        // it should settle the booking
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }

    function test_GivenTheClaimWindowIsOneSecond() external {
        redeploy(FEE_BPS, 1);
        booked = funded();
        ids.push(idOf(booked));

        // it should skip the booking a second later
        vm.warp(booked.endsAt + 1);
        Books memory before = books();
        _settle();
        assertDivided(before, 0, 0, 0);

        // it should settle it at its end
        vm.warp(booked.endsAt);
        _settle();
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }

    function test_GivenAMixedBatch() external {
        Terms memory first = funded();
        Terms memory closed = otherTerms();
        Terms memory last = funded();
        Terms memory running = otherTerms();
        running.endsAt += 1;
        fund(closed);
        fund(running);
        cancel(closed, otherBuyer.addr);
        ids = [idOf(closed), idOf(first), idOf(running), idOf(last), idOf(first), idOf(terms())];
        vm.warp(first.endsAt);
        Books memory before = books();
        vm.recordLogs();

        // it should settle what can be settled
        _expectSettled(idOf(first), AMOUNT);
        _expectSettled(idOf(last), AMOUNT);

        // it should pay over what is skipped as one run
        expectPayments(provider.addr, 1);
        _settle();
        vm.assertEq(countEvents(), 2);
        assertDivided(before, 2 * AMOUNT, 2 * fee(AMOUNT), 0);
        assertSlot(running, otherProvider.addr, AMOUNT, State.Open);
    }

    function test_GivenTheBookingEndsAtTheLastTimeOfAll() external {
        booked = fundedAtTheLast();
        ids.push(idOf(booked));

        // it should skip it from the end of the claim window on
        vm.warp(LAST_TIME + WINDOW);
        Books memory before = books();
        _settle();
        assertDivided(before, 0, 0, 0);

        // it should settle it until then
        vm.warp(LAST_TIME + WINDOW - 1);
        _settle();
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }

    function _settle() private {
        vm.prank(attester.addr);
        escrow.settleMany(ids, NO_SIGNATURE);
    }

    function _expectSettled(BookingId id, uint256 remaining) private {
        vm.expectEmit(address(escrow));
        emit IEscrow.SettledInFull(id, fee(remaining));
    }

    function _expectRefused(bytes memory signature) private {
        expectInvalidSignature(hashOfMany(ids));
        vm.prank(stranger.addr);
        escrow.settleMany(ids, signature);
    }

    /// @dev The bookings of `givenTheBookingsHaveJustEnded`: only the fees are left.
    function _assertAllPaid() private view {
        vm.assertEq(balance(provider.addr), 2 * NET);
        vm.assertEq(balance(otherProvider.addr), NET);
        vm.assertEq(escrow.owed(feeRecipient.addr), 3 * fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), 3 * fee(AMOUNT));
    }

    /// @dev At `time`, around a booking that can be settled, `id` leaves no trace.
    function _assertSkipped(BookingId id, uint256 time) private {
        Terms memory good = fundedToEndAt(time);
        ids = [id, idOf(good), id];
        (address payee, uint256 remaining, State state) = escrow.booking(id);
        Books memory before = books();
        vm.recordLogs();
        _settle();
        vm.assertEq(countEvents(), 1, "events");
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
        assertDeleted(good);
        (address payee_, uint256 remaining_, State state_) = escrow.booking(id);
        vm.assertTrue(payee_ == payee && remaining_ == remaining && state_ == state, "slot");
    }
}

contract TokenSettleManyTest is SettleManyTest, TokenMarket {}

contract NativeSettleManyTest is SettleManyTest, NativeMarket {}
