// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Books} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract ResolveTest is BookedTest {
    uint256 internal constant EARNED = 700_001;

    function test_RevertGiven_TheBookingWasNeverFunded() external {
        booked = terms();

        // it should revert
        _expectNotDisputed(State.None);
    }

    function test_RevertGiven_TheBookingWasClosedBeforeItsStart() external {
        booked = funded();
        cancel(booked, buyer.addr);

        // it should revert
        _expectNotDisputed(State.Closed);
    }

    function test_RevertGiven_TheBookingIsOpen() external {
        booked = funded();

        // it should revert
        _expectNotDisputed(State.Open);
        vm.warp(booked.endsAt + WINDOW);
        _expectNotDisputed(State.Open);
    }

    function test_RevertGiven_TheDisputeWasResolved() external {
        booked = disputed();
        vm.warp(_disputedAt() + WINDOW);
        resolve(booked, 0);

        // it should revert
        _expectNotDisputed(State.None);
    }

    function test_RevertGiven_TheProviderGaveUpAfterTheDispute() external {
        booked = disputed();
        cancel(booked, provider.addr);
        vm.warp(_disputedAt() + WINDOW);

        // it should revert
        _expectNotDisputed(State.None);
    }

    function test_RevertGiven_EverythingWasClaimedAfterTheDispute() external {
        booked = disputed();
        claim(booked, AMOUNT, buyer);
        vm.warp(_disputedAt() + WINDOW);

        // it should revert
        _expectNotDisputed(State.None);
    }

    function test_RevertGiven_ThereIsNoArbiter() external {
        redeploy(attester.addr, address(0), feeRecipient.addr);
        booked = funded();
        vm.warp(booked.endsAt);

        // it should revert
        _expectNotArbiter(arbiter.addr, address(0));
        resolve(booked, 0);
    }

    function test_RevertWhen_TheSenderIsNotTheArbiter() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW);
        address[5] memory others = [stranger.addr, buyer.addr, provider.addr, attester.addr, feeRecipient.addr];

        // it should revert
        for (uint256 i; i < others.length; ++i) {
            _expectNotArbiter(others[i], arbiter.addr);
            vm.prank(others[i]);
            escrow.resolve(booked, 0);
        }
    }

    function test_RevertWhen_TheTermsAreNotThoseThatWereFunded() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW);
        booked.amount *= 2;

        // it should revert
        _expectNotDisputed(State.None);
    }

    function test_RevertWhen_TheClaimWindowOfTheDisputeHasNotPassed() external givenTheBookingIsDisputed {
        uint256 from = _disputedAt() + WINDOW;
        uint256[3] memory times = [from - WINDOW, booked.endsAt, from - 1];

        // it should revert
        for (uint256 i; i < times.length; ++i) {
            vm.warp(times[i]);
            expectTooEarly(from);
            resolve(booked, 0);
        }
    }

    function test_WhenTheClaimWindowOfTheDisputeHasPassed() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW);

        // it should divide the amount
        _resolveAndAssertDivided();
    }

    function test_WhenTheArbitersTimeEndsInASecond() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW + ARBITER_WINDOW - 1);

        // it should divide the amount
        _resolveAndAssertDivided();
    }

    function test_RevertWhen_TheArbitersTimeIsOver() external givenTheBookingIsDisputed {
        uint256 end = _disputedAt() + WINDOW + ARBITER_WINDOW;

        // it should revert
        for (uint256 late; late < 2; ++late) {
            vm.warp(end + late);
            expectTooLate(end);
            resolve(booked, 0);
        }
    }

    function test_RevertWhen_EarnedIsAboveTheAmount() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW);

        // it should revert
        expectEarnedAboveAmount(uint256(AMOUNT) + 1, AMOUNT);
        resolve(booked, uint256(AMOUNT) + 1);
        expectEarnedAboveAmount(type(uint256).max, AMOUNT);
        resolve(booked, type(uint256).max);
    }

    function test_WhenEarnedIsAPart() external givenTheBookingIsDisputed {
        uint256 disputedAt = _disputedAt();
        uint256 cost = feeBetween(AMOUNT, AMOUNT - EARNED);
        vm.warp(disputedAt + WINDOW);
        Books memory before = books();

        // it should emit Resolved
        _expectResolved(AMOUNT, EARNED);
        resolve(booked, EARNED);

        // it should pay the provider what was earned less the fee
        vm.assertEq(balance(provider.addr), before.provider + EARNED - cost);

        // it should refund the buyer the rest
        assertDivided(before, EARNED, cost, AMOUNT - EARNED);

        // it should delete the slot
        assertDeleted(booked);

        // it should keep the time of the dispute
        vm.assertEq(_disputedAt(), disputedAt);
    }

    function test_WhenEarnedIsEverything() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW);
        Books memory before = books();
        expectPayments(buyer.addr, 0);
        expectPayments(provider.addr, 1);

        // it should emit Resolved
        _expectResolved(AMOUNT, AMOUNT);
        resolve(booked, AMOUNT);

        // it should pay the provider ahead of the clock
        assertDivided(before, AMOUNT, fee(AMOUNT), 0);

        // it should send the buyer nothing
        vm.assertEq(balance(buyer.addr), before.buyer);
    }

    function test_WhenEarnedIsNothing() external givenTheBookingIsDisputed {
        vm.warp(_disputedAt() + WINDOW);
        Books memory before = books();
        expectPayments(buyer.addr, 1);
        expectPayments(provider.addr, 0);

        // it should emit Resolved
        _expectResolved(AMOUNT, 0);
        resolve(booked, 0);

        // it should refund the buyer everything without a fee
        assertDivided(before, 0, 0, AMOUNT);

        // it should send the provider nothing
        vm.assertEq(balance(provider.addr), before.provider);
    }

    function test_WhenEarnedIsNoMoreThanWhatWasClaimed() external givenTheBookingIsDisputed givenAPartWasClaimed {
        vm.warp(_disputedAt() + WINDOW);
        uint256[3] memory earned = [0, CLAIMED - 1, CLAIMED];
        uint256 start = vm.snapshotState();

        for (uint256 i; i < earned.length; ++i) {
            Books memory before = books();

            // it should emit Resolved
            _expectResolved(AMOUNT - CLAIMED, 0);
            resolve(booked, earned[i]);

            // it should refund the buyer the other part
            assertDivided(before, 0, 0, AMOUNT - CLAIMED);
            vm.revertToState(start);
        }
    }

    function test_WhenEarnedIsMoreThanWhatWasClaimed() external givenTheBookingIsDisputed givenAPartWasClaimed {
        vm.warp(_disputedAt() + WINDOW);
        uint256[3] memory earned = [CLAIMED + 1, EARNED, AMOUNT];
        uint256 start = vm.snapshotState();

        for (uint256 i; i < earned.length; ++i) {
            uint256 rest = AMOUNT - earned[i];
            Books memory before = books();

            // it should emit Resolved
            _expectResolved(AMOUNT - CLAIMED, earned[i] - CLAIMED);
            resolve(booked, earned[i]);

            // it should divide the other part
            assertDivided(before, earned[i] - CLAIMED, feeBetween(AMOUNT - CLAIMED, rest), rest);
            vm.revertToState(start);
        }
    }

    function test_GivenTheDisputeWasInTheLastSecondOfAll() external {
        booked = fundedAtTheLast();
        vm.warp(LAST_TIME - 1);
        dispute(booked);

        // it should revert until the claim window has passed
        vm.warp(LAST_TIME + WINDOW - 2);
        expectTooEarly(LAST_TIME + WINDOW - 1);
        resolve(booked, 0);

        // it should revert from the end of the arbiter's time on
        vm.warp(LAST_TIME + WINDOW + ARBITER_WINDOW - 1);
        expectTooLate(LAST_TIME + WINDOW + ARBITER_WINDOW - 1);
        resolve(booked, 0);

        // it should divide the amount in between
        vm.warp(LAST_TIME + WINDOW + ARBITER_WINDOW - 2);
        _resolveAndAssertDivided();
    }

    function _disputedAt() private view returns (uint256) {
        return escrow.disputedAt(idOf(booked));
    }

    function _resolveAndAssertDivided() private {
        Books memory before = books();
        resolve(booked, EARNED);
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), AMOUNT - EARNED);
    }

    function _expectNotArbiter(address sender, address arbiter_) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotArbiter.selector, sender, arbiter_));
    }

    function _expectNotDisputed(State state) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NotDisputed.selector, idOf(booked), state));
        resolve(booked, 0);
    }

    /// @dev `more` of `remaining` goes to the provider.
    function _expectResolved(uint256 remaining, uint256 more) private {
        uint256 cost = feeBetween(remaining, remaining - more);
        vm.expectEmit(address(escrow));
        emit IEscrow.Resolved(idOf(booked), more - cost, cost, remaining - more);
    }
}

contract TokenResolveTest is ResolveTest, TokenMarket {}

contract NativeResolveTest is ResolveTest, NativeMarket {}
