// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {RefusedCaller} from "../mocks/RefusedCaller.sol";
import {EveryNativeVerb, EveryTokenVerb, EveryVerb, Verb} from "../support/EveryVerb.sol";
import {vm} from "../support/Vm.sol";

/// @title Attackers who act while a verb runs
abstract contract ReentrancyTest is EveryVerb {
    bytes4 private constant GUARD = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
    bytes32 private constant NOT_SEEN = bytes32(uint256(1));

    Terms private _watched;
    bytes32 private _seen = NOT_SEEN;

    /* THE TABLES: EVERY PAIR */

    function fixtureOuter() external view returns (Verb[] memory) {
        return repeatEach(payingVerbs(), verbs().length);
    }

    function fixtureInner() external view returns (Verb[] memory) {
        return repeatAll(verbs(), payingVerbs().length);
    }

    function fixtureSigned() external view returns (Verb[] memory) {
        return repeatEach(signedVerbs(), verbs().length);
    }

    function fixtureEntered() external view returns (Verb[] memory) {
        return repeatAll(verbs(), signedVerbs().length);
    }

    function fixturePaying() external view returns (Verb[] memory) {
        return payingVerbs();
    }

    /* ENTERING */

    function table_EntersAVerbWhileMoneyMoves(Verb outer, Verb inner) external {
        Terms memory t = book(outer);
        Terms memory u = book(inner);
        vm.warp(NOW);
        wallet.setReentry(address(escrow), encode(inner, u));

        send(outer, t);

        vm.assertFalse(wallet.reentered(), "entered");
        vm.assertEq(bytes32(wallet.reentryError()), bytes32(GUARD), "stopped by something else");
        assertSolvent(t, u);
    }

    function table_EntersAVerbWhileTheAttesterIsAskedToSign(Verb signed, Verb entered) external {
        RefusedCaller signer = new RefusedCaller();
        redeploy(address(signer), arbiter.addr, feeRecipient.addr);
        Terms memory t = book(signed);
        Terms memory u = book(entered);
        vm.warp(NOW);
        signer.expect(address(escrow), encode(entered, u), GUARD);

        send(signed, t);

        assertSolvent(t, u);
    }

    function test_EntersAVerbWhileTheBuyerIsAskedToSign() external {
        (RefusedCaller signer, Terms memory t) = bookedBySigner();
        signer.expect(address(escrow), encode(Verb.Claim, t), GUARD);

        escrow.claim(t, 1, NO_SIGNATURE);

        vm.assertEq(remainingOf(t), AMOUNT - 1);
    }

    function test_WritesWhileAskedToSign() external {
        (RefusedCaller signer, Terms memory t) = bookedBySigner();
        signer.expect(address(signer), abi.encodeCall(RefusedCaller.touch, ()), 0);

        escrow.claim(t, 1, NO_SIGNATURE);

        vm.assertEq(signer.touched(), 0);
    }

    /* READING */

    /// @dev Whoever reads the escrow while it pays sees what will be true afterwards.
    function table_ReadsAStaleStateWhileMoneyMoves(Verb paying) external {
        _watched = book(paying);
        vm.warp(NOW);
        wallet.setReentry(address(this), abi.encodeCall(this.look, ()));

        send(paying, _watched);

        vm.assertTrue(wallet.reentered(), "did not look");
        vm.assertEq(_seen, views());
    }

    /// @dev The first look of a transaction is kept: the earliest is the most likely to be stale.
    function look() external {
        if (_seen == NOT_SEEN) _seen = views();
    }

    function views() private view returns (bytes32) {
        (address payee, uint256 remaining, State state) = escrow.booking(idOf(_watched));
        return keccak256(
            abi.encode(
                payee,
                remaining,
                state,
                escrow.disputedAt(idOf(_watched)),
                escrow.owed(address(wallet)),
                escrow.owed(feeRecipient.addr)
            )
        );
    }

    /* HELPERS */

    function bookedBySigner() private returns (RefusedCaller signer, Terms memory t) {
        signer = new RefusedCaller();
        endow(address(signer));
        t = terms();
        t.buyer = address(signer);
        fund(t);
    }

    function assertSolvent(Terms memory t, Terms memory u) private view {
        uint256 owed = escrow.owed(address(wallet)) + escrow.owed(feeRecipient.addr);
        vm.assertEq(balance(address(escrow)), remainingOf(t) + remainingOf(u) + owed, "escrow");
    }

    function signedVerbs() private pure returns (Verb[] memory signed) {
        signed = new Verb[](4);
        (signed[0], signed[1]) = (Verb.Claim, Verb.Settle);
        (signed[2], signed[3]) = (Verb.SettleMany, Verb.SettleEach);
    }

    /// @dev a, a, …, b, b, …
    function repeatEach(Verb[] memory list, uint256 times) private pure returns (Verb[] memory repeated) {
        repeated = new Verb[](list.length * times);
        for (uint256 i; i < repeated.length; ++i) {
            repeated[i] = list[i / times];
        }
    }

    /// @dev a, b, …, a, b, …
    function repeatAll(Verb[] memory list, uint256 times) private pure returns (Verb[] memory repeated) {
        repeated = new Verb[](list.length * times);
        for (uint256 i; i < repeated.length; ++i) {
            repeated[i] = list[i % list.length];
        }
    }
}

contract TokenReentrancyTest is ReentrancyTest, EveryTokenVerb {}

contract NativeReentrancyTest is ReentrancyTest, EveryNativeVerb {}
