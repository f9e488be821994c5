// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, IEscrow, State, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {BookedTest} from "../../support/BookedTest.sol";
import {Books} from "../../support/EscrowTest.sol";
import {Underpaying} from "../../support/Funding.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";

abstract contract FundManyTest is BookedTest, Underpaying {
    uint256 internal constant COUNT = 3;

    function test_WhenThereAreNoTerms() external {
        Books memory before = books();
        vm.recordLogs();
        BookingId[] memory ids = fundMany(new Terms[](0), 0);

        // it should return nothing
        vm.assertEq(ids.length, 0);

        // it should change nothing
        vm.assertEq(countEvents(), 0);
        assertDivided(before, 0, 0, 0);
    }

    function test_RevertWhen_ThereAreNoTermsButCoinIsSent() external {
        vm.deal(buyer.addr, 1);

        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_WrongValue.selector, 1, 0));
        fundMany(new Terms[](0), 1);
    }

    function test_WhenOneOfTheTermsIsBad() external {
        for (uint256 i; i < COUNT; ++i) {
            Terms[] memory batch = batchOf(COUNT);
            batch[i].amount = 0;

            // it should revert wherever it stands
            vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_AmountIsZero.selector));
            fundMany(batch);

            // it should open none
            assertNone(batch);
        }
    }

    function test_WhenOneOfTheTermsIsOfAnotherBuyer() external {
        for (uint256 i; i < COUNT; ++i) {
            Terms[] memory batch = batchOf(COUNT);
            batch[i].buyer = otherBuyer.addr;

            // it should revert wherever it stands
            vm.expectRevert(
                abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotBuyer.selector, buyer.addr, otherBuyer.addr)
            );
            fundMany(batch);

            // it should open none
            assertNone(batch);
        }
    }

    function test_WhenTheSameTermsComeTwice() external {
        Terms[] memory batch = batchOf(COUNT);
        batch[2] = batch[0];

        // it should revert
        expectAlreadyFunded(batch[0]);
        fundMany(batch);

        // it should open none
        assertNone(batch);
    }

    function test_WhenOneOfTheTermsIsOpenAlready() external {
        Terms[] memory batch = batchOf(COUNT);
        fund(batch[1]);

        // it should revert
        expectAlreadyFunded(batch[1]);
        fundMany(batch);

        // it should open none of the others
        assertSlot(batch[1], batch[1].provider, batch[1].amount, State.Open);
        assertDeleted(batch[0]);
        assertDeleted(batch[2]);
    }

    function test_RevertWhen_AUnitLessThanTheSumIsPaid() external {
        Terms[] memory batch = batchOf(COUNT);
        uint256 paid = sum(batch) - 1;
        bytes memory reason = allowOnly(paid, sum(batch));

        // it should revert
        vm.expectRevert(reason);
        fundMany(batch, value(paid));
    }

    function test_RevertWhen_CoinForTheLastOfTheTermsOnlyIsSent() external {
        Terms[] memory batch = batchOf(COUNT);
        uint256 paid = batch[2].amount;
        bytes memory reason = allowOnly(paid, sum(batch));

        // it should revert
        vm.expectRevert(reason);
        fundMany(batch, value(paid));
    }

    function test_WhenTheSumIsBeyond88Bits() external {
        Terms[] memory batch = batchOf(COUNT);
        for (uint256 i; i < COUNT; ++i) {
            batch[i].amount = type(uint88).max;
        }

        // it should lock the sum
        Books memory before = books();
        fundMany(batch);
        assertLockedAll(before, batch);
    }

    function test_WhenAllIsInOrder() external {
        Terms[] memory batch = batchOf(COUNT);
        Books memory before = books();

        // it should emit Funded for each in order
        for (uint256 i; i < COUNT; ++i) {
            vm.expectEmit(address(escrow));
            emit IEscrow.Funded(idOf(batch[i]), batch[i].buyer, batch[i].provider, batch[i]);
        }
        vm.recordLogs();
        BookingId[] memory ids = fundMany(batch);
        vm.assertEq(countEvents(), COUNT);

        // it should return the ids in order
        vm.assertEq(ids.length, COUNT);
        for (uint256 i; i < COUNT; ++i) {
            vm.assertEq(BookingId.unwrap(ids[i]), BookingId.unwrap(idOf(batch[i])));
        }

        // it should lock the sum
        // it should store each with its own provider and amount
        assertLockedAll(before, batch);
    }

    /// @dev Terms of one buyer, each with its own amount, the second with another provider.
    function batchOf(uint256 count) internal returns (Terms[] memory batch) {
        batch = new Terms[](count);
        for (uint256 i; i < count; ++i) {
            batch[i] = terms();
            batch[i].amount += uint88(i);
        }
        batch[1].provider = otherProvider.addr;
    }

    function sum(Terms[] memory batch) internal pure returns (uint256 total) {
        for (uint256 i; i < batch.length; ++i) {
            total += batch[i].amount;
        }
    }

    function fundMany(Terms[] memory batch) internal returns (BookingId[] memory) {
        return fundMany(batch, value(sum(batch)));
    }

    function fundMany(Terms[] memory batch, uint256 coin) internal returns (BookingId[] memory) {
        vm.prank(buyer.addr);
        return escrow.fundMany{value: coin}(batch);
    }

    function expectAlreadyFunded(Terms memory t) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_AlreadyFunded.selector, idOf(t)));
    }

    function assertNone(Terms[] memory batch) internal view {
        for (uint256 i; i < batch.length; ++i) {
            assertDeleted(batch[i]);
        }
    }

    function assertLockedAll(Books memory before, Terms[] memory batch) internal view {
        vm.assertEq(balance(buyer.addr), before.buyer - sum(batch), "buyer");
        vm.assertEq(balance(address(escrow)), before.escrow + sum(batch), "escrow");
        for (uint256 i; i < batch.length; ++i) {
            assertSlot(batch[i], batch[i].provider, batch[i].amount, State.Open);
        }
    }
}

contract TokenFundManyTest is FundManyTest, TokenMarket {}

contract NativeFundManyTest is FundManyTest, NativeMarket {}
