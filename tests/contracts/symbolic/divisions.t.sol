// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, State} from "../../../contracts/interfaces/IEscrow.sol";
import {vm} from "../support/Vm.sol";
import {Ledger, NativeProof, NoFee, Scene, TokenProof} from "./Proof.sol";

/// @title The verbs that divide: what leaves a booking and what remains of it make what was there
/// @dev From any slot that is open or disputed. A verb that reverts moves nothing and proves itself.
abstract contract DivisionsProof is NoFee {
    function check_claim(Scene memory s, uint256 earned, bytes memory signature) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.claim(s.terms, earned, signature);

        assert(earned <= s.terms.amount);
        uint256 left = leftAfter(s, earned);
        assertDivided(s, before, left, 0);
        if (left == 0) assertDead(s, id);
        else assertSlot(id, s.terms.provider, left, s.state);
    }

    function check_settle(Scene memory s, bool late, uint256 earned, bytes memory signature) external {
        outsideTheRun(s, late);
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.settle(s.terms, earned, 0, signature);

        assertSettled(s, id, before, earned);
    }

    /// @dev Of one: a second of the same id meets a dead booking, see `FinalityProof`.
    function check_settleMany(Scene memory s, bytes memory signature) external {
        BookingId[] memory ids = new BookingId[](1);
        ids[0] = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.settleMany(ids, signature);

        if (isDead(ids[0])) assertSettled(s, ids[0], before, s.terms.amount);
        else assertUntouched(s, ids[0], before);
    }

    function check_settleEach(Scene memory s, bool late, uint256 earned, bytes memory signature) external {
        outsideTheRun(s, late);
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);
        Completion[] memory completions = new Completion[](1);
        completions[0] = Completion(s.terms, earned, 0);

        vm.prank(s.sender);
        escrow.settleEach(completions, signature);

        if (isDead(id)) assertSettled(s, id, before, earned);
        else assertUntouched(s, id, before);
    }

    function check_resolve(Scene memory s, uint256 earned) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.resolve(s.terms, earned);

        assertSettled(s, id, before, earned);
    }

    /// @dev Up to the start or from the end on: between them the clock, a quotient, does no more than to lower what may be
    /// stated, and any statement is divided alike.
    function outsideTheRun(Scene memory s, bool late) private pure {
        if (late) vm.assume(s.time >= s.terms.endsAt);
        else vm.assume(s.time <= s.terms.startsAt);
    }

    /// @dev The provider ends with what was earned or claimed before, whichever is more; the buyer has the rest.
    function assertSettled(Scene memory s, BookingId id, Ledger memory before, uint256 earned) private view {
        assert(earned <= s.terms.amount);
        uint256 left = leftAfter(s, earned);
        assertDivided(s, before, left, left);
        assertDead(s, id);
    }

    function assertUntouched(Scene memory s, BookingId id, Ledger memory before) private view {
        assertDivided(s, before, s.remaining, 0);
        assertSlot(id, s.terms.provider, s.remaining, s.state);
    }

    function isDead(BookingId id) private view returns (bool) {
        (,, State state) = escrow.booking(id);
        return state == State.None || state == State.Closed;
    }
}

contract TokenDivisionsProof is DivisionsProof, TokenProof {}

contract NativeDivisionsProof is DivisionsProof, NativeProof {}
