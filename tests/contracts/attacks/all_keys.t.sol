// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title A thief of the attester's, the arbiter's and the fee recipient's keys, with any party for a friend
/// @dev Whatever it sends, a booking's money stays with the booking's own two parties, the fee apart.
abstract contract AllKeysTest is BookedTest {
    uint256 private constant STEPS = 12;

    Terms private _other;

    function testFuzz_ThiefOfAllKeysSendsAnything(uint256 random) external {
        booked = funded();
        _other = otherTerms();
        fund(_other);
        uint256 time = BEGIN;

        for (uint256 i; i < STEPS; ++i) {
            random = uint256(keccak256(abi.encode(random)));
            if (random % 3 == 0) time += jump(random >> 16);
            vm.warp(time);
            act(random >> 8, random & (1 << 255) == 0 ? booked : _other);
        }

        uint256 fees = assertShared(booked, buyer.addr, provider.addr);
        fees += assertShared(_other, otherBuyer.addr, otherProvider.addr);
        assertNothingLeaked(fees);
    }

    /* WHAT IS SENT */

    /// @dev To the next deadline, a second beside it, or anywhere.
    function jump(uint256 random) private pure returns (uint256) {
        uint256[6] memory steps = [1_000, 999, DURATION / 2, WINDOW, ARBITER_WINDOW, random % 3_000];
        return steps[(random >> 16) % steps.length];
    }

    /// @dev Most is refused: what matters is what is not.
    function act(uint256 random, Terms memory t) private {
        uint256 earned = (random >> 16) % (uint256(AMOUNT) + 2);
        bytes memory data = encode(random % 9, t, earned);
        address[5] memory senders = [attester.addr, arbiter.addr, feeRecipient.addr, t.buyer, stranger.addr];
        for (uint256 i; i < senders.length; ++i) {
            vm.prank(senders[i]);
            // solhint-disable-next-line avoid-low-level-calls
            (bool ok,) = address(escrow).call(data);
            if (ok) return;
        }
    }

    function encode(uint256 verb, Terms memory t, uint256 earned) private view returns (bytes memory) {
        if (verb == 0) return abi.encodeCall(IEscrow.claim, (t, earned, signReceipt(t, earned, attester)));
        if (verb == 1) {
            return abi.encodeCall(IEscrow.settle, (t, earned, EVIDENCE, signCompletion(t, earned, attester)));
        }
        if (verb == 2) return encodeMany();
        if (verb == 3) return encodeEach(earned);
        if (verb == 4) return abi.encodeCall(IEscrow.cancel, (t));
        if (verb == 5) return abi.encodeCall(IEscrow.dispute, (t));
        if (verb == 6) return abi.encodeCall(IEscrow.resolve, (t, earned));
        if (verb == 7) return abi.encodeCall(IEscrow.reclaim, (t));
        return abi.encodeCall(IEscrow.withdraw, (feeRecipient.addr, feeRecipient.addr));
    }

    function encodeMany() private view returns (bytes memory) {
        BookingId[] memory ids = new BookingId[](3);
        (ids[0], ids[1], ids[2]) = (idOf(booked), idOf(_other), idOf(booked));
        return abi.encodeCall(IEscrow.settleMany, (ids, signMany(ids, attester)));
    }

    function encodeEach(uint256 earned) private view returns (bytes memory) {
        Completion[] memory list = new Completion[](3);
        list[0] = Completion(booked, earned, EVIDENCE);
        (list[1], list[2]) = (Completion(_other, earned / 2, EVIDENCE), list[0]);
        return abi.encodeCall(IEscrow.settleEach, (list, signEach(list, attester)));
    }

    /* WHERE THE MONEY IS */

    /// @return cost The fee on what the provider earned.
    function assertShared(Terms memory t, address buyer_, address provider_) private view returns (uint256 cost) {
        uint256 notEarned = balance(buyer_) + AMOUNT - WEALTH + remainingOf(t);
        cost = feeBetween(AMOUNT, notEarned);
        vm.assertEq(balance(provider_), AMOUNT - notEarned - cost, "the provider has the rest, less the fee");
    }

    function assertNothingLeaked(uint256 fees) private view {
        vm.assertEq(balance(feeRecipient.addr) + escrow.owed(feeRecipient.addr), fees, "fees");
        vm.assertEq(balance(attester.addr) + balance(arbiter.addr) + balance(stranger.addr), 0, "thief");
        uint256 held = remainingOf(booked) + remainingOf(_other) + escrow.owed(feeRecipient.addr);
        vm.assertEq(balance(address(escrow)), held, "escrow");
    }

    /* WHAT RECEIPTS ARE WORTH */

    function test_BuyerCancelsBeforeItsReceiptIsClaimed() external {
        booked = funded();
        bytes memory signature = signReceipt(booked, AMOUNT, buyer);

        cancel(booked, buyer.addr);

        expectNotOpen(booked, State.Closed);
        escrow.claim(booked, AMOUNT, signature);
    }

    function test_BuyerCancelsAfterItsReceiptIsClaimed() external {
        booked = funded();
        claim(booked, CLAIMED, buyer);

        cancel(booked, buyer.addr);

        vm.assertEq(balance(provider.addr), CLAIMED - feeBetween(AMOUNT, AMOUNT - CLAIMED));
        vm.assertEq(balance(buyer.addr), WEALTH - CLAIMED);
    }

    function test_AttesterOverridesAnUnclaimedReceipt() external {
        booked = funded();
        vm.warp(booked.endsAt);
        bytes memory signature = signReceipt(booked, AMOUNT, attester);

        settle(booked, CLAIMED);

        expectNotOpen(booked, State.None);
        escrow.claim(booked, AMOUNT, signature);
        vm.assertEq(balance(provider.addr), CLAIMED - feeBetween(AMOUNT, AMOUNT - CLAIMED));
    }

    function test_AttesterOverridesAClaimedReceipt() external {
        booked = funded();
        vm.warp(booked.endsAt);
        claim(booked, CLAIMED, attester);

        settle(booked, CLAIMED - 1);

        vm.assertEq(balance(provider.addr), CLAIMED - feeBetween(AMOUNT, AMOUNT - CLAIMED));
        vm.assertEq(balance(buyer.addr), WEALTH - CLAIMED);
    }

    /* JUDGES IN THEIR OWN CASE */

    /// @dev As with a stolen attester's key: the clock binds it.
    function test_ProviderAttestsForItself() external {
        redeploy(provider.addr, arbiter.addr, feeRecipient.addr);
        booked = funded();
        vm.warp(booked.startsAt + 1);

        expectAheadOfClock(capAfter(1) + 1, capAfter(1));
        claim(booked, capAfter(1) + 1, provider);
        claim(booked, capAfter(1), provider);

        vm.assertEq(remainingOf(booked), AMOUNT - capAfter(1));
    }

    /// @dev As with a stolen arbiter's key: what the provider claims before the window stays.
    function test_BuyerArbitratesForItself() external {
        redeploy(attester.addr, buyer.addr, feeRecipient.addr);
        booked = disputed();
        uint256 from = booked.startsAt + DURATION / 2 + WINDOW;
        uint256 had = balance(buyer.addr);
        claim(booked, CLAIMED, attester);

        vm.prank(buyer.addr);
        expectTooEarly(from);
        escrow.resolve(booked, 0);
        vm.warp(from);
        vm.prank(buyer.addr);
        escrow.resolve(booked, 0);

        vm.assertEq(balance(buyer.addr), had + AMOUNT - CLAIMED);
        vm.assertEq(balance(provider.addr), CLAIMED - feeBetween(AMOUNT, AMOUNT - CLAIMED));
    }
}

contract TokenAllKeysTest is AllKeysTest, TokenMarket {}

contract NativeAllKeysTest is AllKeysTest, NativeMarket {}
