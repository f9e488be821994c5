// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../contracts/libraries/Messages.sol";
import {AnsweringSigner} from "../mocks/AnsweringSigner.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {vm} from "../support/Vm.sol";
import {NativeWallets, TokenWallets, WalletTest} from "../support/WalletTest.sol";

/// @title Signers with code: contract wallets, and accounts that were given code (EIP-7702)
abstract contract ContractSignersTest is WalletTest, BookedTest {
    bytes32 private constant MAGIC = bytes32(IERC1271.isValidSignature.selector);

    /* A CONTRACT WALLET */

    function test_AttestsAsAContractWallet() external {
        redeploy(address(wallet), arbiter.addr, feeRecipient.addr);
        end(funded());
        bytes memory wrong = signCompletion(booked, AMOUNT, attester);
        bytes memory right = signCompletion(booked, AMOUNT, owner);

        expectInvalidSignature(Messages.completion(idOf(booked), AMOUNT, EVIDENCE));
        escrow.settle(booked, AMOUNT, EVIDENCE, wrong);
        escrow.settle(booked, AMOUNT, EVIDENCE, right);

        assertDeleted(booked);
    }

    /// @dev The clock binds the attester's wallet as its key.
    function test_AttestsAheadOfTheClockAsAContractWallet() external {
        redeploy(address(wallet), arbiter.addr, feeRecipient.addr);
        booked = funded();
        bytes memory signature = signReceipt(booked, 1, owner);
        vm.warp(booked.startsAt);

        expectAheadOfClock(1, 0);
        escrow.claim(booked, 1, signature);
    }

    function test_GivesAndRevokesReceiptsAsABuyer() external {
        booked = fundedByWallet();
        claim(booked, 1_000, owner);
        vm.assertEq(remainingOf(booked), AMOUNT - 1_000);
        bytes memory signature = signReceipt(booked, 2_000, owner);

        wallet.revokeSignatures();

        expectInvalidSignature(Messages.receipt(idOf(booked), 2_000));
        escrow.claim(booked, 2_000, signature);
        vm.assertEq(remainingOf(booked), AMOUNT - 1_000);
    }

    function test_RevokesReceiptsAsTheAttester() external {
        redeploy(address(wallet), arbiter.addr, feeRecipient.addr);
        end(funded());
        claim(booked, 1_000, owner);
        bytes memory signature = signReceipt(booked, 2_000, owner);

        wallet.revokeSignatures();

        expectInvalidSignature(Messages.receipt(idOf(booked), 2_000));
        escrow.claim(booked, 2_000, signature);
    }

    /* WHAT A WALLET ANSWERS */

    function test_AnswersWithTheMagicValue() external {
        AnsweringSigner signer = bookedBySigner();

        accepted(signer, abi.encodePacked(MAGIC));
        accepted(signer, abi.encodePacked(MAGIC, bytes1(0)));
    }

    function test_AnswersWithSomethingElse() external {
        AnsweringSigner signer = bookedBySigner();

        refused(signer, AnsweringSigner.Manner.Returns, "");
        refused(signer, AnsweringSigner.Manner.Returns, abi.encodePacked(bytes4(MAGIC)));
        refused(signer, AnsweringSigner.Manner.Returns, abi.encodePacked(bytes31(MAGIC)));
        refused(signer, AnsweringSigner.Manner.Returns, abi.encode(0));
        refused(signer, AnsweringSigner.Manner.Returns, abi.encode(true));
        refused(signer, AnsweringSigner.Manner.Returns, abi.encode(uint256(MAGIC) | 1));
        refused(signer, AnsweringSigner.Manner.Returns, abi.encode(bytes4(0xffffffff)));
        refused(signer, AnsweringSigner.Manner.Returns, abi.encode(uint256(uint32(bytes4(MAGIC)))));
    }

    function test_RevertsWithTheMagicValue() external {
        refused(bookedBySigner(), AnsweringSigner.Manner.Reverts, abi.encode(MAGIC));
    }

    function test_BurnsAllGas() external {
        refused(bookedBySigner(), AnsweringSigner.Manner.BurnsGas, "");
    }

    /// @dev The buyer's key is tried before the attester's code, which could leave no transaction gas enough.
    function test_BurnsAllGasBeforeTheBuyersReceipt() external {
        AnsweringSigner signer = new AnsweringSigner();
        signer.answer(AnsweringSigner.Manner.BurnsGas, "");
        redeploy(address(signer), arbiter.addr, feeRecipient.addr);
        booked = funded();
        bytes memory signature = signReceipt(booked, AMOUNT, buyer);

        escrow.claim{gas: 500_000}(booked, AMOUNT, signature);

        vm.assertEq(balance(provider.addr), AMOUNT - fee(AMOUNT));
    }

    /* AN ACCOUNT WITH A KEY AND CODE (EIP-7702) */

    function test_SignsByKeyAndByCodeAsABuyer() external {
        booked = funded();
        delegate(buyer.key, address(wallet));

        claim(booked, 1_000, buyer);
        claim(booked, 2_000, owner);

        vm.assertEq(remainingOf(booked), AMOUNT - 2_000);
    }

    function test_SignsByKeyAndByCodeAsTheAttester() external {
        end(funded());
        delegate(attester.key, address(wallet));

        claim(booked, 1_000, attester);
        claim(booked, 2_000, owner);
        bytes memory signature = signCompletion(booked, 3_000, owner);
        vm.prank(stranger.addr);
        escrow.settle(booked, 3_000, EVIDENCE, signature);

        assertDeleted(booked);
        vm.assertEq(balance(provider.addr) + escrow.owed(feeRecipient.addr), 3_000);
    }

    /// @dev The key stays: taking the code back takes back what only the code would sign.
    function test_SignsByCodeThatWasTakenBack() external {
        booked = funded();
        delegate(buyer.key, address(wallet));
        bytes memory byCode = signReceipt(booked, 1_000, owner);
        bytes memory byKey = signReceipt(booked, 1_000, buyer);

        delegate(buyer.key, address(0));

        expectInvalidSignature(Messages.receipt(idOf(booked), 1_000));
        escrow.claim(booked, 1_000, byCode);
        escrow.claim(booked, 1_000, byKey);
        vm.assertEq(remainingOf(booked), AMOUNT - 1_000);
    }

    /* HELPERS */

    function end(Terms memory t) private {
        booked = t;
        vm.warp(t.endsAt);
    }

    function bookedBySigner() private returns (AnsweringSigner signer) {
        signer = new AnsweringSigner();
        endow(address(signer));
        booked = terms();
        booked.buyer = address(signer);
        fund(booked);
    }

    function accepted(AnsweringSigner signer, bytes memory answer) private {
        uint256 claimed = AMOUNT - remainingOf(booked);
        signer.answer(AnsweringSigner.Manner.Returns, answer);

        escrow.claim(booked, claimed + 1, NO_SIGNATURE);

        vm.assertEq(remainingOf(booked), AMOUNT - claimed - 1);
    }

    function refused(AnsweringSigner signer, AnsweringSigner.Manner manner, bytes memory answer) private {
        signer.answer(manner, answer);

        expectInvalidSignature(Messages.receipt(idOf(booked), 1));
        escrow.claim(booked, 1, NO_SIGNATURE);
    }

    function delegate(uint256 key, address implementation) private {
        vm.signAndAttachDelegation(implementation, key);
        // The delegation travels with the next transaction.
        vm.prank(stranger.addr);
        wallet.setMood(wallet.mood());
        vm.assertEq(vm.addr(key).code.length, implementation == address(0) ? 0 : 23);
    }
}

/// forge-config: default.evm_version = "prague"
contract TokenContractSignersTest is ContractSignersTest, TokenWallets {}

/// forge-config: default.evm_version = "prague"
contract NativeContractSignersTest is ContractSignersTest, NativeWallets {}
