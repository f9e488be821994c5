// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {bound} from "../support/Fuzz.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";
import {FuzzTest, Shape, Totals} from "./FuzzTest.sol";

/// @title A batch does what its verb does for each item, and skips what that would refuse
abstract contract BatchesTest is FuzzTest {
    uint256 private constant SIZE = 3;

    function testFuzz_SettleManyIsSettleForEach(Shape[SIZE] calldata shapes, uint256 time) external {
        Terms[] memory one = new Terms[](SIZE);
        BookingId[] memory ids = new BookingId[](SIZE);
        for (uint256 i; i < SIZE; ++i) {
            one[i] = book(shapes[i]);
            ids[i] = idOf(bookTwin(one[i]));
        }
        vm.warp(bound(time, block.timestamp, block.timestamp + 2 * YEAR + 2 * WINDOW));
        Totals memory before = totals();
        for (uint256 i; i < SIZE; ++i) {
            if (one[i].endsAt <= block.timestamp && block.timestamp < one[i].endsAt + WINDOW) {
                settle(one[i], one[i].amount);
            }
        }
        Totals memory middle = totals();

        vm.prank(attester.addr);
        escrow.settleMany(ids, NO_SIGNATURE);

        assertSameChange(before, middle);
        for (uint256 i; i < SIZE; ++i) {
            (,, State state) = escrow.booking(ids[i]);
            vm.assertTrue(state == stateOf(one[i]), "state");
        }
    }

    function testFuzz_SettleEachIsSettleForEach(
        Shape[SIZE] calldata shapes,
        uint256[SIZE] calldata parts,
        uint256[SIZE] calldata statements,
        uint256 time
    ) external {
        Completion[] memory one = new Completion[](SIZE);
        Completion[] memory each = new Completion[](SIZE);
        for (uint256 i; i < SIZE; ++i) {
            Terms memory t = book(shapes[i]);
            uint256 earned = bound(statements[i], 0, t.amount);
            one[i] = Completion(t, earned, EVIDENCE);
            each[i] = Completion(bookTwin(t), earned, EVIDENCE);
            uint256 claimed = claimPart(t, parts[i]);
            claim(each[i].terms, claimed, buyer);
        }
        vm.warp(bound(time, block.timestamp, block.timestamp + 2 * YEAR + 2 * WINDOW));
        Totals memory before = totals();
        for (uint256 i; i < SIZE; ++i) {
            vm.prank(attester.addr);
            try escrow.settle(one[i].terms, one[i].earned, EVIDENCE, NO_SIGNATURE) {} catch {}
        }
        Totals memory middle = totals();

        vm.prank(attester.addr);
        escrow.settleEach(each, NO_SIGNATURE);

        assertSameChange(before, middle);
        for (uint256 i; i < SIZE; ++i) {
            vm.assertEq(remainingOf(each[i].terms), remainingOf(one[i].terms), "remaining");
            vm.assertTrue(stateOf(each[i].terms) == stateOf(one[i].terms), "state");
        }
    }
}

contract TokenBatchesTest is BatchesTest, TokenMarket {}

contract NativeBatchesTest is BatchesTest, NativeMarket {}
