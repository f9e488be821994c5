// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

import {IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {IPermit2} from "../../../contracts/interfaces/IPermit2.sol";
import {ITokenEscrow} from "../../../contracts/interfaces/ITokenEscrow.sol";
import {Messages} from "../../../contracts/libraries/Messages.sol";
import {TestDollar} from "../../../contracts/test/TestDollar.sol";
import {Books} from "../support/EscrowTest.sol";
import {ByAuthorization, ByPermit, ByPermit2, Call, Funding} from "../support/Funding.sol";
import {IPermit2Contract, Permit2} from "../support/Permit2.sol";
import {TokenMessages} from "../support/TokenMessages.sol";
import {TokenSignatures} from "../support/TokenSignatures.sol";
import {vm} from "../support/Vm.sol";
import {Words} from "../support/Words.sol";

/// @title Attackers who use what a buyer signed elsewhere, before it or otherwise than it meant
abstract contract SignedFundingTest is Funding {
    uint256 internal constant OTHER_CHAIN = 1;
    /// @dev Kept, because the optimizer would read it again after it was changed.
    uint256 private immutable _here = block.chainid;

    /// @dev The answer to a signature that is not one for these terms, here and now.
    function unsigned() internal view virtual returns (bytes memory);

    /// @dev A second escrow, of the same parties and the same token.
    function test_TakesItToAnotherEscrow() external {
        Call memory call_ = funding(terms());
        redeploy(attester.addr, arbiter.addr, feeRecipient.addr);

        assertRefused(call_, unsigned());
    }

    function test_BringsItFromAnotherChain() external {
        vm.chainId(OTHER_CHAIN);
        Call memory call_ = funding(terms());
        vm.chainId(_here);

        assertRefused(call_, unsigned());
    }

    /// @dev After a split both chains have the escrow and its ids, and each has its own signatures.
    function test_TakesItAcrossASplit() external {
        Call memory call_ = funding(terms());
        vm.chainId(OTHER_CHAIN);

        assertRefused(call_, unsigned());
    }

    function test_BringsItTooLate() external {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        vm.warp(t.fundBy);

        assertRefused(call_, abi.encodeWithSelector(IEscrow.Escrow_FundingClosed.selector, block.timestamp, t.fundBy));
    }
}

contract PermitSignedTest is SignedFundingTest, ByPermit {
    function unsigned() internal view override returns (bytes memory) {
        return abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(escrow), 0, AMOUNT);
    }

    /// @dev Whoever sees a permit can use it first: the buyer's transaction goes on.
    function test_UsesThePermitFirst() external {
        Terms memory t = terms();
        (uint8 v, bytes32 r, bytes32 s) = signPermit(permitFor(t), buyer);
        bytes memory data = abi.encodeCall(ITokenEscrow.fundWithPermit, (t, t.fundBy, v, r, s));
        vm.prank(stranger.addr);
        dollar.permit(buyer.addr, address(escrow), AMOUNT, t.fundBy, v, r, s);

        assertFunds(Call(buyer.addr, 0, data), t);
    }

    /// @dev The allowance that a used permit left is the buyer's to spend, for a booking of its own.
    function test_SpendsTheAllowanceOfAPermitUsedFirst() external {
        Terms memory t = terms();
        (uint8 v, bytes32 r, bytes32 s) = signPermit(permitFor(t), buyer);
        vm.startPrank(stranger.addr);
        dollar.permit(buyer.addr, address(escrow), AMOUNT, t.fundBy, v, r, s);

        vm.expectRevert(abi.encodeWithSelector(IEscrow.Escrow_SenderIsNotBuyer.selector, stranger.addr, buyer.addr));
        escrow.fund(t);
    }
}

abstract contract RelayedTest is SignedFundingTest, TokenSignatures {
    /// @dev The call with the buyer's signature of `signed`, for `sent`.
    function callFor(Terms memory sent, Terms memory signed) internal view virtual returns (Call memory);

    /// @dev One term after the other is one off.
    function test_AltersTheTerms() external {
        Terms memory t = terms();
        bytes memory encoded = abi.encode(t);

        for (uint256 i; i < encoded.length / 32; ++i) {
            Terms memory altered = abi.decode(Words.flip(encoded, i), (Terms));
            assertRefused(callFor(altered, t), unsigned());
            assertDeleted(altered);
        }
    }

    /// @dev Whoever relays first books what the buyer signed, and the second finds it done.
    function test_RelaysItFirst() external {
        Terms memory t = terms();
        Call memory call_ = funding(t);
        call_.sender = provider.addr;
        assertFunds(call_, t);
        Books memory before = books();

        call_.sender = buyer.addr;
        assertRefused(call_, abi.encodeWithSelector(IEscrow.Escrow_AlreadyFunded.selector, idOf(t)));
        assertLocked(before, 0);
    }
}

contract AuthorizationSignedTest is RelayedTest, ByAuthorization {
    function unsigned() internal pure override returns (bytes memory) {
        return abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector);
    }

    function callFor(Terms memory sent, Terms memory signed) internal view override returns (Call memory) {
        bytes memory signature = signAuthorization(authorizationFor(signed), buyer);
        return Call(stranger.addr, 0, abi.encodeCall(ITokenEscrow.fundWithAuthorization, (sent, signature)));
    }

    /// @dev That would strand the money in the escrow, without a booking.
    function test_GivesItToTheTokenDirectly() external {
        TokenMessages.Authorization memory a = authorizationFor(terms());
        bytes memory signature = signAuthorization(a, buyer);

        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(escrow)));
        vm.prank(stranger.addr);
        dollar.receiveWithAuthorization(a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, signature);
    }

    function test_GivesItToTheTokenAsATransfer() external {
        TokenMessages.Authorization memory a = authorizationFor(terms());
        bytes memory signature = bytes.concat(signAuthorization(a, buyer), new bytes(31));
        (bytes32 r, bytes32 s, bytes1 v) = abi.decode(signature, (bytes32, bytes32, bytes1));

        vm.expectRevert(unsigned());
        vm.prank(stranger.addr);
        dollar.transferWithAuthorization(a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce, uint8(v), r, s);
    }
}

contract Permit2SignedTest is RelayedTest, ByPermit2 {
    function unsigned() internal pure override returns (bytes memory) {
        return abi.encodeWithSelector(IPermit2Contract.InvalidSigner.selector);
    }

    function callFor(Terms memory sent, Terms memory signed) internal view override returns (Call memory) {
        bytes memory signature = signWitnessTransfer(witnessTransferFor(signed, 0), buyer);
        return Call(stranger.addr, 0, abi.encodeCall(ITokenEscrow.fundWithPermit2, (sent, 0, signature)));
    }

    /// @dev Permit2 moves money only for the spender that was signed, which is the escrow.
    function test_GivesItToPermit2Directly() external {
        Terms memory t = terms();
        bytes memory signature = signWitnessTransfer(witnessTransferFor(t, 0), buyer);
        IPermit2.PermitTransferFrom memory permit = IPermit2.PermitTransferFrom({
            permitted: IPermit2.TokenPermissions(address(dollar), AMOUNT), nonce: 0, deadline: t.fundBy
        });
        IPermit2.SignatureTransferDetails memory details = IPermit2.SignatureTransferDetails(stranger.addr, AMOUNT);

        vm.expectRevert(unsigned());
        vm.prank(stranger.addr);
        IPermit2(Permit2.ADDRESS)
            .permitWitnessTransferFrom(
                permit, details, buyer.addr, TokenMessages.hash(t), Messages.PERMIT2_WITNESS, signature
            );
    }

    /// @dev An escrow of another token, with the same parties.
    function test_TakesItToAnotherToken() external {
        Terms memory t = terms();
        bytes memory signature = signWitnessTransfer(witnessTransferFor(t, 0), buyer);
        dollar = new TestDollar();
        redeploy(attester.addr, arbiter.addr, feeRecipient.addr);

        assertRefused(
            Call(stranger.addr, 0, abi.encodeCall(ITokenEscrow.fundWithPermit2, (t, 0, signature))), unsigned()
        );
    }

    /// @dev Two bookings with one nonce: the first that arrives is funded.
    function test_UsesANonceTwice() external {
        Call memory first = Call(stranger.addr, 0, encodePermit2(terms(), 0, buyer));
        Call memory second = Call(stranger.addr, 0, encodePermit2(terms(), 0, buyer));
        send(first);

        assertRefused(second, abi.encodeWithSelector(IPermit2Contract.InvalidNonce.selector));
    }

    function test_FundsWherePermit2IsNotDeployed() external {
        Call memory call_ = funding(terms());
        vm.etch(Permit2.ADDRESS, "");

        assertRefused(call_, "");
    }
}
