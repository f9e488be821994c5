// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Account, Books, EscrowTest} from "./EscrowTest.sol";
import {TokenMarket} from "./Markets.sol";
import {Permit2} from "./Permit2.sol";
import {TokenSignatures} from "./TokenSignatures.sol";
import {vm} from "./Vm.sol";

/// @notice A transaction to the escrow.
struct Call {
    address sender;
    uint256 value;
    bytes data;
}

/// @title One way to fund
/// @dev Abstract over the verb: a test of what every way requires is written once and runs on each.
abstract contract Funding is EscrowTest {
    /// @dev The call by which `payer` funds `t`: it sends it, or a stranger does with its signature.
    function funding(Terms memory t, Account memory payer) internal virtual returns (Call memory);

    /// @dev By the buyer of `terms()`.
    function funding(Terms memory t) internal returns (Call memory) {
        return funding(t, buyer);
    }

    function send(Call memory call_) internal returns (bytes memory) {
        (bool ok, bytes memory result) = trySend(call_);
        vm.assertTrue(ok, "refused");
        return result;
    }

    /// @param reason All that the call returns, selector and arguments: empty for a revert without reason.
    function assertRefused(Call memory call_, bytes memory reason) internal {
        (bool ok, bytes memory result) = trySend(call_);
        vm.assertFalse(ok, "not refused");
        vm.assertEq(result, reason);
    }

    function trySend(Call memory call_) internal returns (bool, bytes memory) {
        vm.prank(call_.sender);
        // solhint-disable-next-line avoid-low-level-calls
        return address(escrow).call{value: call_.value}(call_.data);
    }

    /// @dev The call takes the amount from the buyer and opens the booking.
    function assertFunds(Call memory call_, Terms memory t) internal {
        Books memory before = books();
        send(call_);
        assertLocked(before, t.amount);
        assertOpen(t);
    }

    /// @dev `amount` went from the buyer to the escrow, and nothing else moved.
    function assertLocked(Books memory before, uint256 amount) internal view {
        Books memory now_ = books();
        vm.assertEq(now_.buyer, before.buyer - amount, "buyer");
        vm.assertEq(now_.provider, before.provider, "provider");
        vm.assertEq(now_.stranger, before.stranger, "stranger");
        vm.assertEq(now_.escrow, before.escrow + amount, "escrow");
        vm.assertEq(now_.fees, before.fees, "fees");
    }

    function assertOpen(Terms memory t) internal view {
        assertSlot(t, t.provider, t.amount, State.Open);
    }
}

/// @title A buyer that pays too little
abstract contract Underpaying is EscrowTest {
    /// @dev Lets the escrow pull `paid` tokens only. Returns why it refuses to fund `due` with that, or with `paid` coin.
    function allowOnly(uint256 paid, uint256 due) internal returns (bytes memory reason) {
        address token = escrow.token();
        if (token == address(0)) return abi.encodeWithSelector(IEscrow.Escrow_WrongValue.selector, paid, due);

        vm.prank(buyer.addr);
        IERC20(token).approve(address(escrow), paid);
        return abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), paid, due);
    }
}

abstract contract ByFund is Funding {
    function funding(Terms memory t, Account memory payer) internal pure override returns (Call memory) {
        return Call(payer.addr, value(t.amount), abi.encodeCall(IEscrow.fund, (t)));
    }
}

/// @title A batch of one
abstract contract ByFundMany is Funding {
    function funding(Terms memory t, Account memory payer) internal pure override returns (Call memory) {
        Terms[] memory batch = new Terms[](1);
        batch[0] = t;
        return Call(payer.addr, value(t.amount), abi.encodeCall(IEscrow.fundMany, (batch)));
    }
}

abstract contract ByPermit is Funding, TokenSignatures, TokenMarket {
    /// @dev No allowance: the permit is one.
    function endow(address who) internal override(EscrowTest, TokenMarket) {
        dollar.mint(who, WEALTH);
    }

    function funding(Terms memory t, Account memory payer) internal view override returns (Call memory) {
        return Call(payer.addr, 0, encodePermit(t, payer));
    }
}

abstract contract ByAuthorization is Funding, TokenSignatures, TokenMarket {
    /// @dev No allowance: the authorization moves the money itself.
    function endow(address who) internal override(EscrowTest, TokenMarket) {
        dollar.mint(who, WEALTH);
    }

    function funding(Terms memory t, Account memory payer) internal view override returns (Call memory) {
        return Call(stranger.addr, 0, encodeAuthorization(t, payer));
    }
}

abstract contract ByPermit2 is Funding, TokenSignatures, TokenMarket {
    uint256 private _nonces;

    /// @dev An allowance for Permit2 only.
    function endow(address who) internal override(EscrowTest, TokenMarket) {
        dollar.mint(who, WEALTH);
        vm.prank(who);
        dollar.approve(Permit2.ADDRESS, type(uint256).max);
    }

    function funding(Terms memory t, Account memory payer) internal override returns (Call memory) {
        return Call(stranger.addr, 0, encodePermit2(t, ++_nonces, payer));
    }
}
