// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Books} from "../support/EscrowTest.sol";
import {bound} from "../support/Fuzz.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";
import {FuzzTest, Shape} from "./FuzzTest.sol";

/// @title Any division of any booking is exact
abstract contract DivisionTest is FuzzTest {
    function testFuzz_Settle(Shape calldata shape, uint256 part, uint256 time, uint256 statement) external {
        Terms memory t = book(shape);
        uint256 claimed = claimPart(t, part);
        if (claimed == t.amount) return;
        Books memory before = books();
        vm.warp(bound(time, block.timestamp, t.endsAt + WINDOW - 1));
        uint256 earned = bound(statement, 0, capOf(t, block.timestamp));

        settle(t, earned);

        assertRestDivided(t, before, claimed, earned);
    }

    function testFuzz_Resolve(Shape calldata shape, uint256 part, uint256 since, uint256 time, uint256 statement)
        external
    {
        Terms memory t = book(shape);
        uint256 claimed = claimPart(t, part);
        if (claimed == t.amount) return;
        Books memory before = books();
        vm.warp(bound(since, t.startsAt, t.endsAt - 1));
        dispute(t);
        vm.warp(bound(time, block.timestamp + WINDOW, block.timestamp + WINDOW + ARBITER_WINDOW - 1));
        uint256 earned = bound(statement, 0, t.amount);

        resolve(t, earned);

        assertRestDivided(t, before, claimed, earned);
    }

    /// @dev Of the provider, at any time, or of whoever may reclaim.
    function testFuzz_Refund(Shape calldata shape, uint256 part, uint256 time) external {
        Terms memory t = book(shape);
        uint256 claimed = claimPart(t, part);
        if (claimed == t.amount) return;
        Books memory before = books();
        vm.warp(bound(time, block.timestamp, t.endsAt + 2 * WINDOW));

        if (block.timestamp < t.endsAt + WINDOW) cancel(t, provider.addr);
        else reclaim(t);

        assertRestDivided(t, before, claimed, claimed);
    }

    /// @dev All that came in has gone out, and what the provider has is what was earned, but for the fee.
    function assertRestDivided(Terms memory t, Books memory before, uint256 claimed, uint256 earned) private view {
        uint256 final_ = earned > claimed ? earned : claimed;
        uint256 cost = fee(t.amount - claimed) - fee(t.amount - final_);
        assertDivided(before, final_ - claimed, cost, t.amount - final_);
        vm.assertEq(balance(address(escrow)), escrow.owed(feeRecipient.addr), "nothing but fees stays");
        vm.assertEq(remainingOf(t), 0);
    }
}

contract TokenDivisionTest is DivisionTest, TokenMarket {}

contract NativeDivisionTest is DivisionTest, NativeMarket {}
