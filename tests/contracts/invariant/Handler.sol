// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, IEscrow, State, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {vm} from "../support/Vm.sol";
import {Cast} from "./Cast.sol";
import {Record} from "./Ledger.sol";

/// @title What may happen to an escrow, step by step
/// @notice Every step is one that the state table allows, so that none may revert; where a step finds no booking that
/// it fits, it funds one. Numbers are seeds.
abstract contract Handler is Cast {
    Record private _none;

    /* FUNDING */

    function stepFund(uint256 seed) public {
        Terms memory t = draft(seed);
        calm(t.buyer);
        fund(t);
        recordFunded(t);
    }

    function stepFundMany(uint256 seed) external {
        Terms[] memory batch = new Terms[](draw(seed, 4));
        address payer = buyers[draw(seed, buyers.length)];
        uint256 total;
        for (uint256 i; i < batch.length; ++i) {
            batch[i] = draft(seed);
            batch[i].buyer = payer;
            total += batch[i].amount;
            recordFunded(batch[i]);
        }

        calm(payer);
        vm.prank(payer);
        escrow.fundMany{value: value(total)}(batch);
    }

    /// @dev Never allowed, even long after it was closed: an id is funded once.
    function stepFundAgain(uint256 seed) external {
        if (records.length == 0) return stepFund(seed);
        Terms memory t = records[draw(seed, records.length)].terms;
        calm(t.buyer);

        vm.prank(t.buyer);
        try escrow.fund{value: value(t.amount)}(t) {
            revert("funded twice");
        } catch {}
    }

    /* DURING AND AFTER A BOOKING */

    /// @dev Any statement: one ahead of the clock, and no other, is refused.
    function stepClaim(uint256 seed, uint256 statement) external {
        (bool found, Record storage r) = pick(seed, isClaimable);
        if (!found) return stepFund(seed);
        uint256 earned = statement % (r.terms.amount + uint256(1));
        bytes memory signature = signReceipt(r.terms, earned, attester);

        vm.prank(stranger.addr);
        try escrow.claim(r.terms, earned, signature) {
            recordAttested(r, earned);
        } catch (bytes memory reason) {
            assertAheadOfClock(r, earned, reason);
        }
    }

    function stepClaimByBuyer(uint256 seed, uint256 statement) external {
        (bool found, Record storage r) = pick(seed, isClaimable);
        if (!found) return stepFund(seed);
        uint256 earned = statement % (r.terms.amount + uint256(1));

        claim(r.terms, earned, signerOf(r.terms.buyer));
        recordEarned(r, earned);
    }

    /// @dev As `stepClaim`.
    function stepSettle(uint256 seed, uint256 statement, bool relayed) external {
        (bool found, Record storage r) = pick(seed, isSettleable);
        if (!found) return stepFund(seed);
        uint256 most = draw(seed, 2) == 0 ? clock(r) : r.terms.amount;
        uint256 earned = statement % (most + 1);
        bytes memory signature = relayed ? signCompletion(r.terms, earned, attester) : NO_SIGNATURE;

        vm.prank(relayed ? stranger.addr : attester.addr);
        try escrow.settle(r.terms, earned, EVIDENCE, signature) {
            recordAttested(r, earned);
            if (r.state != State.Closed) recordClosed(r);
        } catch (bytes memory reason) {
            assertAheadOfClock(r, earned, reason);
        }
    }

    /// @dev Any ids, some of them more than once: what is not due is skipped.
    function stepSettleMany(uint256 seed, bool relayed) external {
        if (records.length == 0) return stepFund(seed);
        BookingId[] memory ids = new BookingId[](draw(seed, 6));
        uint256[] memory chosen = new uint256[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            chosen[i] = draw(seed, records.length);
            ids[i] = records[chosen[i]].id;
        }
        bytes memory signature = relayed ? signMany(ids, attester) : NO_SIGNATURE;

        vm.prank(relayed ? stranger.addr : attester.addr);
        escrow.settleMany(ids, signature);
        for (uint256 i; i < ids.length; ++i) {
            Record storage r = records[chosen[i]];
            if (isSettleable(r) && block.timestamp >= r.terms.endsAt) recordAttested(r, r.terms.amount);
        }
    }

    /// @dev Any bookings with any statements, some of them more than once: what `settle` would refuse is skipped.
    function stepSettleEach(uint256 seed, bool relayed) external {
        if (records.length == 0) return stepFund(seed);
        Completion[] memory completions = new Completion[](draw(seed, 5));
        uint256[] memory chosen = new uint256[](completions.length);
        for (uint256 i; i < completions.length; ++i) {
            chosen[i] = draw(seed, records.length);
            Record storage r = records[chosen[i]];
            uint256 most = draw(seed, 2) == 0 ? clock(r) : r.terms.amount;
            completions[i] = Completion(r.terms, draw(seed, most + 1), EVIDENCE);
        }
        bytes memory signature = relayed ? signEach(completions, attester) : NO_SIGNATURE;

        vm.prank(relayed ? stranger.addr : attester.addr);
        escrow.settleEach(completions, signature);
        for (uint256 i; i < completions.length; ++i) {
            Record storage r = records[chosen[i]];
            if (!isSettleable(r) || completions[i].earned > clock(r)) continue;
            recordAttested(r, completions[i].earned);
            if (r.state != State.Closed) recordClosed(r);
        }
    }

    function stepCancelByBuyer(uint256 seed) external {
        (bool found, Record storage r) = pick(seed, isCancellable);
        if (!found) return stepFund(seed);
        cancel(r.terms, r.terms.buyer);
        recordClosed(r);
    }

    function stepCancelByProvider(uint256 seed) external {
        (bool found, Record storage r) = pick(seed, isUnclosed);
        if (!found) return stepFund(seed);
        cancel(r.terms, r.terms.provider);
        recordClosed(r);
    }

    function stepDispute(uint256 seed) external {
        (bool found, Record storage r) = pick(seed, isUnended);
        if (!found) return stepFund(seed);
        reach(r.terms.startsAt + draw(seed, r.terms.endsAt - r.terms.startsAt));
        dispute(r.terms);
        (r.state, r.disputedAt) = (State.Disputed, block.timestamp);
    }

    function stepResolve(uint256 seed, uint256 statement) external {
        (bool found, Record storage r) = pick(seed, isResolvable);
        if (!found) return stepFund(seed);
        uint256 earned = statement % (r.terms.amount + uint256(1));
        reach(r.disputedAt + WINDOW);
        resolve(r.terms, earned);
        recordEarned(r, earned);
        if (r.state != State.Closed) recordClosed(r);
    }

    function stepReclaim(uint256 seed) external {
        (bool found, Record storage r) = pick(seed, isReclaimable);
        if (!found) return stepFund(seed);
        reclaim(r.terms);
        recordClosed(r);
    }

    /// @dev To the account itself, sent by anyone, or, where it cannot be paid, to another that it names.
    function stepWithdraw(uint256 seed) external {
        address who = accounts[draw(seed, accounts.length)];
        if (owed[who] == 0) return stepFund(seed);
        withdrawAll(who);
    }

    /* THE WORLD */

    /// @dev To a deadline of some booking, a second around it; or on by some minutes.
    function stepWait(uint256 seed) external {
        uint256 time = block.timestamp + draw(seed, 600);
        if (records.length > 0) {
            Record memory r = records[draw(seed, records.length)];
            uint256 end = r.state == State.Disputed ? r.disputedAt : r.terms.endsAt;
            uint256[6] memory deadlines =
                [r.terms.fundBy, r.terms.startsAt, r.terms.endsAt, end, end + WINDOW, end + WINDOW + ARBITER_WINDOW];
            uint256 deadline = deadlines[draw(seed, deadlines.length)] + draw(seed, 3) - 1;
            if (deadline > block.timestamp) time = deadline;
        }
        vm.warp(time);
    }

    function stepChangeMood(uint256 seed, bool other) external {
        HostileWallet changed = other ? otherWallet : wallet;
        HostileWallet.Mood mood = HostileWallet.Mood(draw(seed, uint256(type(HostileWallet.Mood).max) + 1));
        changed.setReentry(address(escrow), abi.encodeCall(IEscrow.withdraw, (address(changed), address(changed))));
        changed.setMood(mood);
    }

    function stepDonate(uint88 amount) external {
        give(address(escrow), amount);
        donated += amount;
    }

    /// @notice Without the attester and the arbiter: all bookings are left and all that is owed is fetched.
    function leaveAll() internal {
        reach(block.timestamp + 365 days);
        for (uint256 i; i < records.length; ++i) {
            if (records[i].state == State.Closed) continue;
            reclaim(records[i].terms);
            recordClosed(records[i]);
        }
        for (uint256 i; i < accounts.length; ++i) {
            if (owed[accounts[i]] > 0) withdrawAll(accounts[i]);
        }
    }

    function withdrawAll(address who) private {
        address to = refuses(who) ? heir.addr : who;
        vm.prank(to == who ? stranger.addr : who);
        escrow.withdraw(who, to);
        recordWithdrawn(who, to);
    }

    function recordAttested(Record storage r, uint256 earned) private {
        if (earned > r.attested) r.attested = earned;
        recordEarned(r, earned);
    }

    function assertAheadOfClock(Record storage r, uint256 earned, bytes memory reason) private view {
        vm.assertTrue(earned > clock(r), "refused within the clock");
        vm.assertEq(bytes32(bytes4(reason)), bytes32(IEscrow.Escrow_AheadOfClock.selector));
    }

    function reach(uint256 time) private {
        if (time > block.timestamp) vm.warp(time);
    }

    /* WHICH BOOKINGS */

    /// @dev The first that fits, from a random one on.
    function pick(uint256 seed, function(Record storage) view returns (bool) fits)
        private
        view
        returns (bool found, Record storage r)
    {
        r = _none;
        for (uint256 i; i < records.length && !found; ++i) {
            r = records[addmod(seed, i, records.length)];
            found = fits(r);
        }
    }
}
