// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {EscrowTest} from "../support/EscrowTest.sol";

/// @notice What should have become of a booking, whatever its slot says.
struct Record {
    BookingId id;
    Terms terms;
    State state;
    /// @notice Left to the provider in all, the fee on it included.
    uint256 earned;
    /// @notice The highest statement of the attester that was accepted.
    uint256 attested;
    uint256 refunded;
    uint256 disputedAt;
}

/// @title Books kept beside the escrow's: what its verbs should have done
abstract contract Ledger is EscrowTest {
    Record[] internal records;
    address[] internal accounts;

    /// @dev What each account should have and be owed, together.
    mapping(address account => uint256) internal wealth;
    /// @dev Of that, what it should be owed.
    mapping(address account => uint256) internal owed;
    /// @dev What was sent to the escrow outside its verbs.
    uint256 internal donated;

    function recordFunded(Terms memory t) internal {
        Record storage r = records.push();
        r.id = idOf(t);
        r.terms = t;
        r.state = State.Open;
        wealth[t.buyer] -= t.amount;
    }

    /// @dev The provider is to end with `earned`, or what it has if that is more.
    function recordEarned(Record storage r, uint256 earned) internal {
        if (earned <= r.earned) return;
        uint256 cost = feeOf(r.terms.amount, earned) - feeOf(r.terms.amount, r.earned);
        uint256 part = earned - r.earned - cost;

        r.earned = earned;
        if (remaining(r) == 0) r.state = State.Closed;
        wealth[feeRecipient.addr] += cost;
        owed[feeRecipient.addr] += cost;
        recordPayment(r.terms.provider, part);
    }

    /// @dev What remains goes back to the buyer.
    function recordClosed(Record storage r) internal {
        uint256 part = remaining(r);

        r.refunded += part;
        r.state = State.Closed;
        recordPayment(r.terms.buyer, part);
    }

    function recordWithdrawn(address who, address to) internal {
        wealth[who] -= owed[who];
        wealth[to] += owed[who];
        delete owed[who];
    }

    function recordPayment(address to, uint256 amount) private {
        wealth[to] += amount;
        if (refuses(to)) owed[to] += amount;
    }

    /// @dev Whether a payment to the account fails.
    function refuses(address who) internal view virtual returns (bool);

    function remaining(Record storage r) internal view returns (uint256) {
        return r.terms.amount - r.earned - r.refunded;
    }

    /// @dev The fee on all that was earned, in whatever parts it left: F(amount) - F(amount - earned).
    function feeOf(uint256 amount, uint256 earned) internal pure returns (uint256) {
        return fee(amount) - fee(amount - earned);
    }
}
