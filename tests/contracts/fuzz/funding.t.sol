// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {ITokenEscrow} from "../../../contracts/interfaces/ITokenEscrow.sol";
import {ByAuthorization, ByFund, ByFundMany, ByPermit, ByPermit2, Funding} from "../support/Funding.sol";
import {Books} from "../support/EscrowTest.sol";
import {bound} from "../support/Fuzz.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title Every way to fund any terms leads to the same
abstract contract FundingFuzzTest is Funding {
    function testFuzz_TheSlotAndTheMoney(Terms memory t, uint256 time) external {
        time = bound(time, 1, type(uint32).max - 3);
        t.buyer = buyer.addr;
        t.amount = uint88(bound(t.amount, 1, type(uint88).max));
        t.fundBy = uint32(bound(t.fundBy, time + 1, type(uint32).max - 1));
        t.startsAt = uint32(bound(t.startsAt, t.fundBy, type(uint32).max - 1));
        t.endsAt = uint32(bound(t.endsAt, uint256(t.startsAt) + 1, type(uint32).max));
        vm.assume(t.provider != address(0));
        vm.warp(time);
        Books memory before = books();

        send(funding(t, buyer));

        assertLocked(before, t.amount);
        assertOpen(t);
        vm.assertEq(escrow.disputedAt(idOf(t)), 0);
    }
}

contract TokenFundFuzzTest is FundingFuzzTest, ByFund, TokenMarket {}

contract NativeFundFuzzTest is FundingFuzzTest, ByFund, NativeMarket {}

contract TokenFundManyFuzzTest is FundingFuzzTest, ByFundMany, TokenMarket {}

contract NativeFundManyFuzzTest is FundingFuzzTest, ByFundMany, NativeMarket {}

contract PermitFuzzTest is FundingFuzzTest, ByPermit {}

contract AuthorizationFuzzTest is FundingFuzzTest, ByAuthorization {}

contract Permit2FuzzTest is FundingFuzzTest, ByPermit2 {}
