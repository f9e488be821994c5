// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {bound} from "../support/Fuzz.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";
import {FuzzTest, Shape} from "./FuzzTest.sol";

/// @title The clock, as what the escrow says when a statement is ahead of it
abstract contract ClockTest is FuzzTest {
    uint256 private constant TOO_MUCH = type(uint256).max;

    function testFuzz_ItIsExactMonotoneAndBounded(Shape calldata shape, uint256 earlier, uint256 later) external {
        Terms memory t = book(shape);
        uint256 last = t.endsAt + WINDOW - 1;
        earlier = bound(earlier, block.timestamp, last);
        later = bound(later, earlier, last);

        uint256 first = capAt(t, earlier);
        uint256 second = capAt(t, later);

        vm.assertEq(first, capOf(t, earlier), "earlier");
        vm.assertEq(second, capOf(t, later), "later");
        vm.assertLe(first, second, "monotone");
        vm.assertLe(second, t.amount, "bounded");
    }

    /// @dev For claims it goes no further; nothing else may be attested then.
    function testFuzz_ADisputeStopsIt(Shape calldata shape, uint256 since, uint256 later) external {
        Terms memory t = book(shape);
        vm.warp(bound(since, t.startsAt, t.endsAt - 1));
        uint256 stopped = block.timestamp;
        dispute(t);

        vm.assertEq(capAt(t, bound(later, stopped, stopped + WINDOW - 1)), capOf(t, stopped));
    }

    /// @dev The most that the attester may state, from the error with which a claim is refused.
    function capAt(Terms memory t, uint256 time) private returns (uint256 cap) {
        vm.warp(time);
        bytes memory signature = signReceipt(t, TOO_MUCH, attester);
        try escrow.claim(t, TOO_MUCH, signature) {
            revert("not refused");
        } catch (bytes memory reason) {
            vm.assertEq(bytes32(bytes4(reason)), bytes32(IEscrow.Escrow_AheadOfClock.selector));
            assembly ("memory-safe") {
                cap := mload(add(reason, 0x44))
            }
        }
    }
}

contract TokenClockTest is ClockTest, TokenMarket {}

contract NativeClockTest is ClockTest, NativeMarket {}
