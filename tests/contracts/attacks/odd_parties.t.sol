// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

import {BookingId, IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {Books} from "../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {TokenSignatures} from "../support/TokenSignatures.sol";
import {vm} from "../support/Vm.sol";

/// @title Parties in two roles, contracts in the place of people, and money that nobody funded
abstract contract OddPartiesTest is BookedTest {
    uint256 private immutable NET = AMOUNT - fee(AMOUNT);

    /* TWO ROLES */

    /// @dev It pays itself, and the fee.
    function test_BuysFromItself() external {
        Terms memory t = terms();
        t.provider = buyer.addr;
        fund(t);
        claim(t, CLAIMED, buyer);
        vm.warp(t.endsAt);

        settle(t, CLAIMED);

        uint256 cost = feeBetween(AMOUNT, AMOUNT - CLAIMED);
        vm.assertEq(balance(buyer.addr), WEALTH - cost);
        vm.assertEq(escrow.owed(feeRecipient.addr), cost);
    }

    /// @dev As the provider it may cancel at any time, as the buyer only before the start.
    function test_CancelsItsOwnBookingAfterTheStart() external {
        Terms memory t = terms();
        t.provider = buyer.addr;
        fund(t);
        vm.warp(t.endsAt + WINDOW);

        cancel(t, buyer.addr);

        vm.assertEq(balance(buyer.addr), WEALTH);
    }

    function test_AttestsItsOwnWork() external {
        redeploy(provider.addr, arbiter.addr, feeRecipient.addr);
        Terms memory t = funded();
        vm.warp(t.endsAt - 1);
        uint256 cap = capAfter(DURATION - 1);

        vm.startPrank(provider.addr);
        expectAheadOfClock(AMOUNT, cap);
        escrow.settle(t, AMOUNT, EVIDENCE, NO_SIGNATURE);
        escrow.settle(t, cap, EVIDENCE, NO_SIGNATURE);
        vm.stopPrank();

        vm.assertEq(balance(provider.addr), cap - feeBetween(AMOUNT, AMOUNT - cap));
    }

    /// @dev The attester's rule comes first: the clock binds its receipts, though the money is its own.
    function test_BuysWhereItAttests() external {
        redeploy(buyer.addr, arbiter.addr, feeRecipient.addr);
        Terms memory t = funded();

        expectAheadOfClock(1, 0);
        claim(t, 1, buyer);
    }

    function test_CollectsFeesFromItself() external {
        redeploy(attester.addr, arbiter.addr, provider.addr);
        Terms memory t = funded();
        vm.warp(t.endsAt);
        settle(t, AMOUNT);
        vm.assertEq(balance(provider.addr), NET);

        escrow.withdraw(provider.addr, provider.addr);

        vm.assertEq(balance(provider.addr), AMOUNT);
    }

    function test_CollectsFeesOnWhatItPays() external {
        redeploy(attester.addr, arbiter.addr, buyer.addr);
        Terms memory t = funded();
        uint256 had = balance(buyer.addr);
        vm.warp(t.endsAt);
        settle(t, CLAIMED);

        escrow.withdraw(buyer.addr, buyer.addr);

        uint256 cost = feeBetween(AMOUNT, AMOUNT - CLAIMED);
        vm.assertEq(balance(buyer.addr), had + AMOUNT - CLAIMED + cost);
        vm.assertEq(balance(address(escrow)), 0);
    }

    /* THE ESCROW AS A PARTY */

    /// @dev The buyer locked its own money away, and nobody else's.
    function test_PaysTheEscrowAsProvider() external {
        Terms memory trapped = terms();
        trapped.provider = address(escrow);
        fund(trapped);
        Terms memory good = funded();
        vm.warp(good.endsAt);
        BookingId[] memory ids = new BookingId[](2);
        (ids[0], ids[1]) = (idOf(trapped), idOf(good));

        vm.prank(attester.addr);
        escrow.settleMany(ids, NO_SIGNATURE);

        vm.assertEq(balance(provider.addr), NET);
        vm.assertEq(escrow.owed(feeRecipient.addr), 2 * fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), NET + 2 * fee(AMOUNT));
        assertTrapped(NET);
    }

    function test_PaysTheEscrowAsFeeRecipient() external {
        address next = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        redeploy(attester.addr, arbiter.addr, next);
        vm.assertEq(address(escrow), next);
        Terms memory t = funded();
        vm.warp(t.endsAt);

        settle(t, AMOUNT);

        vm.assertEq(balance(provider.addr), NET);
        vm.assertEq(escrow.owed(address(escrow)), fee(AMOUNT));
    }

    /// @dev It never calls itself.
    function test_BuysInTheEscrowsName() external {
        Terms memory t = terms();
        t.buyer = address(escrow);

        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotBuyer.selector, stranger.addr, address(escrow))
        );
        vm.prank(stranger.addr);
        escrow.fund(t);
    }

    /* STRAY MONEY */

    function testFuzz_SendsMoneyThatNobodyFunded(uint256 stray) external {
        stray %= WEALTH;
        Terms memory paid = funded();
        Terms memory reclaimed = funded();
        give(address(escrow), stray);
        Books memory before = books();

        vm.warp(paid.endsAt);
        settle(paid, CLAIMED);
        vm.warp(reclaimed.endsAt + WINDOW);
        reclaim(reclaimed);

        uint256 cost = feeBetween(AMOUNT, AMOUNT - CLAIMED);
        assertDivided(before, CLAIMED, cost, 2 * uint256(AMOUNT) - CLAIMED);
        vm.assertEq(balance(address(escrow)), stray + cost);
    }

    /* LEAVING WITHOUT ATTESTER AND ARBITER */

    function testFuzz_AttesterAndArbiterAreGone(uint256 claimed, uint256 disputed_) external {
        booked = funded();
        claimed %= AMOUNT;
        claim(booked, claimed, buyer);
        uint256 until = booked.endsAt + WINDOW;
        if (disputed_ % 2 == 0) {
            until = booked.startsAt + disputed_ % DURATION;
            vm.warp(until);
            dispute(booked);
            until += WINDOW + ARBITER_WINDOW;
        }

        uint256 open = vm.snapshotState();
        cancel(booked, provider.addr);
        assertLeft(claimed);

        vm.revertToState(open);
        vm.warp(until - 1);
        expectTooEarly(until);
        reclaim(booked);
        vm.warp(until);
        reclaim(booked);
        assertLeft(claimed);
    }

    /* HELPERS */

    /// @dev `amount` is in the escrow for good.
    function assertTrapped(uint256 amount) internal virtual;

    function assertLeft(uint256 claimed) private view {
        vm.assertEq(balance(buyer.addr), WEALTH - claimed, "buyer");
        uint256 cost = feeBetween(AMOUNT, AMOUNT - claimed);
        vm.assertEq(balance(provider.addr), claimed - cost, "provider");
        vm.assertEq(balance(address(escrow)), cost, "escrow");
        vm.assertEq(remainingOf(booked), 0, "remaining");
    }
}

contract TokenOddPartiesTest is OddPartiesTest, TokenMarket, TokenSignatures {
    /// @dev It arrived: a donation.
    function assertTrapped(uint256) internal view override {
        vm.assertEq(escrow.owed(address(escrow)), 0);
    }

    /// @dev With the money of others, which it holds.
    function test_SignsInTheEscrowsName() external {
        funded();
        Terms memory t = terms();
        t.buyer = address(escrow);
        bytes memory authorization = signAuthorization(authorizationFor(t), stranger);
        bytes memory transfer = signWitnessTransfer(witnessTransferFor(t, 0), stranger);

        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        tokenEscrow().fundWithAuthorization(t, authorization);
        // Permit2 asks the escrow, which is no wallet.
        vm.expectRevert();
        tokenEscrow().fundWithPermit2(t, 0, transfer);
    }

    function test_PaysTheTokenAsProvider() external {
        Terms memory t = terms();
        t.provider = address(dollar);
        fund(t);
        vm.warp(t.endsAt);

        settle(t, AMOUNT);

        vm.assertEq(balance(address(dollar)), AMOUNT - fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), fee(AMOUNT));
    }
}

contract NativeOddPartiesTest is OddPartiesTest, NativeMarket {
    /// @dev It was refused, and nobody can withdraw it.
    function assertTrapped(uint256 amount) internal override {
        vm.assertEq(escrow.owed(address(escrow)), amount);

        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_TransferFailed.selector, address(escrow), amount));
        escrow.withdraw(address(escrow), address(escrow));
    }

    function test_FundsWithStrayMoney() external {
        give(address(escrow), AMOUNT);
        Terms memory t = terms();

        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_WrongValue.selector, 0, AMOUNT));
        vm.prank(buyer.addr);
        escrow.fund(t);
    }

    /// @dev Plain transfers are refused: only force brings coin in outside the verbs.
    function test_SendsCoinOutsideTheVerbs() external {
        vm.deal(stranger.addr, 1);
        vm.prank(stranger.addr);
        // solhint-disable-next-line avoid-low-level-calls
        (bool ok,) = address(escrow).call{value: 1}("");

        vm.assertFalse(ok);
    }
}
