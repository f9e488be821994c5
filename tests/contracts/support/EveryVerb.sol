// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Completion, IEscrow, Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {Permit2} from "./Permit2.sol";
import {TokenSignatures} from "./TokenSignatures.sol";
import {vm} from "./Vm.sol";
import {NativeWallets, TokenWallets, WalletTest} from "./WalletTest.sol";

enum Verb {
    Fund,
    FundMany,
    Claim,
    Settle,
    SettleMany,
    SettleEach,
    Cancel,
    Dispute,
    Resolve,
    Reclaim,
    Withdraw,
    FundWithPermit,
    FundWithAuthorization,
    FundWithPermit2
}

/// @title Every verb as a call that would succeed at one moment, `NOW`
/// @dev The wallet is buyer, provider, arbiter and sender: it is called by every movement of money.
abstract contract EveryVerb is WalletTest {
    uint256 internal constant NOW = BEGIN + 10 days;
    uint256 private constant CORE_VERBS = uint256(Verb.Withdraw) + 1;

    constructor() {
        arbiter.addr = address(wallet);
    }

    /// @dev Those of this escrow.
    function verbs() internal view returns (Verb[] memory all) {
        all = new Verb[](isTokenEscrow() ? uint256(type(Verb).max) + 1 : CORE_VERBS);
        for (uint256 i; i < all.length; ++i) {
            all[i] = Verb(i);
        }
    }

    /// @dev Those that call the wallet: all but `dispute`; a token with hooks calls who pays, too.
    function payingVerbs() internal view returns (Verb[] memory paying) {
        Verb[] memory all = verbs();
        paying = new Verb[](all.length);
        uint256 count;
        for (uint256 i; i < all.length; ++i) {
            if (all[i] != Verb.Dispute && (isTokenEscrow() || !isFunding(all[i]))) paying[count++] = all[i];
        }
        assembly ("memory-safe") {
            mstore(paying, count)
        }
    }

    function isTokenEscrow() internal view virtual returns (bool);

    /// @dev The verbs that only a token escrow has.
    function encodeTokenVerb(Verb verb, Terms memory t) internal view virtual returns (bytes memory);

    /// @dev A booking that `verb` can be called with at `NOW`.
    function book(Verb verb) internal returns (Terms memory t) {
        endow(address(wallet));
        t = terms();
        (t.buyer, t.provider) = (address(wallet), address(wallet));
        if (isFunding(verb)) {
            (t.fundBy, t.startsAt, t.endsAt) = (uint32(NOW + 1), uint32(NOW + 1), uint32(NOW + 1 + DURATION));
            return t;
        }

        t.endsAt = endFor(verb);
        t.startsAt = uint32(t.endsAt - DURATION);
        fund(t);
        if (verb == Verb.Resolve) disputeAt(t, NOW - WINDOW);
        if (verb == Verb.Withdraw) refuse(t);
    }

    /// @dev As the wallet sends it.
    function send(Verb verb, Terms memory t) internal {
        bytes memory data = encode(verb, t);
        bool payable_ = verb == Verb.Fund || verb == Verb.FundMany;
        vm.prank(address(wallet));
        // solhint-disable-next-line avoid-low-level-calls
        (bool ok,) = address(escrow).call{value: payable_ ? value(t.amount) : 0}(data);
        vm.assertTrue(ok, "the verb was refused");
    }

    /// @dev Half of the booking is earned where a verb divides it, so that both parties are paid.
    function encode(Verb verb, Terms memory t) internal view returns (bytes memory) {
        if (verb > Verb.Withdraw) return encodeTokenVerb(verb, t);

        uint256 half = AMOUNT / 2;
        if (verb == Verb.Fund) return abi.encodeCall(IEscrow.fund, (t));
        if (verb == Verb.FundMany) return abi.encodeCall(IEscrow.fundMany, (batchOf(t)));
        if (verb == Verb.Claim) return abi.encodeCall(IEscrow.claim, (t, half, signReceipt(t, half, attester)));
        if (verb == Verb.Settle) {
            return abi.encodeCall(IEscrow.settle, (t, half, EVIDENCE, signCompletion(t, half, attester)));
        }
        if (verb == Verb.SettleMany) {
            BookingId[] memory ids = new BookingId[](1);
            ids[0] = idOf(t);
            return abi.encodeCall(IEscrow.settleMany, (ids, signMany(ids, attester)));
        }
        if (verb == Verb.SettleEach) {
            Completion[] memory completions = new Completion[](1);
            completions[0] = Completion(t, half, EVIDENCE);
            return abi.encodeCall(IEscrow.settleEach, (completions, signEach(completions, attester)));
        }
        if (verb == Verb.Cancel) return abi.encodeCall(IEscrow.cancel, (t));
        if (verb == Verb.Dispute) return abi.encodeCall(IEscrow.dispute, (t));
        if (verb == Verb.Resolve) return abi.encodeCall(IEscrow.resolve, (t, half));
        if (verb == Verb.Reclaim) return abi.encodeCall(IEscrow.reclaim, (t));
        return abi.encodeCall(IEscrow.withdraw, (t.provider, t.provider));
    }

    function isFunding(Verb verb) private pure returns (bool) {
        return verb == Verb.Fund || verb == Verb.FundMany || verb > Verb.Withdraw;
    }

    function endFor(Verb verb) private pure returns (uint32) {
        if (verb == Verb.Dispute) return uint32(NOW + 1);
        if (verb == Verb.Reclaim) return uint32(NOW - WINDOW);
        if (verb == Verb.Resolve) return uint32(NOW - WINDOW + 1);
        return uint32(NOW);
    }

    function disputeAt(Terms memory t, uint256 time) private {
        vm.warp(time);
        dispute(t);
        vm.warp(BEGIN);
    }

    /// @dev Leaves the booking's money owed to the wallet.
    function refuse(Terms memory t) private {
        wallet.setMood(HostileWallet.Mood.Reject);
        cancel(t, address(wallet));
        wallet.setMood(HostileWallet.Mood.Accept);
    }

    function batchOf(Terms memory t) private pure returns (Terms[] memory batch) {
        batch = new Terms[](1);
        batch[0] = t;
    }
}

abstract contract EveryTokenVerb is EveryVerb, TokenSignatures, TokenWallets {
    constructor() {
        vm.prank(address(wallet));
        dollar.approve(Permit2.ADDRESS, type(uint256).max);
    }

    function isTokenEscrow() internal pure override returns (bool) {
        return true;
    }

    function encodeTokenVerb(Verb verb, Terms memory t) internal view override returns (bytes memory) {
        if (verb == Verb.FundWithPermit) return encodePermit(t, owner);
        if (verb == Verb.FundWithAuthorization) return encodeAuthorization(t, owner);
        return encodePermit2(t, 0, owner);
    }
}

abstract contract EveryNativeVerb is EveryVerb, NativeWallets {
    function isTokenEscrow() internal pure override returns (bool) {
        return false;
    }

    function encodeTokenVerb(Verb, Terms memory) internal pure override returns (bytes memory) {
        revert("a token escrow's verb");
    }
}
