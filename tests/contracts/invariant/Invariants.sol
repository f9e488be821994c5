// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {State} from "../../../contracts/interfaces/IEscrow.sol";
import {vm} from "../support/Vm.sol";
import {Handler} from "./Handler.sol";
import {Record} from "./Ledger.sol";

/// @title What holds after any history
/// @dev Numbered as in contracts/README.md. Reads the books directly: this runs after every step.
abstract contract Invariants is Handler {
    function assertBooks() external view {
        uint256 open = assertBookings();
        uint256 due = assertAccounts();
        vm.assertEq(balance(address(escrow)), open + due + donated, "1: solvency");
        vm.assertFalse(wallet.reentered() || otherWallet.reentered(), "a wallet got in while it was paid");
    }

    /// @notice Everybody leaves, without the attester and the arbiter: nothing stays but donations.
    function assertAllCanLeave() external {
        leaveAll();
        vm.assertEq(assertBookings(), 0, "9: left");
        vm.assertEq(assertAccounts(), 0, "9: fetched");
        vm.assertEq(balance(address(escrow)), donated, "9: nothing stays");
    }

    /// @dev Returns what all bookings hold.
    function assertBookings() private view returns (uint256 open) {
        for (uint256 i; i < records.length; ++i) {
            Record storage r = records[i];
            (address payee, uint88 held, State state) = escrow.booking(r.id);
            vm.assertEq(held, remaining(r), "2: conservation");
            open += held;
            if (r.state == State.Closed) {
                vm.assertTrue(state == State.None || state == State.Closed, "7: closed for good");
                vm.assertEq(payee, address(0), "7: no payee");
            } else {
                vm.assertTrue(held > 0, "6: open means money");
                vm.assertTrue(state == r.state, "10: no other transition");
                vm.assertEq(payee, r.terms.provider, "3: the payee");
            }
            vm.assertLe(r.attested, clock(r), "5: the clock");
        }
    }

    /// @dev Returns what all accounts are owed.
    function assertAccounts() private view returns (uint256 due) {
        for (uint256 i; i < accounts.length; ++i) {
            uint256 owed_ = escrow.owed(accounts[i]);
            vm.assertEq(owed_, owed[accounts[i]], "4, 8: owed");
            vm.assertEq(balance(accounts[i]) + owed_, wealth[accounts[i]], "3, 4: wealth");
            due += owed_;
        }
    }
}
