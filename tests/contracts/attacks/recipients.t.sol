// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {Books} from "../support/EscrowTest.sol";
import {vm} from "../support/Vm.sol";
import {NativeWallets, TokenWallets, WalletTest} from "../support/WalletTest.sol";

/// @title Recipients that cannot or will not be paid: nobody else is held up
abstract contract RecipientsTest is WalletTest, BookedTest {
    enum Way {
        Rejects,
        BurnsGas,
        ReturnsABomb,
        IsDenied
    }

    uint256 private constant EARNED = 500_000;
    /// @dev The fee on `EARNED`.
    uint256 private immutable COST = feeBetween(AMOUNT, AMOUNT - EARNED);
    uint256 private immutable NET = AMOUNT - fee(AMOUNT);

    function fixtureWay() external pure virtual returns (Way[] memory);

    /// @dev From now on the wallet cannot be paid.
    function spoil(Way way) internal {
        if (way == Way.Rejects) wallet.setMood(HostileWallet.Mood.Reject);
        if (way == Way.BurnsGas) wallet.setMood(HostileWallet.Mood.BurnGas);
        if (way == Way.ReturnsABomb) wallet.setMood(HostileWallet.Mood.ReturnBomb);
        if (way == Way.IsDenied) deny(address(wallet));
    }

    function deny(address who) internal virtual;

    /* ONE PAYMENT */

    function table_RefusesItsPayout(Way way) external {
        Terms memory t = fundedForWallet();
        spoil(way);
        vm.warp(t.endsAt);
        Books memory before = books();

        vm.expectEmit(address(escrow));
        emit IEscrow.Settled(idOf(t), EARNED - COST, COST, AMOUNT - EARNED, EVIDENCE);
        expectPayoutDeferred(EARNED - COST);
        settle(t, EARNED);

        assertRefundedOnly(before, AMOUNT - EARNED);
        assertDeleted(t);
        assertOwed(EARNED - COST);
    }

    function table_RefusesItsRefund(Way way) external {
        Terms memory t = fundedByWallet();
        uint256 had = balance(address(wallet));
        spoil(way);
        vm.warp(t.endsAt);
        Books memory before = books();

        vm.expectEmit(address(escrow));
        emit IEscrow.Settled(idOf(t), EARNED - COST, COST, AMOUNT - EARNED, EVIDENCE);
        expectRefundDeferred(AMOUNT - EARNED);
        settle(t, EARNED);

        assertDivided(before, EARNED, COST, 0);
        assertDeleted(t);
        assertOwed(AMOUNT - EARNED);
        vm.assertEq(balance(address(wallet)), had);
    }

    /// @dev Provider and buyer at once: both of its payments fail, and add up.
    function table_RefusesBothPayments(Way way) external {
        endow(address(wallet));
        Terms memory t = terms();
        (t.buyer, t.provider) = (address(wallet), address(wallet));
        fund(t);
        spoil(way);
        vm.warp(t.endsAt);

        settle(t, EARNED);

        assertOwed(AMOUNT - COST);
    }

    function table_RefusesTwoClaims(Way way) external {
        Terms memory t = fundedForWallet();
        spoil(way);

        expectPayoutDeferred(EARNED - COST);
        claim(t, EARNED, buyer);
        assertOwed(EARNED - COST);
        expectPayoutDeferred(NET - EARNED + COST);
        claim(t, AMOUNT, buyer);

        assertOwed(NET);
        vm.assertEq(escrow.owed(feeRecipient.addr), fee(AMOUNT));
    }

    function table_RefusesWhatACancelAReclaimAndAResolutionRefund(Way way) external {
        Terms memory cancelled = fundedByWallet();
        Terms memory reclaimed = fundedByWallet();
        Terms memory resolved = fundedByWallet();
        spoil(way);

        expectRefundDeferred(AMOUNT);
        cancel(cancelled, provider.addr);
        assertOwed(AMOUNT);
        vm.warp(resolved.startsAt);
        dispute(resolved);
        vm.warp(resolved.startsAt + WINDOW);
        expectRefundDeferred(AMOUNT - EARNED);
        resolve(resolved, EARNED);
        assertOwed(2 * uint256(AMOUNT) - EARNED);
        vm.warp(reclaimed.endsAt + WINDOW);
        expectRefundDeferred(AMOUNT);
        reclaim(reclaimed);

        assertOwed(3 * uint256(AMOUNT) - EARNED);
        vm.assertEq(balance(provider.addr), EARNED - COST);
    }

    function table_RefusesWhatAResolutionPays(Way way) external {
        Terms memory t = fundedForWallet();
        spoil(way);
        vm.warp(t.startsAt);
        dispute(t);
        vm.warp(t.startsAt + WINDOW);
        Books memory before = books();

        expectPayoutDeferred(EARNED - COST);
        resolve(t, EARNED);

        assertRefundedOnly(before, AMOUNT - EARNED);
        assertOwed(EARNED - COST);
    }

    /* BATCHES */

    function table_RefusesInABatch(Way way) external {
        Terms memory first = funded();
        Terms memory bad = fundedForWallet();
        Terms memory last = otherTerms();
        fund(last);
        spoil(way);
        vm.warp(last.endsAt);
        BookingId[] memory ids = new BookingId[](3);
        (ids[0], ids[1], ids[2]) = (idOf(first), idOf(bad), idOf(last));

        expectPayoutDeferred(NET);
        vm.prank(attester.addr);
        escrow.settleMany(ids, NO_SIGNATURE);

        vm.assertEq(balance(provider.addr), NET, "first");
        assertOwed(NET);
        vm.assertEq(balance(otherProvider.addr), NET, "last");
        vm.assertEq(escrow.owed(feeRecipient.addr), 3 * fee(AMOUNT), "fees");
        vm.assertEq(balance(address(escrow)), NET + 3 * fee(AMOUNT), "escrow");
    }

    function table_RefusesAtTheEndOfABatch(Way way) external {
        Terms memory first = funded();
        Terms memory bad = fundedForWallet();
        spoil(way);
        vm.warp(bad.endsAt);
        BookingId[] memory ids = new BookingId[](2);
        (ids[0], ids[1]) = (idOf(first), idOf(bad));

        expectPayoutDeferred(NET);
        vm.prank(attester.addr);
        escrow.settleMany(ids, NO_SIGNATURE);

        vm.assertEq(balance(provider.addr), NET);
        assertOwed(NET);
    }

    function table_RefusesInABatchOfCompletions(Way way) external {
        Completion[] memory completions = new Completion[](3);
        completions[0] = Completion(fundedForWallet(), AMOUNT, EVIDENCE);
        completions[1] = Completion(fundedByWallet(), EARNED, EVIDENCE);
        completions[2] = Completion(otherTerms(), EARNED, EVIDENCE);
        fund(completions[2].terms);
        spoil(way);
        vm.warp(completions[2].terms.endsAt);
        uint256 had = balance(otherBuyer.addr);

        expectPayoutDeferred(NET);
        expectRefundDeferred(AMOUNT - EARNED);
        vm.prank(attester.addr);
        escrow.settleEach(completions, NO_SIGNATURE);

        vm.assertEq(balance(provider.addr), EARNED - COST, "the provider of the second");
        assertOwed(NET + AMOUNT - EARNED);
        vm.assertEq(balance(otherProvider.addr), EARNED - COST, "the provider of the last");
        vm.assertEq(balance(otherBuyer.addr), had + AMOUNT - EARNED, "the buyer of the last");
        vm.assertEq(escrow.owed(feeRecipient.addr), fee(AMOUNT) + 2 * COST, "fees");
    }

    /* FEES */

    function table_RefusesFees(Way way) external {
        redeploy(attester.addr, arbiter.addr, address(wallet));
        Terms memory t = funded();
        spoil(way);
        vm.warp(t.endsAt);

        settle(t, AMOUNT);

        vm.assertEq(balance(provider.addr), NET);
        assertOwed(fee(AMOUNT));
    }

    /* WITHDRAWING */

    function table_WithdrawsToAnotherAddress(Way way) external {
        owe(way);

        vm.expectEmit(address(escrow));
        emit IEscrow.Withdrawn(address(wallet), stranger.addr, NET);
        vm.prank(address(wallet));
        escrow.withdraw(address(wallet), stranger.addr);

        vm.assertEq(balance(stranger.addr), NET);
        assertOwed(0);
    }

    function table_StillRefusesWhatItWithdraws(Way way) external {
        owe(way);

        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_TransferFailed.selector, address(wallet), NET));
        escrow.withdraw(address(wallet), address(wallet));

        assertOwed(NET);
    }

    function test_IsPaidLaterByAnyone() external {
        owe(Way.Rejects);
        wallet.setMood(HostileWallet.Mood.Accept);

        vm.prank(stranger.addr);
        escrow.withdraw(address(wallet), address(wallet));

        vm.assertEq(balance(address(wallet)), NET);
        assertOwed(0);
    }

    function test_StealsWhatAnotherIsOwed() external {
        owe(Way.Rejects);

        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotAccount.selector, stranger.addr, address(wallet))
        );
        vm.prank(stranger.addr);
        escrow.withdraw(address(wallet), stranger.addr);
    }

    /* HELPERS */

    /// @dev Leaves `NET` owed to the wallet.
    function owe(Way way) private {
        Terms memory t = fundedForWallet();
        spoil(way);
        claim(t, AMOUNT, buyer);
    }

    function expectPayoutDeferred(uint256 amount) private {
        vm.expectEmit(address(escrow));
        emit IEscrow.PayoutDeferred(address(wallet), amount);
    }

    function expectRefundDeferred(uint256 amount) private {
        vm.expectEmit(address(escrow));
        emit IEscrow.RefundDeferred(address(wallet), amount);
    }

    function assertOwed(uint256 amount) private view {
        vm.assertEq(escrow.owed(address(wallet)), amount, "owed");
    }

    /// @dev The rest of what was earned stayed in the escrow.
    function assertRefundedOnly(Books memory before, uint256 refunded) private view {
        Books memory now_ = books();
        vm.assertEq(now_.buyer, before.buyer + refunded, "buyer");
        vm.assertEq(now_.escrow, before.escrow - refunded, "escrow");
        vm.assertEq(now_.fees, before.fees + COST, "fees");
        vm.assertEq(balance(address(wallet)), 0, "wallet");
    }
}

contract TokenRecipientsTest is RecipientsTest, TokenWallets {
    function fixtureWay() external pure override returns (Way[] memory ways) {
        ways = new Way[](4);
        (ways[0], ways[1], ways[2], ways[3]) = (Way.Rejects, Way.BurnsGas, Way.ReturnsABomb, Way.IsDenied);
    }

    function deny(address who) internal override {
        hookedDollar.deny(who);
    }
}

contract NativeRecipientsTest is RecipientsTest, NativeWallets {
    function fixtureWay() external pure override returns (Way[] memory ways) {
        ways = new Way[](3);
        (ways[0], ways[1], ways[2]) = (Way.Rejects, Way.BurnsGas, Way.ReturnsABomb);
    }

    function deny(address) internal pure override {
        revert("the chain's own coin denies nobody");
    }
}
