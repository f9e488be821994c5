// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {HostileWallet} from "../../../../contracts/test/HostileWallet.sol";
import {NativeWallets, TokenWallets, WalletTest} from "../../support/WalletTest.sol";
import {vm} from "../../support/Vm.sol";

abstract contract WithdrawTest is WalletTest {
    /// @dev More than a push passes on, in tokens or in coin.
    uint256 internal constant MUCH_GAS = 1_000_000;

    modifier givenNothingIsOwed() {
        vm.assertEq(escrow.owed(feeRecipient.addr), 0);
        _;
    }

    function test_RevertWhen_TheAccountAsksForIt() external givenNothingIsOwed {
        // it should revert
        expectNothingOwed();
        withdraw(feeRecipient.addr, feeRecipient.addr);
    }

    function test_RevertWhen_AStrangerSendsItToTheAccount() external givenNothingIsOwed {
        // it should revert
        expectNothingOwed();
        withdraw(stranger.addr, feeRecipient.addr);
    }

    modifier givenAFeeIsOwed() {
        settleInFull(funded());
        _;
    }

    function test_RevertWhen_AStrangerNamesItself() external givenAFeeIsOwed {
        // it should revert
        expectNotAccount(stranger.addr);
        withdraw(stranger.addr, stranger.addr);
    }

    function test_RevertWhen_AStrangerNamesAThirdParty() external givenAFeeIsOwed {
        // it should revert
        expectNotAccount(stranger.addr);
        withdraw(stranger.addr, provider.addr);
    }

    function test_WhenAStrangerNamesTheAccount() external givenAFeeIsOwed {
        // it should emit Withdrawn
        // it should pay the account
        // it should owe nothing more
        assertWithdraws(stranger.addr, feeRecipient.addr);
    }

    function test_WhenTheAccountNamesItself() external givenAFeeIsOwed {
        // it should emit Withdrawn
        // it should pay the account
        // it should owe nothing more
        assertWithdraws(feeRecipient.addr, feeRecipient.addr);
    }

    function test_WhenTheAccountNamesAnother() external givenAFeeIsOwed {
        // it should emit Withdrawn
        // it should pay the other
        // it should owe nothing more
        assertWithdraws(feeRecipient.addr, otherProvider.addr);
    }

    function test_WhenTheOtherRefuses() external givenAFeeIsOwed {
        wallet.setMood(HostileWallet.Mood.Reject);
        uint256 held = balance(address(escrow));

        // it should revert
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_TransferFailed.selector, address(wallet), fee(AMOUNT)));
        withdraw(feeRecipient.addr, address(wallet));

        // it should still owe all
        vm.assertEq(escrow.owed(feeRecipient.addr), fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), held);
    }

    function test_WhenTheOtherUsesMuchGas() external givenAFeeIsOwed {
        wallet.setMood(HostileWallet.Mood.RecordGas);
        withdraw(feeRecipient.addr, address(wallet));

        // it should pass on all there is
        vm.assertGe(wallet.gasSeen(), MUCH_GAS);
        vm.assertEq(balance(address(wallet)), fee(AMOUNT));
    }

    function test_RevertGiven_ItWasWithdrawnAlready() external givenAFeeIsOwed {
        withdraw(feeRecipient.addr, feeRecipient.addr);

        // it should revert
        expectNothingOwed();
        withdraw(feeRecipient.addr, feeRecipient.addr);
    }

    function test_GivenTheLeastAmountIsOwed() external {
        Terms memory t = terms();
        t.amount = 100;
        fund(t);
        settleInFull(t);
        vm.assertEq(escrow.owed(feeRecipient.addr), 1);
        withdraw(stranger.addr, feeRecipient.addr);

        // it should pay it
        vm.assertEq(balance(feeRecipient.addr), 1);
    }

    function test_GivenTwoFeesAreOwed() external {
        settleInFull(funded());
        settleInFull(funded());
        withdraw(stranger.addr, feeRecipient.addr);

        // it should pay both at once
        vm.assertEq(balance(feeRecipient.addr), 2 * fee(AMOUNT));
    }

    function test_GivenAPayoutIsOwedToo() external {
        wallet.setMood(HostileWallet.Mood.Reject);
        settleInFull(fundedForWallet());
        wallet.setMood(HostileWallet.Mood.Accept);
        withdraw(stranger.addr, feeRecipient.addr);

        // it should pay each account its own
        vm.assertEq(balance(feeRecipient.addr), fee(AMOUNT));
        vm.assertEq(escrow.owed(address(wallet)), AMOUNT - fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), AMOUNT - fee(AMOUNT));
        vm.prank(stranger.addr);
        escrow.withdraw(address(wallet), address(wallet));
        vm.assertEq(balance(address(wallet)), AMOUNT - fee(AMOUNT));
        vm.assertEq(balance(address(escrow)), 0);
    }

    function settleInFull(Terms memory t) internal {
        vm.warp(t.endsAt);
        settle(t, t.amount);
    }

    /// @dev What is owed to the fee recipient.
    function withdraw(address sender, address to) internal {
        vm.prank(sender);
        escrow.withdraw(feeRecipient.addr, to);
    }

    function assertWithdraws(address sender, address to) internal {
        uint256 before = balance(to);
        uint256 held = balance(address(escrow));
        vm.expectEmit(address(escrow), 1);
        emit IEscrow.Withdrawn(feeRecipient.addr, to, fee(AMOUNT));
        withdraw(sender, to);

        vm.assertEq(balance(to), before + fee(AMOUNT), "to");
        vm.assertEq(balance(address(escrow)), held - fee(AMOUNT), "escrow");
        vm.assertEq(escrow.owed(feeRecipient.addr), 0, "owed");
    }

    function expectNothingOwed() internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_NothingOwed.selector, feeRecipient.addr));
    }

    function expectNotAccount(address sender) internal {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotAccount.selector, sender, feeRecipient.addr));
    }
}

contract TokenWithdrawTest is WithdrawTest, TokenWallets {}

contract NativeWithdrawTest is WithdrawTest, NativeWallets {}
