// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {Books} from "../../support/EscrowTest.sol";
import {ByAuthorization, ByFund, ByFundMany, ByPermit, ByPermit2, Call, Funding} from "../../support/Funding.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

/// @dev What every way to fund requires and does.
abstract contract FundingTest is Funding {
    function test_RevertWhen_TheAmountIsZero() external {
        Terms memory t = terms();
        t.amount = 0;

        // it should revert
        assertRefused(funding(t), abi.encodeWithSelector(IEscrow.Escrow_AmountIsZero.selector));
    }

    function test_WhenTheAmountIsOne() external {
        Terms memory t = terms();
        t.amount = 1;

        // it should lock it
        assertLocks(t);
    }

    function test_WhenTheAmountIsTheLargestThereIs() external {
        Terms memory t = terms();
        t.amount = type(uint88).max;

        // it should lock it
        assertLocks(t);
    }

    function test_RevertWhen_ATermHasABitBeyondItsType() external {
        Call memory clean = funding(terms());
        uint256 offset = bytes4(clean.data) == IEscrow.fundMany.selector ? 4 + 2 * 32 : 4;
        uint8[8] memory bits = [160, 160, 88, 32, 32, 32, 0, 64];

        for (uint256 i; i < bits.length; ++i) {
            if (bits[i] == 0) continue;
            Call memory dirty = Call(clean.sender, clean.value, abi.encodePacked(clean.data));
            uint256 place = offset + 32 * i + 31 - bits[i] / 8;
            dirty.data[place] = dirty.data[place] | 0x01;

            // it should revert
            assertRefused(dirty, "");
        }
    }

    function test_RevertWhen_MoreCoinIsSentThanIsDue() external {
        Call memory call_ = funding(terms());
        uint256 due = call_.value;
        call_.value = due + 1;
        vm.deal(call_.sender, call_.sender.balance + 1);

        // it should revert
        assertRefused(call_, overpaid(bytes4(call_.data), due));
    }

    function test_RevertWhen_TheProviderIsZero() external {
        Terms memory t = terms();
        t.provider = address(0);

        // it should revert
        assertRefused(funding(t), abi.encodeWithSelector(IEscrow.Escrow_ProviderIsZero.selector));
    }

    function test_WhenNowIsASecondBeforeFundBy() external {
        Terms memory t = terms();
        vm.warp(t.fundBy - 1);

        // it should lock the amount
        assertLocks(t);
    }

    function test_RevertWhen_NowIsFundBy() external {
        Terms memory t = terms();
        vm.warp(t.fundBy);

        // it should revert
        assertRefused(funding(t), closed(t));
    }

    function test_RevertWhen_NowIsASecondAfterFundBy() external {
        Terms memory t = terms();
        vm.warp(t.fundBy + 1);

        // it should revert
        assertRefused(funding(t), closed(t));
    }

    function test_RevertWhen_NowIsBeyond32Bits() external {
        Terms memory t = lastTerms();
        vm.warp(uint256(type(uint32).max) + 1);

        // it should revert
        assertRefused(funding(t), closed(t));
    }

    function test_WhenFundByIsStartsAt() external {
        Terms memory t = terms();
        t.fundBy = t.startsAt;

        // it should lock the amount
        assertLocks(t);
    }

    function test_RevertWhen_FundByIsASecondAfterStartsAt() external {
        Terms memory t = terms();
        t.fundBy = t.startsAt + 1;

        // it should revert
        assertRefused(funding(t), outOfOrder(t));
    }

    function test_WhenStartsAtIsASecondBeforeEndsAt() external {
        Terms memory t = terms();
        t.endsAt = t.startsAt + 1;

        // it should lock the amount
        assertLocks(t);
    }

    function test_RevertWhen_StartsAtIsEndsAt() external {
        Terms memory t = terms();
        t.endsAt = t.startsAt;

        // it should revert
        assertRefused(funding(t), outOfOrder(t));
    }

    function test_RevertWhen_StartsAtIsASecondAfterEndsAt() external {
        Terms memory t = terms();
        t.endsAt = t.startsAt - 1;

        // it should revert
        assertRefused(funding(t), outOfOrder(t));
    }

    function test_WhenTheTimesAreTheLastThereAre() external {
        Terms memory t = lastTerms();
        vm.warp(t.fundBy - 1);

        // it should lock the amount
        assertLocks(t);
    }

    function test_RevertGiven_TheSameTermsAreOpen() external {
        Terms memory t = terms();
        send(funding(t));

        // it should revert
        assertRefused(funding(t), alreadyFunded(t));
    }

    function test_RevertGiven_TheSameTermsWereClosedBeforeTheyBegan() external {
        Terms memory t = terms();
        send(funding(t));
        cancel(t, provider.addr);

        // it should revert
        assertRefused(funding(t), alreadyFunded(t));
    }

    function test_RevertGiven_TheSameTermsAreDisputed() external {
        Terms memory t = terms();
        t.fundBy = t.startsAt;
        send(funding(t));
        vm.warp(t.startsAt);
        dispute(t);

        // it should revert
        assertRefused(funding(t), closed(t));
    }

    function test_RevertGiven_TheSameTermsWereClosedAfterTheyBegan() external {
        Terms memory t = terms();
        t.fundBy = t.startsAt;
        send(funding(t));
        vm.warp(t.startsAt);
        settle(t, 0);
        assertDeleted(t);

        // it should revert
        assertRefused(funding(t), closed(t));
    }

    function test_GivenTermsWithAnotherSaltAreOpen() external {
        Terms memory first = terms();
        send(funding(first));
        Terms memory second = terms();

        // it should lock the amount again
        assertLocks(second);
        assertOpen(first);
    }

    function test_WhenAllIsInOrder() external {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        Books memory before = books();

        // it should emit Funded once
        vm.expectEmit(address(escrow), 1);
        emit IEscrow.Funded(idOf(t), t.buyer, t.provider, t);
        bytes memory result = send(call_);

        // it should return the id
        vm.assertEq(BookingId.unwrap(lastWord(result)), BookingId.unwrap(idOf(t)));

        // it should lock the amount
        assertLocked(before, AMOUNT);

        // it should store provider, amount and state
        assertSlot(t, t.provider, t.amount, State.Open);
    }

    /// @dev The id that was returned, also as the only one of a batch.
    function lastWord(bytes memory result) internal pure returns (BookingId id) {
        assembly ("memory-safe") {
            id := mload(add(result, mload(result)))
        }
    }

    /// @dev What a verb answers to a unit of coin more than `due`: the others are not payable.
    function overpaid(bytes4 verb, uint256 due) internal pure returns (bytes memory) {
        bool takesCoin = verb == IEscrow.fund.selector || verb == IEscrow.fundMany.selector;
        return takesCoin ? abi.encodeWithSelector(IEscrow.Escrow_WrongValue.selector, due + 1, due) : bytes("");
    }

    /// @dev Terms that end with the last second of 32 bits.
    function lastTerms() internal returns (Terms memory t) {
        t = terms();
        t.endsAt = type(uint32).max;
        t.startsAt = t.endsAt - 1;
        t.fundBy = t.startsAt;
    }

    function assertLocks(Terms memory t) internal {
        assertFunds(funding(t), t);
    }

    function closed(Terms memory t) internal view returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.Escrow_FundingClosed.selector, block.timestamp, t.fundBy);
    }

    function outOfOrder(Terms memory t) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.Escrow_TimesOutOfOrder.selector, t.fundBy, t.startsAt, t.endsAt);
    }

    function alreadyFunded(Terms memory t) internal view returns (bytes memory) {
        return abi.encodeWithSelector(IEscrow.Escrow_AlreadyFunded.selector, idOf(t));
    }
}

contract NativeFundFundingTest is FundingTest, ByFund, NativeMarket {}

contract NativeFundManyFundingTest is FundingTest, ByFundMany, NativeMarket {}

contract TokenFundFundingTest is FundingTest, ByFund, TokenMarket {}

contract TokenFundManyFundingTest is FundingTest, ByFundMany, TokenMarket {}

contract PermitFundingTest is FundingTest, ByPermit {}

contract AuthorizationFundingTest is FundingTest, ByAuthorization {}

contract Permit2FundingTest is FundingTest, ByPermit2 {}
