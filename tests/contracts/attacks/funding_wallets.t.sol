// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {ByAuthorization, ByFund, ByPermit, ByPermit2, Call, Funding} from "../support/Funding.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {IPermit2Contract} from "../support/Permit2.sol";
import {vm} from "../support/Vm.sol";
import {WalletTest} from "../support/WalletTest.sol";

/// @title A buyer with code, and who can sign for it
/// @dev `wallet` is a contract (ERC-1271); a delegated account has a key and, by EIP-7702, the code of a contract.
abstract contract WalletFundingTest is Funding, WalletTest {
    /// @dev Terms of a buyer that has the money.
    function termsOf(address buyer_) internal returns (Terms memory t) {
        endow(buyer_);
        t = terms();
        t.buyer = buyer_;
    }

    /// @dev Gives the buyer's account the code of a wallet that takes the signatures of `owner_`.
    function delegate(address owner_) internal {
        HostileWallet code = new HostileWallet(owner_);
        vm.signAndAttachDelegation(address(code), buyer.key);
        // The delegation comes with the next call.
        HostileWallet(payable(buyer.addr)).setMood(HostileWallet.Mood.Accept);
        vm.assertEq(buyer.addr.code, abi.encodePacked(hex"ef0100", address(code)));
    }
}

/// @title A buyer with code that sends its own transaction needs no signature
abstract contract SendingWalletTest is WalletFundingTest {
    function test_AContractFunds() external {
        Terms memory t = termsOf(address(wallet));

        assertFundsFor(t);
    }

    function test_ADelegatedAccountFunds() external {
        delegate(owner.addr);

        assertFundsFor(terms());
    }

    /// @dev As its code lets the owner.
    function test_TheOwnerOfADelegatedAccountFunds() external {
        delegate(owner.addr);
        Terms memory t = terms();
        Call memory call_ = funding(t);

        vm.prank(owner.addr);
        HostileWallet(payable(buyer.addr)).execute(address(escrow), call_.value, call_.data);

        assertOpen(t);
    }

    function assertFundsFor(Terms memory t) private {
        Call memory call_ = funding(t);
        call_.sender = t.buyer;
        uint256 before = balance(t.buyer);
        send(call_);

        assertOpen(t);
        vm.assertEq(balance(t.buyer), before - AMOUNT);
    }
}

contract TokenSendingWalletTest is SendingWalletTest, ByFund, TokenMarket {}

contract NativeSendingWalletTest is SendingWalletTest, ByFund, NativeMarket {}

/// @title Where the token or Permit2 asks the code of the buyer, and its key only through it
abstract contract SigningWalletTest is WalletFundingTest {
    /// @dev The answer to a signature that the code does not take.
    function foreign() internal view virtual returns (bytes memory);

    function test_TheOwnerOfAContractSigns() external {
        Terms memory t = termsOf(address(wallet));
        send(funding(t, owner));

        assertOpen(t);
        vm.assertEq(balance(address(wallet)), WEALTH - AMOUNT);
    }

    function test_AStrangerSignsForAContract() external {
        assertRefused(funding(termsOf(address(wallet)), stranger), foreign());
    }

    function test_AContractTakesItsSignaturesBack() external {
        Call memory call_ = funding(termsOf(address(wallet)), owner);
        wallet.revokeSignatures();

        assertRefused(call_, foreign());
    }

    function test_TheCodeOfADelegatedAccountTakesAnothersKey() external {
        delegate(owner.addr);
        Terms memory t = terms();

        assertRefused(funding(t, buyer), foreign());
        assertFunds(funding(t, owner), t);
    }

    function test_TheCodeOfADelegatedAccountTakesItsOwnKey() external {
        delegate(buyer.addr);
        Terms memory t = terms();

        assertRefused(funding(t, owner), foreign());
        assertFunds(funding(t, buyer), t);
    }

    /// @dev What a key signed before its account got code is for the code to take or not.
    function test_AnAccountIsDelegatedAfterItSigned() external {
        Call memory call_ = funding(terms());
        delegate(owner.addr);

        assertRefused(call_, foreign());
    }
}

contract AuthorizationSigningWalletTest is SigningWalletTest, ByAuthorization {
    function foreign() internal pure override returns (bytes memory) {
        return abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector);
    }
}

contract Permit2SigningWalletTest is SigningWalletTest, ByPermit2 {
    function foreign() internal pure override returns (bytes memory) {
        return abi.encodeWithSelector(IPermit2Contract.InvalidContractSignature.selector);
    }
}

/// @title Where the token asks the buyer's key and never its code
contract PermittingWalletTest is WalletFundingTest, ByPermit {
    function test_TheKeyOfADelegatedAccountPermits() external {
        delegate(owner.addr);
        Terms memory t = terms();

        assertFunds(funding(t), t);
    }

    function test_TheOwnerOfADelegatedAccountPermits() external {
        delegate(owner.addr);

        assertUnpaid(terms());
    }

    function test_TheOwnerOfAContractPermits() external {
        assertUnpaid(termsOf(address(wallet)));
    }

    function assertUnpaid(Terms memory t) private {
        Call memory call_ = funding(t, owner);
        call_.sender = t.buyer;
        assertRefused(
            call_, abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, AMOUNT)
        );
    }
}
