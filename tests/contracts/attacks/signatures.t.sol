// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {BookingId, Completion, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../contracts/libraries/Messages.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {Account, Books} from "../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title Attackers with a signature that was made by somebody else, over something else, or for another place
abstract contract SignaturesTest is BookedTest {
    uint256 private constant EARNED = 5;

    Terms private _first;

    /* WHOSE */

    function test_CompletesInTheAttestersName() external givenTwoBookingsHaveEnded {
        Account[5] memory signers = [buyer, provider, arbiter, feeRecipient, stranger];
        for (uint256 i; i < signers.length; ++i) {
            bytes memory one = signCompletion(booked, EARNED, signers[i]);
            bytes memory many = signMany(both(), signers[i]);
            bytes memory each = signEach(completions(), signers[i]);

            expectInvalidSignature(completion(booked));
            bring(booked, one);
            expectInvalidSignature(hashOfMany(both()));
            bringMany(both(), many);
            expectInvalidSignature(hashOfEach(completions()));
            bringEach(completions(), each);
        }
    }

    function test_GivesAReceiptInTheBuyersOrTheAttestersName() external givenTwoBookingsHaveEnded {
        Account[5] memory signers = [provider, arbiter, feeRecipient, otherBuyer, stranger];
        for (uint256 i; i < signers.length; ++i) {
            bytes memory signature = signReceipt(booked, EARNED, signers[i]);

            expectInvalidSignature(receipt(booked));
            escrow.claim(booked, EARNED, signature);
        }
    }

    /// @dev Nobody gains by sending first: the outcome does not depend on the sender.
    function test_RunsInFrontOfAClaim() external givenTwoBookingsHaveEnded {
        bytes memory signature = signReceipt(booked, EARNED, attester);
        Books memory before = books();

        vm.prank(stranger.addr);
        escrow.claim(booked, EARNED, signature);
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), 0);

        vm.prank(provider.addr);
        escrow.claim(booked, EARNED, signature);
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), 0);
    }

    function test_RunsInFrontOfACompletion() external givenTwoBookingsHaveEnded {
        bytes memory signature = signCompletion(booked, EARNED, attester);
        Books memory before = books();

        bring(booked, signature);
        assertDivided(before, EARNED, feeBetween(AMOUNT, AMOUNT - EARNED), AMOUNT - EARNED);

        expectNotOpen(booked, State.None);
        bring(booked, signature);
    }

    function test_RunsInFrontOfBatches() external givenTwoBookingsHaveEnded {
        bytes memory many = signMany(both(), attester);
        bytes memory each = signEach(completions(), attester);
        Books memory before = books();

        bringMany(both(), many);
        bringMany(both(), many);
        bringEach(completions(), each);

        assertDivided(before, 2 * uint256(AMOUNT), 2 * fee(AMOUNT), 0);
    }

    /// @dev Whatever stands in place of its signature is ignored.
    function test_TheAttesterItselfNeedsNoSignature() external givenTwoBookingsHaveEnded {
        vm.startPrank(attester.addr);
        escrow.settle(booked, EARNED, EVIDENCE, "junk");
        escrow.settleEach(completions(), "junk");
        vm.stopPrank();

        assertDeleted(_first);
        assertDeleted(booked);
    }

    /* OVER WHAT */

    function test_CompletesWithAReceipt() external givenTwoBookingsHaveEnded {
        bytes memory signature = signReceipt(booked, EARNED, attester);

        expectInvalidSignature(completion(booked));
        bring(booked, signature);
    }

    function test_ClaimsWithACompletion() external givenTwoBookingsHaveEnded {
        bytes memory signature = signCompletion(booked, EARNED, attester);

        expectInvalidSignature(receipt(booked));
        escrow.claim(booked, EARNED, signature);
    }

    function test_CompletesABatchOfCompletionsWithABatchOfIds() external givenTwoBookingsHaveEnded {
        bytes memory many = signMany(both(), attester);
        bytes memory each = signEach(completions(), attester);

        expectInvalidSignature(hashOfEach(completions()));
        bringEach(completions(), many);
        expectInvalidSignature(hashOfMany(both()));
        bringMany(both(), each);
    }

    function test_CompletesABatchOfOneWithACompletion() external givenTwoBookingsHaveEnded {
        Completion[] memory batch = new Completion[](1);
        batch[0] = Completion(booked, EARNED, EVIDENCE);
        bytes memory signature = signCompletion(booked, EARNED, attester);

        expectInvalidSignature(hashOfEach(batch));
        bringEach(batch, signature);
    }

    function test_AltersACompletion() external givenTwoBookingsHaveEnded {
        bytes memory signature = signCompletion(booked, EARNED, attester);

        expectInvalidSignature(Messages.completion(idOf(booked), EARNED + 1, EVIDENCE));
        escrow.settle(booked, EARNED + 1, EVIDENCE, signature);
        expectInvalidSignature(Messages.completion(idOf(booked), EARNED, "other"));
        escrow.settle(booked, EARNED, "other", signature);
        expectInvalidSignature(completion(_first));
        bring(_first, signature);
    }

    function test_AltersAReceipt() external givenTwoBookingsHaveEnded {
        bytes memory signature = signReceipt(booked, EARNED, attester);

        expectInvalidSignature(Messages.receipt(idOf(booked), EARNED + 1));
        escrow.claim(booked, EARNED + 1, signature);
        expectInvalidSignature(receipt(_first));
        escrow.claim(_first, EARNED, signature);
    }

    function test_AltersABatch() external givenTwoBookingsHaveEnded {
        bytes memory signature = signMany(both(), attester);
        BookingId[] memory shorter = new BookingId[](1);
        shorter[0] = both()[0];
        BookingId[] memory turned = new BookingId[](2);
        (turned[0], turned[1]) = (both()[1], both()[0]);

        expectInvalidSignature(hashOfMany(shorter));
        bringMany(shorter, signature);
        expectInvalidSignature(hashOfMany(turned));
        bringMany(turned, signature);
    }

    function test_AltersABatchOfCompletions() external givenTwoBookingsHaveEnded {
        bytes memory signature = signEach(completions(), attester);
        Completion[] memory more = completions();
        ++more[1].earned;
        Completion[] memory other = completions();
        other[0].evidence = "other";
        Completion[] memory turned = completions();
        (turned[0], turned[1]) = (turned[1], turned[0]);

        expectInvalidSignature(hashOfEach(more));
        bringEach(more, signature);
        expectInvalidSignature(hashOfEach(other));
        bringEach(other, signature);
        expectInvalidSignature(hashOfEach(turned));
        bringEach(turned, signature);
    }

    /// @dev What a wallet signs when it is asked to sign a text.
    function test_PassesOffASignedText() external givenTwoBookingsHaveEnded {
        bytes32 digest = digestOf(completion(booked));
        bytes memory signature = sign(MessageHashUtils.toEthSignedMessageHash(digest), attester);

        expectInvalidSignature(completion(booked));
        bring(booked, signature);
    }

    /* WHERE */

    function test_ReplaysFromAnotherEscrow() external {
        booked = funded();
        bytes memory signature = signCompletion(booked, 0, attester);
        redeploy(attester.addr, arbiter.addr, feeRecipient.addr);
        fund(booked);

        expectInvalidSignature(Messages.completion(idOf(booked), 0, EVIDENCE));
        escrow.settle(booked, 0, EVIDENCE, signature);
    }

    function test_ReplaysWhatWasSignedForAnotherVerifier() external givenTwoBookingsHaveEnded {
        bytes memory signature = signElsewhere(completion(booked), attester);

        expectInvalidSignature(completion(booked));
        bring(booked, signature);
    }

    /// @dev A chain that splits off under another id takes no signature of the old one. Ids stay: nobody is stranded.
    function test_ReplaysAfterTheChainSplit() external givenTwoBookingsHaveEnded {
        bytes memory before = signCompletion(booked, EARNED, attester);
        bytes memory receiptBefore = signReceipt(booked, EARNED, buyer);
        vm.chainId(block.chainid + 1);
        bytes memory afterwards = signCompletion(booked, EARNED, attester);

        expectInvalidSignature(completion(booked));
        bring(booked, before);
        expectInvalidSignature(receipt(booked));
        escrow.claim(booked, EARNED, receiptBefore);

        vm.assertEq(escrow.seed(), seed);
        vm.assertEq(BookingId.unwrap(escrow.idOf(booked)), BookingId.unwrap(idOf(booked)));
        bring(booked, afterwards);
        assertDeleted(booked);
    }

    /* HELPERS */

    modifier givenTwoBookingsHaveEnded() {
        _first = funded();
        booked = funded();
        vm.warp(booked.endsAt);
        _;
    }

    function completion(Terms memory t) private view returns (bytes32) {
        return Messages.completion(idOf(t), EARNED, EVIDENCE);
    }

    function receipt(Terms memory t) private view returns (bytes32) {
        return Messages.receipt(idOf(t), EARNED);
    }

    function both() private view returns (BookingId[] memory ids) {
        ids = new BookingId[](2);
        (ids[0], ids[1]) = (idOf(_first), idOf(booked));
    }

    function completions() private view returns (Completion[] memory list) {
        list = new Completion[](2);
        (list[0], list[1]) = (Completion(_first, EARNED, EVIDENCE), Completion(booked, EARNED, EVIDENCE));
    }

    function bring(Terms memory t, bytes memory signature) private {
        vm.prank(stranger.addr);
        escrow.settle(t, EARNED, EVIDENCE, signature);
    }

    function bringMany(BookingId[] memory ids, bytes memory signature) private {
        vm.prank(stranger.addr);
        escrow.settleMany(ids, signature);
    }

    function bringEach(Completion[] memory list, bytes memory signature) private {
        vm.prank(stranger.addr);
        escrow.settleEach(list, signature);
    }
}

contract TokenSignaturesTest is SignaturesTest, TokenMarket {}

contract NativeSignaturesTest is SignaturesTest, NativeMarket {}
