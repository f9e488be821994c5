// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {TestDollar} from "../../../contracts/test/TestDollar.sol";
import {StrangeDollar} from "../mocks/StrangeDollar.sol";
import {Books} from "../support/EscrowTest.sol";
import {ByFund, Call} from "../support/Funding.sol";
import {TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title A token that breaks the standard once its escrow holds money: it hurts its own escrow only
contract TokensTest is ByFund, TokenMarket {
    uint256 private constant EARNED = 400_001;

    StrangeDollar private _strange = new StrangeDollar();
    Terms private _booked;

    constructor() {
        dollar = _strange;
    }

    function setUp() public override {
        super.setUp();
        _booked = funded();
        vm.warp(_booked.endsAt);
    }

    /* GIVING */

    function test_IsPausedWhenItShouldPay() external {
        assertDefers(StrangeDollar.Mode.Paused);
    }

    function test_DeniesToPay() external {
        assertDefers(StrangeDollar.Mode.SaysFalse);
    }

    function test_SaysNothingWhenItPays() external {
        assertPays(StrangeDollar.Mode.SaysNothing);
    }

    /// @dev A payment needs no balance.
    function test_HidesItsBalancesWhenItPays() external {
        Books memory before = books();
        _strange.setMode(StrangeDollar.Mode.HidesBalances);
        settle(_booked, EARNED);

        _strange.setMode(StrangeDollar.Mode.Honest);
        assertDivided(before, EARNED, fee(AMOUNT) - fee(AMOUNT - EARNED), AMOUNT - EARNED);
    }

    /// @dev What it moved it denies: the escrow owes it a second time, out of what the token left it.
    function test_PaysAndDeniesIt() external {
        fund(terms());
        _strange.setMode(StrangeDollar.Mode.SaysNonsense);
        settle(_booked, AMOUNT);

        uint256 paid = AMOUNT - fee(AMOUNT);
        vm.assertEq(balance(provider.addr), paid);
        vm.assertEq(escrow.owed(provider.addr), paid);
    }

    function test_KeepsAPartOfWhatItPays() external {
        Books memory before = books();
        _strange.setDrift(-1);
        settle(_booked, AMOUNT);

        vm.assertEq(balance(provider.addr), before.provider + AMOUNT - fee(AMOUNT) - 1, "provider");
        vm.assertEq(balance(address(escrow)), before.escrow - AMOUNT + fee(AMOUNT), "escrow");
        vm.assertEq(escrow.owed(provider.addr), 0, "owed");
    }

    function test_LosesItsCodeBeforeItPays() external {
        bytes memory code = address(_strange).code;
        vm.etch(address(_strange), "");
        settle(_booked, EARNED);

        vm.etch(address(_strange), code);
        assertOwed();
    }

    /// @dev Whoever comes last waits for what is missing, and nobody else does.
    function test_ShrinksWhatAnEscrowHolds() external {
        vm.warp(BEGIN);
        Terms memory second = funded();
        (IEscrow other, Terms memory third) = fundedElsewhere();
        _strange.shrink(address(escrow), fee(AMOUNT) + 1);
        vm.warp(second.endsAt);

        settle(_booked, AMOUNT);
        settle(second, AMOUNT);
        vm.assertEq(balance(provider.addr), 2 * (AMOUNT - fee(AMOUNT)));

        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.Escrow_TransferFailed.selector, feeRecipient.addr, 2 * fee(AMOUNT))
        );
        escrow.withdraw(feeRecipient.addr, feeRecipient.addr);
        _strange.mint(address(escrow), fee(AMOUNT) + 1);
        escrow.withdraw(feeRecipient.addr, feeRecipient.addr);
        vm.assertEq(balance(feeRecipient.addr), 2 * fee(AMOUNT));

        vm.prank(attester.addr);
        other.settle(third, AMOUNT, EVIDENCE, NO_SIGNATURE);
        vm.assertEq(balance(provider.addr), 3 * (AMOUNT - fee(AMOUNT)));
    }

    /// @dev A contract that has no way to call `withdraw`.
    function test_OwesToAContractThatCannotAskForIt() external {
        vm.warp(BEGIN);
        Terms memory t = terms();
        t.provider = address(new TestDollar());
        fund(t);
        vm.warp(t.endsAt);
        _strange.setMode(StrangeDollar.Mode.Paused);
        settle(t, AMOUNT);
        _strange.setMode(StrangeDollar.Mode.Honest);

        vm.prank(stranger.addr);
        escrow.withdraw(t.provider, t.provider);

        vm.assertEq(balance(t.provider), AMOUNT - fee(AMOUNT));
    }

    /* TAKING */

    function test_DeniesThatItTook() external {
        assertFailsToFund(StrangeDollar.Mode.SaysFalse);
    }

    function test_TellsNonsenseWhenItTook() external {
        assertFailsToFund(StrangeDollar.Mode.SaysNonsense);
    }

    function test_SaysNothingWhenItTook() external {
        _strange.setMode(StrangeDollar.Mode.SaysNothing);
        Terms memory t = terms();

        assertFunds(funding(t), t);
    }

    function test_LosesItsCodeBeforeItTakes() external {
        Call memory call_ = funding(terms());
        vm.etch(address(_strange), "");

        assertRefused(call_, "");
    }

    /// @dev In another escrow of the same token.
    function fundedElsewhere() private returns (IEscrow other, Terms memory t) {
        other = deploy(attester.addr, arbiter.addr, FEE_BPS, feeRecipient.addr, WINDOW);
        t = terms();
        vm.startPrank(buyer.addr);
        dollar.approve(address(other), AMOUNT);
        other.fund(t);
        vm.stopPrank();
    }

    function assertFailsToFund(StrangeDollar.Mode mode) private {
        _strange.setMode(mode);
        Terms memory t = terms();

        assertRefused(
            funding(t), abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(_strange))
        );
        assertDeleted(t);
    }

    function assertPays(StrangeDollar.Mode mode) private {
        Books memory before = books();
        _strange.setMode(mode);
        settle(_booked, EARNED);
        assertDivided(before, EARNED, fee(AMOUNT) - fee(AMOUNT - EARNED), AMOUNT - EARNED);
    }

    function assertDefers(StrangeDollar.Mode mode) private {
        _strange.setMode(mode);
        settle(_booked, EARNED);
        _strange.setMode(StrangeDollar.Mode.Honest);
        assertOwed();
    }

    /// @dev Both parties' shares of `EARNED` are owed, and can be fetched.
    function assertOwed() private {
        uint256 cost = fee(AMOUNT) - fee(AMOUNT - EARNED);
        vm.assertEq(escrow.owed(provider.addr), EARNED - cost);
        vm.assertEq(escrow.owed(buyer.addr), AMOUNT - EARNED);
        assertDeleted(_booked);

        Books memory before = books();
        vm.assertEq(before.escrow, AMOUNT);
        escrow.withdraw(provider.addr, provider.addr);
        escrow.withdraw(buyer.addr, buyer.addr);
        vm.assertEq(balance(provider.addr), before.provider + EARNED - cost);
        vm.assertEq(balance(buyer.addr), before.buyer + AMOUNT - EARNED);
        vm.assertEq(balance(address(escrow)), cost);
    }
}
