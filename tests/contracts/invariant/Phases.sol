// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {State} from "../../../contracts/interfaces/IEscrow.sol";
import {Ledger, Record} from "./Ledger.sol";

/// @title The state table's conditions on a booking and the time
abstract contract Phases is Ledger {
    /// @dev What the attester may state.
    function clock(Record storage r) internal view returns (uint256) {
        uint256 time = r.disputedAt > 0 ? r.disputedAt : block.timestamp;
        if (time <= r.terms.startsAt) return 0;
        if (time >= r.terms.endsAt) return r.terms.amount;
        return uint256(r.terms.amount) * (time - r.terms.startsAt) / (r.terms.endsAt - r.terms.startsAt);
    }

    function isUnclosed(Record storage r) internal view returns (bool) {
        return r.state != State.Closed;
    }

    function isClaimable(Record storage r) internal view returns (bool) {
        return isUnclosed(r) && block.timestamp < windowEnd(r);
    }

    function isSettleable(Record storage r) internal view returns (bool) {
        return r.state == State.Open && block.timestamp < windowEnd(r);
    }

    /// @dev By the buyer.
    function isCancellable(Record storage r) internal view returns (bool) {
        return r.state == State.Open && block.timestamp < r.terms.startsAt;
    }

    /// @dev Can be disputed, now or from its start on.
    function isUnended(Record storage r) internal view returns (bool) {
        return r.state == State.Open && block.timestamp < r.terms.endsAt;
    }

    /// @dev Now or from the arbiter's time on.
    function isResolvable(Record storage r) internal view returns (bool) {
        return r.state == State.Disputed && block.timestamp < windowEnd(r) + ARBITER_WINDOW;
    }

    function isReclaimable(Record storage r) internal view returns (bool) {
        uint256 arbiterTime = r.state == State.Disputed ? ARBITER_WINDOW : 0;
        return isUnclosed(r) && block.timestamp >= windowEnd(r) + arbiterTime;
    }

    function windowEnd(Record storage r) private view returns (uint256) {
        return (r.state == State.Disputed ? r.disputedAt : r.terms.endsAt) + WINDOW;
    }
}
