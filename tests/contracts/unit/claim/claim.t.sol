// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../../contracts/libraries/Messages.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Account, Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract ClaimTest is BookedTest {
    Account internal signer;

    function test_RevertGiven_TheBookingWasNeverFunded() external {
        booked = terms();

        // it should revert
        expectNotOpen(booked, State.None);
        claim(booked, 1, buyer);
    }

    function test_RevertGiven_TheBookingWasClosedBeforeItsStart() external {
        booked = funded();
        cancel(booked, buyer.addr);

        // it should revert
        expectNotOpen(booked, State.Closed);
        claim(booked, AMOUNT, buyer);
    }

    function test_RevertGiven_TheBookingWasClosedAfterItsStart() external {
        booked = funded();
        vm.warp(booked.endsAt);
        settle(booked, 0);

        // it should revert
        expectNotOpen(booked, State.None);
        claim(booked, AMOUNT, attester);
    }

    function test_RevertWhen_TheTermsAreNotThoseThatWereFunded() external givenTheBookingIsOpen {
        booked.amount = 2 * AMOUNT;

        // it should revert
        expectNotOpen(booked, State.None);
        claim(booked, 2 * AMOUNT, buyer);
    }

    function test_RevertWhen_NeitherAttesterNorBuyerSignedTheReceipt() external givenTheBookingIsOpen {
        Account[4] memory others = [provider, arbiter, feeRecipient, otherBuyer];

        // it should revert
        for (uint256 earned; earned < 2; ++earned) {
            for (uint256 i; i < others.length; ++i) {
                expectInvalidSignature(Messages.receipt(idOf(booked), earned));
                claim(booked, earned, others[i]);
            }
        }
    }

    function test_RevertWhen_TheReceiptSaysAnotherSum() external givenTheBookingIsOpen {
        bytes memory signature = signReceipt(booked, 1, buyer);

        // it should revert
        expectInvalidSignature(Messages.receipt(idOf(booked), 2));
        escrow.claim(booked, 2, signature);
    }

    function test_RevertWhen_TheReceiptIsThatOfAnotherBooking() external givenTheBookingIsOpen {
        bytes memory signature = signReceipt(funded(), 1, buyer);

        // it should revert
        expectInvalidSignature(Messages.receipt(idOf(booked), 1));
        escrow.claim(booked, 1, signature);
    }

    function test_RevertWhen_TheReceiptIsThatOfAnotherEscrow() external givenTheBookingIsOpen {
        bytes memory signature = signElsewhere(Messages.receipt(idOf(booked), 1), buyer);

        // it should revert
        expectInvalidSignature(Messages.receipt(idOf(booked), 1));
        escrow.claim(booked, 1, signature);
    }

    function test_WhenTheClaimWindowClosesInASecond() external givenTheBookingIsOpen {
        vm.warp(booked.endsAt + WINDOW - 1);
        Books memory before = books();
        claim(booked, AMOUNT, attester);

        // it should pay the provider
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }

    function test_RevertWhen_TheClaimWindowHasClosed() external givenTheBookingIsOpen {
        uint256 end = booked.endsAt + WINDOW;

        // it should revert
        for (uint256 late; late < 2; ++late) {
            vm.warp(end + late);
            expectTooLate(end);
            claim(booked, 1, attester);
            expectTooLate(end);
            claim(booked, 1, buyer);
        }
    }

    modifier whenTheAttesterSignedTheReceipt() {
        signer = attester;
        _;
    }

    function test_RevertWhen_EarnedIsAboveTheClock() external givenTheBookingIsOpen whenTheAttesterSignedTheReceipt {
        vm.warp(booked.startsAt - 1);
        expectAheadOfClock(1, 0);
        claim(booked, 1, signer);

        // it should revert
        uint256[6] memory elapsed = [uint256(0), 1, 500, DURATION - 1, DURATION, DURATION + 1];
        for (uint256 i; i < elapsed.length; ++i) {
            uint256 cap = capAfter(elapsed[i]);
            vm.warp(booked.startsAt + elapsed[i]);
            expectAheadOfClock(cap + 1, cap);
            claim(booked, cap + 1, signer);
            expectAheadOfClock(type(uint256).max, cap);
            claim(booked, type(uint256).max, signer);
        }
    }

    function test_WhenEarnedIsWhatTheClockAllows() external givenTheBookingIsOpen whenTheAttesterSignedTheReceipt {
        // it should pay the provider
        uint256 claimed;
        uint256[4] memory elapsed = [uint256(1), 500, DURATION - 1, DURATION];
        for (uint256 i; i < elapsed.length; ++i) {
            uint256 cap = capAfter(elapsed[i]);
            Books memory before = books();
            vm.warp(booked.startsAt + elapsed[i]);
            claim(booked, cap, signer);
            assertDivided(before, cap - claimed, feeBetween(AMOUNT - claimed, AMOUNT - cap), 0);
            claimed = cap;
        }
    }

    function test_WhenEarnedIsAPart() external givenTheBookingIsOpen whenTheAttesterSignedTheReceipt {
        uint256 cost = feeBetween(AMOUNT, AMOUNT - CLAIMED);
        vm.warp(booked.endsAt);
        Books memory before = books();

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), CLAIMED - cost, cost);
        claim(booked, CLAIMED, signer);

        // it should pay the provider what was earned less the fee
        assertDivided(before, CLAIMED, cost, 0);

        // it should keep the rest in the slot
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED, State.Open);
    }

    function test_WhenEarnedIsAllButOneUnit() external givenTheBookingIsOpen whenTheAttesterSignedTheReceipt {
        vm.warp(booked.endsAt);
        claim(booked, AMOUNT - 1, signer);

        // it should stay open
        assertSlot(booked, provider.addr, 1, State.Open);
    }

    function test_WhenEarnedIsTheWholeAmount() external givenTheBookingIsOpen whenTheAttesterSignedTheReceipt {
        vm.warp(booked.endsAt);
        Books memory before = books();

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), AMOUNT - fee(AMOUNT), fee(AMOUNT));
        claim(booked, AMOUNT, signer);

        // it should pay the provider the amount less the fee
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);

        // it should delete the slot
        assertDeleted(booked);
    }

    modifier whenTheBuyerSignedTheReceipt() {
        signer = buyer;
        _;
    }

    function test_RevertWhen_EarnedIsAboveTheAmount() external givenTheBookingIsOpen whenTheBuyerSignedTheReceipt {
        uint256[2] memory excess = [uint256(AMOUNT) + 1, type(uint256).max];

        // it should revert
        for (uint256 i; i < excess.length; ++i) {
            vm.warp(booked.startsAt - 1);
            expectEarnedAboveAmount(excess[i], AMOUNT);
            claim(booked, excess[i], signer);
            vm.warp(booked.endsAt);
            expectEarnedAboveAmount(excess[i], AMOUNT);
            claim(booked, excess[i], signer);
        }
    }

    function test_WhenAPartIsSignedAwayBeforeTheStart() external givenTheBookingIsOpen whenTheBuyerSignedTheReceipt {
        Books memory before = books();
        claim(booked, CLAIMED, signer);

        // it should pay the provider
        assertDivided(before, CLAIMED, feeBetween(AMOUNT, AMOUNT - CLAIMED), 0);

        // it should keep the rest in the slot
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED, State.Open);
    }

    function test_WhenTheWholeAmountIsSignedAwayBeforeTheStart()
        external
        givenTheBookingIsOpen
        whenTheBuyerSignedTheReceipt
    {
        vm.warp(booked.startsAt - 1);
        Books memory before = books();

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), AMOUNT - fee(AMOUNT), fee(AMOUNT));
        claim(booked, AMOUNT, signer);

        // it should pay the provider
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);

        // it should keep the slot as closed
        assertSlot(booked, address(0), 0, State.Closed);
    }

    function test_WhenTheWholeAmountIsSignedAwayAtTheStart()
        external
        givenTheBookingIsOpen
        whenTheBuyerSignedTheReceipt
    {
        vm.warp(booked.startsAt);
        Books memory before = books();
        claim(booked, AMOUNT, signer);

        // it should pay the provider
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);

        // it should delete the slot
        assertDeleted(booked);
    }

    function test_WhenEarnedIsNoMoreThanWhatWasClaimed() external givenTheBookingIsOpen givenAPartWasClaimed {
        vm.warp(booked.endsAt);
        uint256[3] memory earned = [0, CLAIMED - 1, CLAIMED];
        Books memory before = books();
        vm.recordLogs();

        // it should change nothing
        expectPayments(provider.addr, 0);
        for (uint256 i; i < earned.length; ++i) {
            claim(booked, earned[i], buyer);
            claim(booked, earned[i], attester);
        }
        vm.assertEq(countEvents(), 0, "events");
        assertDivided(before, 0, 0, 0);
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED, State.Open);
    }

    function test_WhenEarnedIsOneUnitMoreThanWhatWasClaimed() external givenTheBookingIsOpen givenAPartWasClaimed {
        uint256 cost = feeBetween(AMOUNT - CLAIMED, AMOUNT - CLAIMED - 1);
        vm.warp(booked.endsAt);
        Books memory before = books();

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), 1 - cost, cost);
        claim(booked, CLAIMED + 1, attester);

        // it should pay the provider the difference less the fee
        assertDivided(before, 1, cost, 0);

        // it should keep the rest in the slot
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED - 1, State.Open);
    }

    function test_WhenEarnedIsAllThatRemains() external givenTheBookingIsOpen givenAPartWasClaimed {
        Books memory before = books();
        claim(booked, AMOUNT, buyer);

        // it should pay the provider the difference less the fee
        assertDivided(before, AMOUNT - CLAIMED, fee(AMOUNT - CLAIMED), 0);

        // it should keep the slot as closed
        assertSlot(booked, address(0), 0, State.Closed);
    }

    function test_GivenTheBuyerIsTheAttester() external {
        endow(attester.addr);
        booked = terms();
        booked.buyer = attester.addr;
        fund(booked);
        vm.warp(booked.startsAt + 1);

        // it should bind the buyer to the clock
        expectAheadOfClock(capAfter(1) + 1, capAfter(1));
        claim(booked, capAfter(1) + 1, attester);
        claim(booked, capAfter(1), attester);
        vm.assertEq(remainingOf(booked), AMOUNT - capAfter(1));
    }

    function test_GivenAmountsAtWhichTheFeeRounds() external {
        uint88[4] memory amounts = [uint88(1), 99, 100, 199];

        // it should take the same fee however claims are split
        for (uint256 i; i < amounts.length; ++i) {
            for (uint256 step = 1; step <= amounts[i]; step += 49) {
                Books memory before = books();
                _claimInSteps(amounts[i], step);
                vm.assertEq(books().fees - before.fees, fee(amounts[i]), "fees");
                vm.assertEq(books().provider - before.provider, amounts[i] - fee(amounts[i]), "provider");
            }
        }
    }

    function _claimInSteps(uint88 amount, uint256 step) private {
        Terms memory t = fundedWith(amount);
        for (uint256 earned = step; earned < amount; earned += step) {
            claim(t, earned, buyer);
        }
        claim(t, amount, buyer);
    }

    function test_GivenTheLargestAmountThereIs() external {
        uint256 amount = type(uint88).max;
        booked = fundedWith(uint88(amount));
        vm.warp(booked.startsAt + 999);
        Books memory before = books();
        uint256 cap = (amount * 999) / DURATION;
        claim(booked, cap, attester);

        // it should pay exactly what the clock allows
        assertDivided(before, cap, feeBetween(amount, amount - cap), 0);

        // it should keep exactly the rest
        assertSlot(booked, provider.addr, amount - cap, State.Open);
    }

    function test_GivenTheFeeTakesAllOfAClaim() external {
        booked = fundedWith(100);

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), 0, 1);

        // it should send the provider nothing
        expectPayments(provider.addr, 0);
        claim(booked, 1, buyer);
    }

    function test_GivenTheAccountThatIsCalledNotesItsGas() external {
        address token = escrow.token();
        address called = token == address(0) ? provider.addr : token;
        booked = funded();
        // GAS PUSH0 SSTORE, then a word of 1 as the answer. GAS itself takes 2; coin comes with a stipend of 2,300.
        vm.etch(called, hex"5a5f5560015f5260205ff3");
        claim(booked, CLAIMED, buyer);

        // it should pass on exactly the gas of a push
        vm.assertEq(uint256(vm.load(called, 0)), token == address(0) ? 50_000 + 2_300 - 2 : 300_000 - 2);
    }

    function test_GivenTheBookingEndsAtTheLastTimeOfAll() external {
        booked = fundedAtTheLast();

        // it should revert from the end of the claim window on
        vm.warp(LAST_TIME + WINDOW);
        expectTooLate(LAST_TIME + WINDOW);
        claim(booked, AMOUNT, attester);

        // it should pay the provider until then
        vm.warp(LAST_TIME + WINDOW - 1);
        Books memory before = books();
        claim(booked, AMOUNT, attester);
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);
    }
}

contract TokenClaimTest is ClaimTest, TokenMarket {}

contract NativeClaimTest is ClaimTest, NativeMarket {}
