// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State} from "../../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../../contracts/libraries/Messages.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract ClaimDisputedTest is BookedTest {
    /// @dev `cap` at the dispute.
    uint256 internal constant CAP = AMOUNT / 2;

    uint256 internal disputedAt;

    modifier givenTheDisputeWasInTheMiddle() {
        booked = disputed();
        disputedAt = escrow.disputedAt(idOf(booked));
        _;
    }

    function test_RevertWhen_NeitherAttesterNorBuyerSignedTheReceipt() external givenTheDisputeWasInTheMiddle {
        // it should revert
        expectInvalidSignature(Messages.receipt(idOf(booked), 1));
        claim(booked, 1, arbiter);
        expectInvalidSignature(Messages.receipt(idOf(booked), 1));
        claim(booked, 1, provider);
    }

    function test_RevertWhen_TheClaimWindowOfTheDisputeHasClosed() external givenTheDisputeWasInTheMiddle {
        uint256 end = disputedAt + WINDOW;

        // it should revert
        for (uint256 late; late < 2; ++late) {
            vm.warp(end + late);
            expectTooLate(end);
            claim(booked, 1, attester);
            expectTooLate(end);
            claim(booked, 1, buyer);
        }
    }

    function test_WhenTheClaimWindowOfTheDisputeClosesInASecond() external givenTheDisputeWasInTheMiddle {
        vm.warp(disputedAt + WINDOW - 1);
        Books memory before = books();
        claim(booked, CAP, attester);

        // it should pay the provider
        assertDivided(before, CAP, feeBetween(AMOUNT, AMOUNT - CAP), 0);
    }

    function test_RevertWhen_TheAttesterSignedMoreThanTheClockAtTheDispute() external givenTheDisputeWasInTheMiddle {
        uint256[4] memory times = [disputedAt, disputedAt + 1, booked.endsAt, disputedAt + WINDOW - 1];

        // it should revert
        for (uint256 i; i < times.length; ++i) {
            vm.warp(times[i]);
            expectAheadOfClock(CAP + 1, CAP);
            claim(booked, CAP + 1, attester);
        }
    }

    function test_WhenTheAttesterSignedWhatTheClockAllowsAtTheDispute() external givenTheDisputeWasInTheMiddle {
        uint256 cost = feeBetween(AMOUNT, AMOUNT - CAP);
        Books memory before = books();

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), CAP - cost, cost);
        claim(booked, CAP, attester);

        // it should pay the provider what was earned less the fee
        assertDivided(before, CAP, cost, 0);

        // it should stay disputed
        assertSlot(booked, provider.addr, AMOUNT - CAP, State.Disputed);
    }

    function test_RevertWhen_TheBuyerSignedMoreThanTheAmount() external givenTheDisputeWasInTheMiddle {
        // it should revert
        expectEarnedAboveAmount(uint256(AMOUNT) + 1, AMOUNT);
        claim(booked, uint256(AMOUNT) + 1, buyer);
    }

    function test_WhenTheBuyerSignedTheWholeAmount() external givenTheDisputeWasInTheMiddle {
        Books memory before = books();

        // it should emit Claimed
        vm.expectEmit(address(escrow));
        emit IEscrow.Claimed(idOf(booked), AMOUNT - fee(AMOUNT), fee(AMOUNT));
        claim(booked, AMOUNT, buyer);

        // it should pay the provider the amount less the fee
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);

        // it should delete the slot
        assertDeleted(booked);

        // it should keep the time of the dispute
        vm.assertEq(escrow.disputedAt(idOf(booked)), disputedAt);
    }

    function test_WhenEarnedIsNoMoreThanWhatWasClaimed() external givenTheDisputeWasInTheMiddle givenAPartWasClaimed {
        uint256[3] memory earned = [0, CLAIMED - 1, CLAIMED];
        Books memory before = books();
        vm.recordLogs();

        // it should change nothing
        expectPayments(provider.addr, 0);
        for (uint256 i; i < earned.length; ++i) {
            claim(booked, earned[i], attester);
        }
        vm.assertEq(countEvents(), 0, "events");
        assertDivided(before, 0, 0, 0);
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED, State.Disputed);
    }

    function test_WhenEarnedIsOneUnitMoreThanWhatWasClaimed()
        external
        givenTheDisputeWasInTheMiddle
        givenAPartWasClaimed
    {
        Books memory before = books();
        claim(booked, CLAIMED + 1, attester);

        // it should pay the provider the difference less the fee
        assertDivided(before, 1, feeBetween(AMOUNT - CLAIMED, AMOUNT - CLAIMED - 1), 0);

        // it should stay disputed with the rest
        assertSlot(booked, provider.addr, AMOUNT - CLAIMED - 1, State.Disputed);
    }

    function test_GivenTheDisputeWasAtTheStart() external {
        booked = funded();
        vm.warp(booked.startsAt);
        dispute(booked);
        vm.warp(booked.endsAt);

        // it should revert for any receipt of the attester
        expectAheadOfClock(1, 0);
        claim(booked, 1, attester);
    }

    function test_GivenTheDisputeWasInTheLastSecondOfAll() external {
        booked = fundedAtTheLast();
        vm.warp(LAST_TIME - 1);
        dispute(booked);

        // it should revert from the end of the claim window on
        vm.warp(LAST_TIME - 1 + WINDOW);
        expectTooLate(LAST_TIME - 1 + WINDOW);
        claim(booked, 1, attester);

        // it should pay the provider until then
        vm.warp(LAST_TIME - 2 + WINDOW);
        claim(booked, capAfter(DURATION - 1), attester);
        vm.assertEq(remainingOf(booked), AMOUNT - capAfter(DURATION - 1));
    }
}

contract TokenClaimDisputedTest is ClaimDisputedTest, TokenMarket {}

contract NativeClaimDisputedTest is ClaimDisputedTest, NativeMarket {}
