// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {ITokenEscrow} from "../../../../contracts/interfaces/ITokenEscrow.sol";
import {ByPermit2, Call} from "../../support/Funding.sol";
import {IPermit2Contract, Permit2} from "../../support/Permit2.sol";
import {TokenMessages} from "../../support/TokenMessages.sol";
import {vm} from "../../support/Vm.sol";
import {Words} from "../../support/Words.sol";

/// @dev What the verb requires and does beyond `FundingTest`, with the real Permit2.
contract FundWithPermit2Test is ByPermit2 {
    uint256 internal constant NONCE = 7;
    bytes internal constant INVALID_SIGNER = abi.encodeWithSelector(IPermit2Contract.InvalidSigner.selector);
    bytes internal constant INVALID_NONCE = abi.encodeWithSelector(IPermit2Contract.InvalidNonce.selector);
    /// @dev What Permit2 answers when the token refuses.
    bytes internal constant TRANSFER_FAILED = abi.encodeWithSignature("Error(string)", "TRANSFER_FROM_FAILED");

    function test_WhenAStrangerSendsWhatTheBuyerSigned() external {
        // it should lock the amount
        assertLocks(terms(), NONCE, stranger.addr);

        // it should use up the nonce
        vm.assertEq(IPermit2Contract(Permit2.ADDRESS).nonceBitmap(buyer.addr, 0), 1 << NONCE);
    }

    function test_WhenTheBuyerSendsWhatItSigned() external {
        // it should lock the amount
        assertLocks(terms(), NONCE, buyer.addr);
    }

    function test_WhenTheNonceIsTheSmallestOrTheLargest() external {
        // it should lock the amount
        assertLocks(terms(), 0, stranger.addr);
        assertLocks(terms(), type(uint256).max, stranger.addr);
    }

    function test_RevertWhen_AnyFieldThatWasSignedIsAnother() external {
        Terms memory t = terms();
        bytes memory good = abi.encode(witnessTransferFor(t, NONCE));

        for (uint256 i; i < good.length / 32; ++i) {
            TokenMessages.WitnessTransfer memory bad = abi.decode(Words.flip(good, i), (TokenMessages.WitnessTransfer));

            // it should revert
            assertRefused(callWith(t, signWitnessTransfer(bad, buyer)), INVALID_SIGNER);
        }
    }

    function test_RevertWhen_AnotherSigned() external {
        // it should revert
        assertRefused(funding(terms(), stranger), INVALID_SIGNER);
    }

    function test_RevertWhen_ThereIsNoSignature() external {
        // it should revert
        assertRefused(
            callWith(terms(), NO_SIGNATURE), abi.encodeWithSelector(IPermit2Contract.InvalidSignatureLength.selector)
        );
    }

    function test_RevertGiven_TheNonceWasUsed() external {
        send(Call(stranger.addr, 0, encodePermit2(terms(), NONCE, buyer)));

        // it should revert
        assertRefused(Call(stranger.addr, 0, encodePermit2(terms(), NONCE, buyer)), INVALID_NONCE);
    }

    function test_RevertGiven_TheBuyerInvalidatedTheNonce() external {
        vm.prank(buyer.addr);
        IPermit2Contract(Permit2.ADDRESS).invalidateUnorderedNonces(0, 1 << NONCE);

        // it should revert
        assertRefused(Call(stranger.addr, 0, encodePermit2(terms(), NONCE, buyer)), INVALID_NONCE);
    }

    function test_RevertGiven_Permit2HasNoAllowance() external {
        vm.startPrank(buyer.addr);
        dollar.approve(Permit2.ADDRESS, 0);
        dollar.approve(address(escrow), AMOUNT);
        vm.stopPrank();

        // it should revert
        assertRefused(funding(terms()), TRANSFER_FAILED);
    }

    function test_RevertGiven_TheBuyerHasLessThanTheAmount() external {
        vm.prank(buyer.addr);
        dollar.transfer(stranger.addr, WEALTH - AMOUNT + 1);

        // it should revert
        assertRefused(funding(terms()), TRANSFER_FAILED);
    }

    function callWith(Terms memory t, bytes memory signature) internal view returns (Call memory) {
        return Call(stranger.addr, 0, abi.encodeCall(ITokenEscrow.fundWithPermit2, (t, NONCE, signature)));
    }

    function assertLocks(Terms memory t, uint256 nonce, address sender) internal {
        assertFunds(Call(sender, 0, encodePermit2(t, nonce, buyer)), t);
    }
}
