// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {bound} from "../support/Fuzz.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title Thieves of the attester's key, of the arbiter's key, and of both, with a party of the booking for a friend
/// @dev What each can take is bounded: each bound is reached, and one unit more is refused.
/// `claimed` is what the provider had claimed in time, fees included, as everything that is earned.
abstract contract StolenKeysTest is BookedTest {
    uint256 private _end;

    /* THE ATTESTER'S KEY */

    /// @dev For the provider: never more than the clock allows.
    function testFuzz_StolenAttesterPaysTheProvider(uint256 amount, uint256 time, uint256 more) external {
        book(amount);
        time = bound(time, booked.startsAt - 1, _end + WINDOW - 1);
        vm.warp(time);
        uint256 cap = capAt(time);
        more = bound(more, cap + 1, type(uint256).max);

        expectAheadOfClock(more, cap);
        claim(booked, more, attester);
        expectAheadOfClock(more, cap);
        settle(booked, more);
        assertEachSkips(more);
        if (time < _end) assertManySkips();
        claim(booked, cap, attester);

        vm.assertEq(earnedByProvider(), cap);
    }

    /// @dev From the end of the claim window on, nothing.
    function testFuzz_StolenAttesterIsLate(uint256 amount, uint256 time, uint256 earned) external {
        book(amount);
        vm.warp(bound(time, _end + WINDOW, LAST_TIME));

        expectTooLate(_end + WINDOW);
        claim(booked, earned, attester);
        expectTooLate(_end + WINDOW);
        settle(booked, earned);
        assertEachSkips(earned);
        assertManySkips();

        vm.assertEq(earnedByProvider(), 0);
    }

    /// @dev For the provider, once the buyer has noticed and disputed: never more than the clock showed then.
    function testFuzz_StolenAttesterPaysTheProviderOfADisputedBooking(uint256 amount, uint256 since, uint256 time)
        external
    {
        book(amount);
        since = disputeAt(since);
        vm.warp(bound(time, since, since + WINDOW - 1));
        uint256 cap = capAt(since);

        expectAheadOfClock(cap + 1, cap);
        claim(booked, cap + 1, attester);
        expectNotOpen(booked, State.Disputed);
        settle(booked, 0);
        assertEachSkips(0);
        assertManySkips();
        claim(booked, cap, attester);
        vm.assertEq(earnedByProvider(), cap);

        if (cap == booked.amount) return;
        vm.warp(since + WINDOW);
        expectTooLate(since + WINDOW);
        claim(booked, cap, attester);
    }

    /// @dev For the buyer: what is unclaimed and no more. What was claimed stays.
    function testFuzz_StolenAttesterRefundsTheBuyer(uint256 amount, uint256 claimed, uint256 time, uint256 earned)
        external
    {
        book(amount);
        claimed = claimPart(claimed);
        time = bound(time, BEGIN, _end + WINDOW - 1);
        vm.warp(time);
        earned = bound(earned, 0, capAt(time) < claimed ? capAt(time) : claimed);

        settle(booked, earned);

        vm.assertEq(refunded(), booked.amount - claimed);
        vm.assertEq(earnedByProvider(), claimed);
    }

    /* THE ARBITER'S KEY */

    /// @dev A booking that its buyer did not dispute is out of its reach.
    function testFuzz_StolenArbiterResolvesAnOpenBooking(uint256 time, uint256 earned) external {
        book(AMOUNT);
        vm.warp(bound(time, BEGIN, LAST_TIME));

        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NotDisputed.selector, idOf(booked), State.Open));
        resolve(booked, earned);
    }

    function test_ResolvesWithoutTheArbitersKey() external {
        booked = disputed();
        vm.warp(booked.startsAt + DURATION / 2 + WINDOW);
        address[4] memory others = [attester.addr, buyer.addr, provider.addr, stranger.addr];
        for (uint256 i; i < others.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotArbiter.selector, others[i], arbiter.addr));
            vm.prank(others[i]);
            escrow.resolve(booked, AMOUNT);
        }
    }

    function testFuzz_StolenArbiterIsEarlyOrLate(uint256 since, uint256 early, uint256 late, uint256 earned) external {
        book(AMOUNT);
        since = disputeAt(since);

        vm.warp(bound(early, since, since + WINDOW - 1));
        expectTooEarly(since + WINDOW);
        resolve(booked, earned);
        vm.warp(bound(late, since + WINDOW + ARBITER_WINDOW, LAST_TIME));
        expectTooLate(since + WINDOW + ARBITER_WINDOW);
        resolve(booked, earned);
    }

    /// @dev For either party: the rest, in its window. What was claimed stays.
    function testFuzz_StolenArbiterDividesTheRest(uint256 amount, uint256 claimed, uint256 time, uint256 earned)
        external
    {
        book(amount);
        claimed = claimPart(claimed);
        uint256 since = disputeAt(time);
        vm.warp(bound(time, since + WINDOW, since + WINDOW + ARBITER_WINDOW - 1));
        earned = bound(earned, 0, booked.amount);

        expectEarnedAboveAmount(uint256(booked.amount) + 1, booked.amount);
        resolve(booked, uint256(booked.amount) + 1);
        resolve(booked, earned);

        uint256 most = earned > claimed ? earned : claimed;
        vm.assertEq(earnedByProvider(), most);
        vm.assertEq(refunded(), booked.amount - most);
    }

    /* BOTH KEYS */

    /// @dev For the provider: what the clock showed, then the rest; no more than the two take apart.
    function testFuzz_StolenKeysPayTheProvider(uint256 amount, uint256 since) external {
        book(amount);
        since = disputeAt(since);

        claim(booked, capAt(since), attester);
        vm.assertEq(earnedByProvider(), capAt(since));
        if (capAt(since) == booked.amount) return;
        vm.warp(since + WINDOW);
        resolve(booked, booked.amount);

        vm.assertEq(earnedByProvider(), booked.amount);
        vm.assertEq(refunded(), 0);
    }

    /// @dev For the buyer: as with the arbiter's key alone, since an attester can refund nothing that is disputed.
    function testFuzz_StolenKeysRefundTheBuyer(uint256 amount, uint256 claimed, uint256 since) external {
        book(amount);
        claimed = claimPart(claimed);
        since = disputeAt(since);

        expectNotOpen(booked, State.Disputed);
        settle(booked, 0);
        vm.warp(since + WINDOW);
        resolve(booked, 0);

        vm.assertEq(refunded(), booked.amount - claimed);
        vm.assertEq(earnedByProvider(), claimed);
    }

    /* HELPERS */

    function book(uint256 amount) private {
        booked = terms();
        booked.amount = uint88(bound(amount, 1, type(uint88).max));
        _end = booked.endsAt;
        fund(booked);
    }

    /// @dev By the buyer's receipt, and not all.
    function claimPart(uint256 claimed) private returns (uint256) {
        claimed = bound(claimed, 0, booked.amount - 1);
        claim(booked, claimed, buyer);
        return claimed;
    }

    function disputeAt(uint256 time) private returns (uint256) {
        time = bound(time, booked.startsAt, _end - 1);
        vm.warp(time);
        dispute(booked);
        return time;
    }

    function capAt(uint256 time) private view returns (uint256) {
        if (time <= booked.startsAt) return 0;
        return time < _end ? uint256(booked.amount) * (time - booked.startsAt) / DURATION : booked.amount;
    }

    function earnedByProvider() private view returns (uint256) {
        return balance(provider.addr) + escrow.owed(feeRecipient.addr);
    }

    function refunded() private view returns (uint256) {
        return balance(buyer.addr) + booked.amount - WEALTH;
    }

    function assertEachSkips(uint256 earned) private {
        Completion[] memory completions = new Completion[](1);
        completions[0] = Completion(booked, earned, EVIDENCE);
        uint256 before = remainingOf(booked);

        vm.prank(attester.addr);
        escrow.settleEach(completions, NO_SIGNATURE);

        vm.assertEq(remainingOf(booked), before, "settleEach");
    }

    function assertManySkips() private {
        BookingId[] memory ids = new BookingId[](1);
        ids[0] = idOf(booked);
        uint256 before = remainingOf(booked);

        vm.prank(attester.addr);
        escrow.settleMany(ids, NO_SIGNATURE);

        vm.assertEq(remainingOf(booked), before, "settleMany");
    }
}

contract TokenStolenKeysTest is StolenKeysTest, TokenMarket {}

contract NativeStolenKeysTest is StolenKeysTest, NativeMarket {}
