// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {BookingId, Completion, IEscrow, State, Terms} from "./interfaces/IEscrow.sol";
import {Messages} from "./libraries/Messages.sol";
import {Booking, NO_BOOKING, Slot, SlotLib} from "./libraries/SlotLib.sol";
import {TermsLib} from "./libraries/TermsLib.sol";

/// @title The escrow, but for how money moves
/// @dev Every verb has one shape: id, checks, compute, write, emit, money last.
abstract contract EscrowCore is IEscrow, EIP712, ReentrancyGuardTransient {
    using TermsLib for Terms;
    using TermsLib for BookingId;
    using SlotLib for Slot;

    uint256 private constant BPS = 10_000;
    uint256 private constant MAX_FEE_BPS = 1_000;
    uint256 private constant MAX_CLAIM_WINDOW = 90 days;

    /// @inheritdoc IEscrow
    uint256 public constant ARBITER_WINDOW = 14 days;

    /// @inheritdoc IEscrow
    address public immutable attester;
    /// @inheritdoc IEscrow
    address public immutable arbiter;
    /// @inheritdoc IEscrow
    uint256 public immutable feeBps;
    /// @inheritdoc IEscrow
    address public immutable feeRecipient;
    /// @inheritdoc IEscrow
    uint256 public immutable claimWindow;
    /// @inheritdoc IEscrow
    bytes32 public immutable seed;

    mapping(BookingId id => Booking) private _bookings;
    /// @inheritdoc IEscrow
    mapping(address account => uint256) public owed;

    constructor(address attester_, address arbiter_, uint256 feeBps_, address feeRecipient_, uint256 claimWindow_)
        EIP712("aitbc", "1")
    {
        require(attester_ != address(0), Escrow_AttesterIsZero());
        require(arbiter_ != attester_, Escrow_ArbiterIsAttester(attester_));
        require(feeBps_ <= MAX_FEE_BPS, Escrow_FeeTooHigh(feeBps_, MAX_FEE_BPS));
        require(feeRecipient_ != address(0), Escrow_FeeRecipientIsZero());
        require(
            claimWindow_ != 0 && claimWindow_ <= MAX_CLAIM_WINDOW,
            Escrow_ClaimWindowOutOfRange(claimWindow_, MAX_CLAIM_WINDOW)
        );

        attester = attester_;
        arbiter = arbiter_;
        feeBps = feeBps_;
        feeRecipient = feeRecipient_;
        claimWindow = claimWindow_;
        seed = keccak256(abi.encode(block.chainid, address(this)));
    }

    /* FUNDING */

    /// @inheritdoc IEscrow
    function fund(Terms memory terms) external payable nonReentrant returns (BookingId id) {
        _requireSender(terms.buyer);
        id = _open(terms);

        _pull(terms.amount);
    }

    /// @inheritdoc IEscrow
    function fundMany(Terms[] memory terms) external payable nonReentrant returns (BookingId[] memory ids) {
        ids = new BookingId[](terms.length);
        uint256 total;
        for (uint256 i; i < terms.length; ++i) {
            _requireSender(terms[i].buyer);
            ids[i] = _open(terms[i]);
            total += terms[i].amount;
        }

        _pull(total);
    }

    /* DURING AND AFTER A BOOKING */

    /// @inheritdoc IEscrow
    function claim(Terms memory terms, uint256 earned, bytes calldata signature) external nonReentrant {
        BookingId id = idOf(terms);
        Slot slot = _requireUnclosed(id);
        uint256 end = _meterEnd(id, slot.state(), terms);
        _requireBefore(_windowEnd(end));
        _requireReceipt(id, terms, Math.min(block.timestamp, end), earned, signature);

        uint256 claimed = terms.amount - slot.remaining();
        if (earned <= claimed) return;
        uint256 left = terms.amount - earned;
        (uint256 paid, uint256 fee) = _split(slot.remaining(), left);

        if (left == 0) _close(id, terms);
        else _bookings[id].slot = SlotLib.pack(slot.provider(), uint88(left), slot.state());
        _creditFee(fee);
        emit Claimed(id, paid, fee);

        _pay(slot.provider(), paid);
    }

    /// @inheritdoc IEscrow
    function settle(Terms memory terms, uint256 earned, bytes32 evidence, bytes calldata signature)
        external
        nonReentrant
    {
        BookingId id = idOf(terms);
        if (msg.sender != attester) _requireAttested(Messages.completion(id, earned, evidence), signature);
        Slot slot = _bookings[id].slot;
        bytes memory refusal = _refusal(id, slot, terms, earned);
        if (refusal.length > 0) LowLevelCall.bubbleRevert(refusal);

        (uint256 paid, uint256 fee, uint256 refunded) = _divide(slot, terms, earned);

        _close(id, terms);
        _creditFee(fee);
        emit Settled(id, paid, fee, refunded, evidence);

        _pay(slot.provider(), paid);
        _refund(terms.buyer, refunded);
    }

    /// @inheritdoc IEscrow
    function settleMany(BookingId[] calldata ids, bytes calldata signature) external nonReentrant {
        if (msg.sender != attester) _requireAttested(Messages.settleMany(ids), signature);

        Slot[] memory payments = new Slot[](ids.length);
        uint256 fees;
        for (uint256 i; i < ids.length; ++i) {
            BookingId id = ids[i];
            uint256 endsAt = id.endOf();
            if (block.timestamp < endsAt || block.timestamp >= _windowEnd(endsAt)) continue;
            Booking storage stored = _bookings[id];
            Slot slot = stored.slot;
            if (!slot.isOpen()) continue;
            uint256 fee = _feeOn(slot.remaining());

            // No need to keep `Closed`: from its end on, a booking can no longer be funded.
            stored.slot = NO_BOOKING;
            emit SettledInFull(id, fee);

            payments[i] = slot.less(fee);
            unchecked {
                fees += fee;
            }
        }
        _creditFee(fees);

        _payEachRun(payments);
    }

    /// @inheritdoc IEscrow
    function settleEach(Completion[] memory completions, bytes calldata signature) external nonReentrant {
        BookingId[] memory ids = _idsOf(completions);
        if (msg.sender != attester) _requireAttested(_hashCompletions(ids, completions), signature);

        uint256[] memory payments = new uint256[](ids.length);
        uint256[] memory refunds = new uint256[](ids.length);
        uint256 fees;
        for (uint256 i; i < ids.length; ++i) {
            Completion memory c = completions[i];
            Slot slot = _bookings[ids[i]].slot;
            if (_refusal(ids[i], slot, c.terms, c.earned).length > 0) continue;

            uint256 fee;
            (payments[i], fee, refunds[i]) = _divide(slot, c.terms, c.earned);

            _close(ids[i], c.terms);
            emit Settled(ids[i], payments[i], fee, refunds[i], c.evidence);

            fees += fee;
        }
        _creditFee(fees);

        for (uint256 i; i < ids.length; ++i) {
            _pay(completions[i].terms.provider, payments[i]);
            _refund(completions[i].terms.buyer, refunds[i]);
        }
    }

    /// @inheritdoc IEscrow
    function cancel(Terms memory terms) external nonReentrant {
        BookingId id = idOf(terms);
        Slot slot = _requireUnclosed(id);
        if (msg.sender != slot.provider()) {
            require(msg.sender == terms.buyer, Escrow_NotAParty(msg.sender));
            _requireBefore(terms.startsAt);
        }

        _close(id, terms);
        emit Cancelled(id, msg.sender, slot.remaining());

        _refund(terms.buyer, slot.remaining());
    }

    /// @inheritdoc IEscrow
    function dispute(Terms memory terms) external nonReentrant {
        BookingId id = idOf(terms);
        require(arbiter != address(0), Escrow_NoArbiter());
        _requireSender(terms.buyer);
        Slot slot = _bookings[id].slot;
        require(slot.state() == State.Open, Escrow_NotOpen(id, slot.state()));
        _requireFrom(terms.startsAt);
        _requireBefore(terms.endsAt);

        _bookings[id].slot = SlotLib.pack(slot.provider(), slot.remaining(), State.Disputed);
        _bookings[id].disputedAt = block.timestamp;
        emit Disputed(id);
    }

    /// @inheritdoc IEscrow
    function resolve(Terms memory terms, uint256 earned) external nonReentrant {
        BookingId id = idOf(terms);
        require(msg.sender == arbiter, Escrow_SenderIsNotArbiter(msg.sender, arbiter));
        Slot slot = _bookings[id].slot;
        require(slot.state() == State.Disputed, Escrow_NotDisputed(id, slot.state()));
        uint256 from = _windowEnd(disputedAt(id));
        _requireFrom(from);
        _requireBefore(from + ARBITER_WINDOW);
        _requireWithinAmount(earned, terms);
        (uint256 paid, uint256 fee, uint256 refunded) = _divide(slot, terms, earned);

        _close(id, terms);
        _creditFee(fee);
        emit Resolved(id, paid, fee, refunded);

        _pay(slot.provider(), paid);
        _refund(terms.buyer, refunded);
    }

    /// @inheritdoc IEscrow
    function reclaim(Terms memory terms) external nonReentrant {
        BookingId id = idOf(terms);
        Slot slot = _requireUnclosed(id);
        uint256 from = _windowEnd(_meterEnd(id, slot.state(), terms));
        if (slot.state() == State.Disputed) from += ARBITER_WINDOW;
        _requireFrom(from);

        _close(id, terms);
        emit Reclaimed(id, slot.remaining());

        _refund(terms.buyer, slot.remaining());
    }

    /// @inheritdoc IEscrow
    function withdraw(address account, address to) external nonReentrant {
        require(msg.sender == account || to == account, Escrow_SenderIsNotAccount(msg.sender, account));
        uint256 amount = owed[account];
        require(amount > 0, Escrow_NothingOwed(account));

        delete owed[account];
        emit Withdrawn(account, to, amount);

        require(_pushAllGas(to, amount), Escrow_TransferFailed(to, amount));
    }

    /* READING */

    /// @inheritdoc IEscrow
    function idOf(Terms memory terms) public view returns (BookingId) {
        return terms.toId(seed);
    }

    /// @inheritdoc IEscrow
    function booking(BookingId id) external view returns (address provider, uint88 remaining, State state) {
        Slot slot = _bookings[id].slot;
        return (slot.provider(), slot.remaining(), slot.state());
    }

    /// @inheritdoc IEscrow
    function disputedAt(BookingId id) public view returns (uint256) {
        return _bookings[id].disputedAt;
    }

    /// @inheritdoc IEscrow
    function token() external view virtual returns (address);

    /* MOVING MONEY */

    /// @dev Takes `amount` from the sender, or reverts.
    function _pull(uint256 amount) internal virtual;

    /// @dev Sends `amount > 0` with bounded gas. Returns false, and moves nothing, if that fails.
    function _push(address to, uint256 amount) internal virtual returns (bool sent);

    /// @dev As `_push`, with all the gas there is.
    function _pushAllGas(address to, uint256 amount) internal virtual returns (bool sent);

    /// @dev Fees are below 2^85 each: their sum cannot wrap.
    function _creditFee(uint256 fee) private {
        unchecked {
            owed[feeRecipient] += fee;
        }
    }

    function _pay(address provider, uint256 amount) private {
        if (amount == 0 || _push(provider, amount)) return;

        owed[provider] += amount;
        emit PayoutDeferred(provider, amount);
    }

    /// @dev Pays what remains in each slot, with one payment for each run of slots with the same provider.
    function _payEachRun(Slot[] memory slots) private {
        address provider;
        uint256 payment;
        for (uint256 i; i < slots.length; ++i) {
            Slot slot = slots[i];
            if (!slot.isOpen()) continue;
            if (slot.provider() != provider) {
                _pay(provider, payment);
                (provider, payment) = (slot.provider(), 0);
            }
            unchecked {
                payment += slot.remaining();
            }
        }
        _pay(provider, payment);
    }

    function _refund(address buyer, uint256 amount) private {
        if (amount == 0 || _push(buyer, amount)) return;

        owed[buyer] += amount;
        emit RefundDeferred(buyer, amount);
    }

    /* CHECKS */

    function _requireSender(address buyer) internal view {
        require(msg.sender == buyer, Escrow_SenderIsNotBuyer(msg.sender, buyer));
    }

    /// @dev Open or Disputed.
    function _requireUnclosed(BookingId id) private view returns (Slot slot) {
        slot = _bookings[id].slot;
        State state = slot.state();
        require(state == State.Open || state == State.Disputed, Escrow_NotOpen(id, state));
    }

    function _requireFrom(uint256 time) private view {
        require(block.timestamp >= time, Escrow_TooEarly(block.timestamp, time));
    }

    function _requireBefore(uint256 time) private view {
        require(block.timestamp < time, Escrow_TooLate(block.timestamp, time));
    }

    function _requireWithinAmount(uint256 earned, Terms memory terms) private pure {
        require(earned <= terms.amount, Escrow_EarnedAboveAmount(earned, terms.amount));
    }

    /// @dev Why `settle` refuses, as the encoded error; empty if it does not.
    function _refusal(BookingId id, Slot slot, Terms memory terms, uint256 earned) private view returns (bytes memory) {
        if (!slot.isOpen()) return abi.encodeWithSelector(Escrow_NotOpen.selector, id, slot.state());

        uint256 before = _windowEnd(terms.endsAt);
        if (block.timestamp >= before) {
            return abi.encodeWithSelector(Escrow_TooLate.selector, block.timestamp, before);
        }

        uint256 cap = terms.capAt(block.timestamp);
        if (earned > cap) return abi.encodeWithSelector(Escrow_AheadOfClock.selector, earned, cap);

        return "";
    }

    /// @dev The attester is tried before the buyer, so that the clock binds whoever is both; keys before code, so that
    /// an attester's code has no say in what a buyer's key signed.
    function _requireReceipt(BookingId id, Terms memory terms, uint256 clock, uint256 earned, bytes calldata signature)
        private
        view
    {
        bytes32 digest = _hashTypedDataV4(Messages.receipt(id, earned));
        address recovered = _recover(digest, signature);
        bool byBuyersKey = recovered == terms.buyer;
        if (recovered == attester || (!byBuyersKey && _isSignedByCode(attester, digest, signature))) {
            uint256 cap = terms.capAt(clock);
            require(earned <= cap, Escrow_AheadOfClock(earned, cap));
        } else {
            require(byBuyersKey || _isSignedByCode(terms.buyer, digest, signature), Escrow_InvalidSignature(digest));
            _requireWithinAmount(earned, terms);
        }
    }

    function _requireAttested(bytes32 structHash, bytes calldata signature) private view {
        bytes32 digest = _hashTypedDataV4(structHash);
        require(
            _recover(digest, signature) == attester || _isSignedByCode(attester, digest, signature),
            Escrow_InvalidSignature(digest)
        );
    }

    /// @dev The account whose key signed, or 0, which is nobody's address.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address recovered) {
        // No need to look at the error: a recovery that failed leaves 0.
        // slither-disable-next-line unused-return
        (recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
    }

    /// @dev By ERC-1271. An account with code may use its key as well.
    function _isSignedByCode(address account, bytes32 digest, bytes calldata signature) private view returns (bool) {
        return
            account.code.length > 0 && SignatureChecker.isValidERC1271SignatureNowCalldata(account, digest, signature);
    }

    /* COMPUTING AND WRITING */

    /// @dev Where the clock of an unclosed booking stops, and its claim window begins.
    function _meterEnd(BookingId id, State state, Terms memory terms) private view returns (uint256) {
        return state == State.Disputed ? disputedAt(id) : terms.endsAt;
    }

    /// @dev End of the claim window that begins at `time`, a time of a block or of terms: far from wrapping.
    function _windowEnd(uint256 time) private view returns (uint256) {
        unchecked {
            return time + claimWindow;
        }
    }

    /// @dev What leaves when `remaining` falls from `before` to `left`. The fee telescopes over split payments.
    function _split(uint256 before, uint256 left) private view returns (uint256 paid, uint256 fee) {
        // left <= before, and no fee is above what it is taken from.
        unchecked {
            fee = _feeOn(before) - _feeOn(left);
            paid = before - left - fee;
        }
    }

    /// @dev F(x) of the invariants: x < 2^88, and feeBps <= BPS.
    function _feeOn(uint256 amount) private view returns (uint256) {
        unchecked {
            return (amount * feeBps) / BPS;
        }
    }

    /// @dev Who may fund is for the caller to check: the sender, or whoever signed for the money.
    function _open(Terms memory terms) internal returns (BookingId id) {
        id = idOf(terms);
        require(terms.provider != address(0), Escrow_ProviderIsZero());
        require(terms.amount > 0, Escrow_AmountIsZero());
        require(block.timestamp < terms.fundBy, Escrow_FundingClosed(block.timestamp, terms.fundBy));
        require(
            terms.fundBy <= terms.startsAt && terms.startsAt < terms.endsAt,
            Escrow_TimesOutOfOrder(terms.fundBy, terms.startsAt, terms.endsAt)
        );
        require(_bookings[id].slot.state() == State.None, Escrow_AlreadyFunded(id));

        _bookings[id].slot = SlotLib.pack(terms.provider, terms.amount, State.Open);
        emit Funded(id, terms.buyer, terms.provider, terms);
    }

    /// @dev From `startsAt` on the slot is deleted: `fundBy <= startsAt`, so that it can never be opened again.
    function _close(BookingId id, Terms memory terms) private {
        if (block.timestamp < terms.startsAt) _bookings[id].slot = SlotLib.pack(address(0), 0, State.Closed);
        else _bookings[id].slot = NO_BOOKING;
    }

    /// @dev How `remaining` divides when the provider is to end with `max(earned, claimed)`.
    function _divide(Slot slot, Terms memory terms, uint256 earned)
        private
        view
        returns (uint256 paid, uint256 fee, uint256 refunded)
    {
        uint256 amount = terms.amount;
        uint256 remaining = slot.remaining();
        // remaining <= amount, and earned <= amount was checked.
        unchecked {
            refunded = amount - Math.max(earned, amount - remaining);
        }
        (paid, fee) = _split(remaining, refunded);
    }

    function _idsOf(Completion[] memory completions) private view returns (BookingId[] memory ids) {
        ids = new BookingId[](completions.length);
        for (uint256 i; i < ids.length; ++i) {
            ids[i] = idOf(completions[i].terms);
        }
    }

    function _hashCompletions(BookingId[] memory ids, Completion[] memory completions) private pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](ids.length);
        for (uint256 i; i < ids.length; ++i) {
            hashes[i] = Messages.completion(ids[i], completions[i].earned, completions[i].evidence);
        }
        return Messages.settleEach(hashes);
    }
}
