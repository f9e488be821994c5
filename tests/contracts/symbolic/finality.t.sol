// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {ITokenEscrow} from "../../../contracts/interfaces/ITokenEscrow.sol";
import {vm} from "../support/Vm.sol";
import {AnyFee, Ledger, NativeProof, Scene, TokenProof} from "./Proof.sol";

/// @title What is closed stays closed and pays nothing, and an id is funded once
/// @dev Together with the proofs of refunds and divisions, in which whatever closes a booking leaves it dead, this is induction: a
/// dead booking stays dead whatever verb comes next, and one that is not dead cannot be funded.
abstract contract FinalityProof is AnyFee {
    /// @dev Closed before its start, or deleted from its start on: `assertDead` is what the closing verbs leave.
    function dead(Scene memory s) internal returns (BookingId id) {
        vm.assume(s.remaining == 0);
        if (s.state != State.Closed) {
            vm.assume(s.state == State.None);
            vm.assume(s.time >= s.terms.fundBy);
        }
        return place(s, address(0));
    }

    function check_deadCannotBeClaimed(Scene memory s, uint256 earned, bytes memory signature) external {
        refused(s, abi.encodeCall(IEscrow.claim, (s.terms, earned, signature)));
    }

    function check_deadCannotBeSettled(Scene memory s, uint256 earned, bytes memory signature) external {
        refused(s, abi.encodeCall(IEscrow.settle, (s.terms, earned, 0, signature)));
    }

    function check_deadCannotBeCancelled(Scene memory s) external {
        refused(s, abi.encodeCall(IEscrow.cancel, (s.terms)));
    }

    function check_deadCannotBeDisputed(Scene memory s) external {
        refused(s, abi.encodeCall(IEscrow.dispute, (s.terms)));
    }

    function check_deadCannotBeResolved(Scene memory s, uint256 earned) external {
        refused(s, abi.encodeCall(IEscrow.resolve, (s.terms, earned)));
    }

    function check_deadCannotBeReclaimed(Scene memory s) external {
        refused(s, abi.encodeCall(IEscrow.reclaim, (s.terms)));
    }

    function check_deadIsSkippedBySettleMany(Scene memory s, bytes memory signature) external {
        BookingId[] memory ids = new BookingId[](1);
        ids[0] = dead(s);
        skipped(s, ids[0], abi.encodeCall(IEscrow.settleMany, (ids, signature)));
    }

    function check_deadIsSkippedBySettleEach(Scene memory s, uint256 earned, bytes memory signature) external {
        BookingId id = dead(s);
        Completion[] memory completions = new Completion[](1);
        completions[0] = Completion(s.terms, earned, 0);
        skipped(s, id, abi.encodeCall(IEscrow.settleEach, (completions, signature)));
    }

    function check_deadCannotBeFunded(Scene memory s, uint128 value) external {
        dead(s);
        cannotBeFunded(s, value);
    }

    function check_unclosedCannotBeFunded(Scene memory s, uint128 value) external {
        unclosed(s);
        cannotBeFunded(s, value);
    }

    /// @dev One that was never funded: once at most, and for its amount.
    function check_fundOpens(Scene memory s, uint128 value) external {
        vm.assume(s.remaining == 0);
        vm.assume(s.state == State.None);
        BookingId id = place(s, address(0));
        give(s.sender, value);
        allow(s.sender);
        uint256 held = balance(address(escrow));

        bool ok = send(s, value, abi.encodeCall(IEscrow.fund, (s.terms)));

        if (!ok) return;
        assertSlot(id, s.terms.provider, s.terms.amount, State.Open);
        assert(s.terms.amount > 0);
        assert(s.sender == s.terms.buyer);
        assert(balance(address(escrow)) == held + s.terms.amount);
    }

    /// @dev By none of the verbs that fund.
    function cannotBeFunded(Scene memory s, uint128 value) internal virtual {
        give(s.sender, value);
        allow(s.sender);
        Terms[] memory batch = new Terms[](1);
        batch[0] = s.terms;
        assert(!send(s, value, abi.encodeCall(IEscrow.fund, (s.terms))));
        assert(!send(s, value, abi.encodeCall(IEscrow.fundMany, (batch))));
    }

    function refused(Scene memory s, bytes memory data) private {
        dead(s);
        assert(!send(s, 0, data));
    }

    function skipped(Scene memory s, BookingId id, bytes memory data) private {
        Ledger memory before = ledger(s);
        if (!send(s, 0, data)) return;
        assertDivided(s, before, 0, 0);
        assertDead(s, id);
    }

    function send(Scene memory s, uint256 value, bytes memory data) internal returns (bool ok) {
        vm.prank(s.sender);
        // solhint-disable-next-line avoid-low-level-calls
        (ok,) = address(escrow).call{value: payment(value)}(data);
    }
}

contract TokenFinalityProof is FinalityProof, TokenProof {
    function cannotBeFunded(Scene memory s, uint128 value) internal override {
        super.cannotBeFunded(s, value);
        bytes memory signature = new bytes(65);
        assert(!send(s, 0, abi.encodeCall(ITokenEscrow.fundWithPermit, (s.terms, 0, 0, 0, 0))));
        assert(!send(s, 0, abi.encodeCall(ITokenEscrow.fundWithAuthorization, (s.terms, signature))));
        assert(!send(s, 0, abi.encodeCall(ITokenEscrow.fundWithPermit2, (s.terms, 0, signature))));
    }
}

contract NativeFinalityProof is FinalityProof, NativeProof {}
