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

    function check_settle(Scene memory s, uint256 earned, bytes32 evidence, bytes memory signature) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.settle(s.terms, earned, evidence, signature);

        assertSettled(s, id, before, earned);
    }

    /// @dev A second id that may be the same, and an earlier or later place in the batch.
    function check_settleMany(Scene memory s, BookingId other, bool first, bytes memory signature) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);
        BookingId[] memory ids = new BookingId[](2);
        (ids[0], ids[1]) = first ? (id, other) : (other, id);

        vm.prank(s.sender);
        escrow.settleMany(ids, signature);

        if (isDead(id)) assertSettled(s, id, before, s.terms.amount);
        else assertUntouched(s, id, before);
    }

    /// @dev The same booking twice, with any two statements.
    function check_settleEach(Scene memory s, uint256 earned, uint256 again, bytes memory signature) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);
        Completion[] memory completions = new Completion[](2);
        completions[0] = Completion(s.terms, earned, 0);
        completions[1] = Completion(s.terms, again, 0);

        vm.prank(s.sender);
        escrow.settleEach(completions, signature);

        if (isDead(id)) assertSettled(s, id, before, earned <= capOf(s) ? earned : again);
        else assertUntouched(s, id, before);
    }

    function check_resolve(Scene memory s, uint256 earned) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.resolve(s.terms, earned);

        assertSettled(s, id, before, earned);
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
