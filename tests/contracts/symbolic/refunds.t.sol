// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, State} from "../../../contracts/interfaces/IEscrow.sol";
import {vm} from "../support/Vm.sol";
import {AnyFee, Ledger, NativeProof, Scene, TokenProof} from "./Proof.sol";

/// @title The verbs that pay no provider: what leaves a booking and what remains of it make what was there
/// @dev From any slot that is open or disputed. A verb that reverts moves nothing and proves itself.
abstract contract RefundsProof is AnyFee {
    function check_cancel(Scene memory s) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.cancel(s.terms);

        assertRefunded(s, id, before);
    }

    function check_dispute(Scene memory s) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.dispute(s.terms);

        assertDivided(s, before, s.remaining, 0);
        assertSlot(id, s.terms.provider, s.remaining, State.Disputed);
        assert(escrow.disputedAt(id) == s.time);
    }

    function check_reclaim(Scene memory s) external {
        BookingId id = unclosed(s);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.reclaim(s.terms);

        assertRefunded(s, id, before);
    }

    /// @dev It touches no booking: all of what is owed goes from the account's name to the recipient.
    function check_withdraw(Scene memory s, address account, address to, uint88 amount) external {
        BookingId id = unclosed(s);
        vm.assume(to != address(escrow));
        owe(account, amount);
        give(address(escrow), amount);
        Ledger memory before = ledger(s);

        vm.prank(s.sender);
        escrow.withdraw(account, to);

        Ledger memory now_ = ledger(s);
        assert(now_.held + amount == before.held);
        assert(
            now_.wealth + only(amount, same(s.someone, account)) == before.wealth + only(amount, same(s.someone, to))
        );
        assertSlot(id, s.terms.provider, s.remaining, s.state);
    }

    function assertRefunded(Scene memory s, BookingId id, Ledger memory before) private view {
        assertDivided(s, before, s.remaining, s.remaining);
        assertDead(s, id);
    }
}

contract TokenRefundsProof is RefundsProof, TokenProof {}

contract NativeRefundsProof is RefundsProof, NativeProof {}
