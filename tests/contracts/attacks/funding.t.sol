// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Books} from "../support/EscrowTest.sol";
import {ByAuthorization, ByFund, ByFundMany, ByPermit, ByPermit2, Call, Funding} from "../support/Funding.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {Permit2} from "../support/Permit2.sol";
import {vm} from "../support/Vm.sol";

/// @title Attackers who fund, by each way, what is not theirs to fund or with what is not theirs
abstract contract FundingAttackTest is Funding {
    uint256 private constant STRAY = 5 * uint256(AMOUNT);
    uint256 private constant EARNED = 400_001;

    /// @dev Neither its own money and signature nor the buyer's leave to the escrow let a stranger choose for it.
    function test_FundsInAnothersName() external {
        endow(stranger.addr);
        allowAll();
        Terms memory t = terms();
        Books memory before = books();
        (bool ok,) = trySend(funding(t, stranger));

        vm.assertFalse(ok);
        assertUntouched(t, before);
    }

    /// @dev Money that was sent or forced into the escrow pays for no booking.
    function test_PaysWithWhatTheEscrowHas() external {
        give(address(escrow), STRAY);
        send(funding(terms()));
        Terms memory t = terms();
        Call memory call_ = funding(t);
        impoverish();
        Books memory before = books();
        call_.value = 0;
        (bool ok,) = trySend(call_);

        vm.assertFalse(ok);
        assertUntouched(t, before);
    }

    /// @dev Nor does it change anybody's share.
    function test_LeavesStrayMoneyInTheEscrow() external {
        give(address(escrow), STRAY);
        Terms memory t = terms();
        assertFunds(funding(t), t);
        vm.warp(t.endsAt);
        Books memory before = books();
        settle(t, EARNED);

        uint256 cost = fee(AMOUNT) - fee(AMOUNT - EARNED);
        assertDivided(before, EARNED, cost, AMOUNT - EARNED);
        vm.assertEq(balance(address(escrow)), STRAY + cost);
    }

    function test_ReplaysAFundingWhileTheBookingIsOpen() external {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        send(call_);

        assertAlreadyFunded(call_, t);
    }

    function test_ReplaysAFundingAfterTheBookingWasCancelled() external {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        send(call_);
        cancel(t, buyer.addr);

        assertAlreadyFunded(call_, t);
    }

    function test_ReplaysAFundingAfterTheSlotWasDeleted() external {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        send(call_);
        vm.warp(t.startsAt);
        cancel(t, provider.addr);
        assertDeleted(t);

        assertRefused(call_, abi.encodeWithSelector(IEscrow.Escrow_FundingClosed.selector, block.timestamp, t.fundBy));
    }

    /// @dev A salt is no key: two bookings that share it are two.
    function test_UsesASaltTwice() external {
        Terms memory first = terms();
        Terms memory second = otherwiseEqual(first);
        second.provider = otherProvider.addr;
        assertFunds(funding(first), first);
        assertFunds(funding(second), second);

        vm.prank(provider.addr);
        escrow.cancel(first);
        assertOpen(second);
    }

    /// @dev Beforehand, by another way: the booking is the same, and is paid once.
    function test_FundsTheSameTermsByAnotherWay() external {
        allowAll();
        Terms memory t = terms();
        Call memory call_ = funding(t);
        fund(t);
        Books memory before = books();

        assertAlreadyFunded(call_, t);
        assertLocked(before, 0);
    }

    /// @dev The buyer lets the escrow and Permit2 take all its tokens.
    function allowAll() private {
        address token = escrow.token();
        if (token == address(0)) return;

        vm.startPrank(buyer.addr);
        IERC20(token).approve(address(escrow), type(uint256).max);
        IERC20(token).approve(Permit2.ADDRESS, type(uint256).max);
        vm.stopPrank();
    }

    /// @dev The buyer gives all its tokens away.
    function impoverish() private {
        address token = escrow.token();
        if (token == address(0)) return;

        uint256 all = balance(buyer.addr);
        vm.prank(buyer.addr);
        IERC20(token).transfer(otherProvider.addr, all);
    }

    function otherwiseEqual(Terms memory t) private pure returns (Terms memory) {
        return abi.decode(abi.encode(t), (Terms));
    }

    function assertAlreadyFunded(Call memory call_, Terms memory t) private {
        assertRefused(call_, abi.encodeWithSelector(IEscrow.Escrow_AlreadyFunded.selector, idOf(t)));
    }

    function assertUntouched(Terms memory t, Books memory before) private view {
        assertLocked(before, 0);
        assertDeleted(t);
    }
}

contract NativeFundAttackTest is FundingAttackTest, ByFund, NativeMarket {}

contract NativeFundManyAttackTest is FundingAttackTest, ByFundMany, NativeMarket {}

contract TokenFundAttackTest is FundingAttackTest, ByFund, TokenMarket {}

contract TokenFundManyAttackTest is FundingAttackTest, ByFundMany, TokenMarket {}

contract PermitAttackTest is FundingAttackTest, ByPermit {}

contract AuthorizationAttackTest is FundingAttackTest, ByAuthorization {}

contract Permit2AttackTest is FundingAttackTest, ByPermit2 {}
