// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IEscrow, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {ITokenEscrow} from "../../../../contracts/interfaces/ITokenEscrow.sol";
import {Account} from "../../support/EscrowTest.sol";
import {ByPermit, Call} from "../../support/Funding.sol";
import {TokenMessages} from "../../support/TokenMessages.sol";
import {vm} from "../../support/Vm.sol";
import {Words} from "../../support/Words.sol";

/// @dev What the verb requires and does beyond `FundingTest`.
contract FundWithPermitTest is ByPermit {
    function test_RevertWhen_TheSenderIsNotTheBuyer() external {
        Call memory call_ = funding(terms());
        call_.sender = stranger.addr;

        // it should revert
        assertRefused(
            call_, abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotBuyer.selector, stranger.addr, buyer.addr)
        );
    }

    modifier givenThereIsNoAllowance() {
        vm.assertEq(dollar.allowance(buyer.addr, address(escrow)), 0);
        _;
    }

    function test_WhenThePermitIsGood() external givenThereIsNoAllowance {
        Terms memory t = terms();

        // it should lock the amount
        assertLocks(t, permitFor(t));

        // it should use up permit and allowance
        vm.assertEq(dollar.nonces(buyer.addr), 1);
        vm.assertEq(dollar.allowance(buyer.addr, address(escrow)), 0);
    }

    function test_WhenTheDeadlineIsNotFundBy() external givenThereIsNoAllowance {
        Terms memory t = terms();
        TokenMessages.Permit memory permit = permitFor(t);
        permit.deadline = type(uint256).max;

        // it should lock the amount
        assertLocks(t, permit);
    }

    function test_WhenNowIsTheDeadline() external givenThereIsNoAllowance {
        Terms memory t = terms();
        TokenMessages.Permit memory permit = permitFor(t);
        permit.deadline = block.timestamp;

        // it should lock the amount
        assertLocks(t, permit);
    }

    function test_RevertWhen_NowIsASecondAfterTheDeadline() external givenThereIsNoAllowance {
        Terms memory t = terms();
        TokenMessages.Permit memory permit = permitFor(t);
        permit.deadline = block.timestamp - 1;

        // it should revert
        assertRefused(callWith(t, permit, permit.deadline, buyer), unpaid(0));
    }

    function test_RevertWhen_AnyFieldThatWasSignedIsAnother() external givenThereIsNoAllowance {
        Terms memory t = terms();
        bytes memory good = abi.encode(permitFor(t));

        for (uint256 i; i < 5; ++i) {
            TokenMessages.Permit memory bad = abi.decode(Words.flip(good, i), (TokenMessages.Permit));

            // it should revert
            assertRefused(callWith(t, bad, t.fundBy, buyer), unpaid(0));
        }
    }

    function test_RevertWhen_AnotherSigned() external givenThereIsNoAllowance {
        Terms memory t = terms();

        // it should revert
        assertRefused(callWith(t, permitFor(t), t.fundBy, stranger), unpaid(0));
    }

    function test_RevertWhen_ThereIsNoSignature() external givenThereIsNoAllowance {
        // it should revert
        assertRefused(unsigned(terms()), unpaid(0));
    }

    modifier givenThereIsAnAllowanceAUnitShort() {
        allow(AMOUNT - 1);
        _;
    }

    function test_RevertWhen_TheSignatureIsBad() external givenThereIsAnAllowanceAUnitShort {
        // it should revert
        assertRefused(unsigned(terms()), unpaid(AMOUNT - 1));
    }

    function test_WhenTheSignatureIsGood() external givenThereIsAnAllowanceAUnitShort {
        Terms memory t = terms();

        // it should lock the amount
        assertLocks(t, permitFor(t));
    }

    function test_GivenThereIsAnAllowanceOfTheAmount() external {
        allow(AMOUNT);
        Terms memory t = terms();

        // it should lock the amount without a signature
        assertFunds(unsigned(t), t);
    }

    function test_RevertGiven_TheBuyerHasLessThanTheAmount() external {
        vm.prank(buyer.addr);
        dollar.transfer(stranger.addr, WEALTH - AMOUNT + 1);

        // it should revert
        assertRefused(
            funding(terms()),
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, buyer.addr, AMOUNT - 1, AMOUNT)
        );
    }

    function callWith(Terms memory t, TokenMessages.Permit memory permit, uint256 deadline, Account memory signer)
        internal
        view
        returns (Call memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = signPermit(permit, signer);
        return Call(buyer.addr, 0, abi.encodeCall(ITokenEscrow.fundWithPermit, (t, deadline, v, r, s)));
    }

    function unsigned(Terms memory t) internal view returns (Call memory) {
        return Call(buyer.addr, 0, abi.encodeCall(ITokenEscrow.fundWithPermit, (t, t.fundBy, 0, 0, 0)));
    }

    function allow(uint256 amount) internal {
        vm.prank(buyer.addr);
        dollar.approve(address(escrow), amount);
    }

    function assertLocks(Terms memory t, TokenMessages.Permit memory permit) internal {
        assertFunds(callWith(t, permit, permit.deadline, buyer), t);
    }

    /// @dev The permit gave nothing, and the allowance there is does not suffice.
    function unpaid(uint256 allowance) internal view returns (bytes memory) {
        return
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), allowance, AMOUNT);
    }
}
