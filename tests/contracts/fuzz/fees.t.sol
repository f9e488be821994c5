// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {bound} from "../support/Fuzz.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";
import {FuzzTest, Shape} from "./FuzzTest.sol";

/// @title The fee on a booking depends on what was earned in all, and on nothing else
abstract contract FeesTest is FuzzTest {
    function testFuzz_AnySplitCostsTheSame(Shape calldata shape, uint256 feeBps, uint256[4] calldata parts, bool closed)
        external
    {
        feeBps = bound(feeBps, 0, 1_000);
        escrow = deploy(attester.addr, arbiter.addr, feeBps, feeRecipient.addr, WINDOW);
        seed = escrow.seed();
        endow(buyer.addr);
        Terms memory t = book(shape);
        vm.warp(t.endsAt);

        uint256 most;
        for (uint256 i; i < parts.length && most < t.amount; ++i) {
            uint256 earned = bound(parts[i], 0, t.amount);
            claim(t, earned, attester);
            if (earned > most) most = earned;
        }
        if (closed && most < t.amount) settle(t, most);

        uint256 cost = t.amount * feeBps / 10_000 - (t.amount - most) * feeBps / 10_000;
        vm.assertEq(escrow.owed(feeRecipient.addr), cost, "fee");
        vm.assertEq(balance(provider.addr), most - cost, "provider");
    }
}

contract TokenFeesTest is FeesTest, TokenMarket {}

contract NativeFeesTest is FeesTest, NativeMarket {}
