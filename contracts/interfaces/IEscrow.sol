// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

/// @notice The first 28 bytes of `keccak256(abi.encode(seed, terms))`, then `uint32 endsAt`.
type BookingId is bytes32;

/// @notice What buyer and provider agreed on. Hashed into the booking id, emitted when funded, never stored.
struct Terms {
    /// @notice Whose money is locked, and who receives what was not earned.
    address buyer;
    /// @notice The wallet that is paid.
    address provider;
    /// @notice Price of the whole booking, in base units of the escrow's token or coin.
    uint88 amount;
    /// @notice The booking can be funded before this time only (UTC seconds).
    uint32 fundBy;
    /// @notice First second that can be earned.
    uint32 startsAt;
    /// @notice First second after the booking.
    uint32 endsAt;
    /// @notice EIP-712 digest of the provider-signed listing; opaque to the contract.
    bytes32 listing;
    /// @notice The buyer's random number: makes the id of otherwise equal terms differ.
    uint64 salt;
}

/// @notice The attester's statement of what a booking earned in all, and the hash of its evidence.
struct Completion {
    Terms terms;
    uint256 earned;
    bytes32 evidence;
}

/// @notice `None` is never written: it is a booking that was never funded, or one that was closed from `startsAt` on.
enum State {
    None,
    Open,
    Disputed,
    Closed
}

/// @title The escrow of one GPU market
/// @notice Locks the price of a booking and splits it between the booking's own buyer and provider.
///
/// Whoever attests decides only how a booking splits between its two parties, inside the clock:
/// `cap(t) = floor(amount * (min(t, endsAt) - startsAt) / (endsAt - startsAt))`, 0 before `startsAt`.
///
/// A fee `F(x) = floor(x * feeBps / 10000)` is taken from what leaves to the provider: a payment that takes
/// `remaining` from R to R' costs `F(R) - F(R')`, so that the total does not depend on how claims were split.
/// Refunds bear none.
///
/// @dev The state table, the invariants and the assumptions are in `contracts/README.md`.
/// @dev A push that fails never reverts a verb: the money becomes `owed` and waits for `withdraw`.
/// @dev Signatures are EIP-712 in the domain `{name: "aitbc", version: "1", chainId, verifyingContract}`,
/// by key (ecrecover) or, for an account with code, by ERC-1271.
interface IEscrow {
    /* EVENTS */

    /// @notice `terms.amount` was locked under `id`.
    event Funded(BookingId indexed id, address indexed buyer, address indexed provider, Terms terms);

    /// @notice A receipt released `paid` to the provider and `fee` to the fee recipient.
    event Claimed(BookingId indexed id, uint256 paid, uint256 fee);

    /// @notice A completion closed the booking.
    event Settled(BookingId indexed id, uint256 paid, uint256 fee, uint256 refunded, bytes32 evidence);

    /// @notice A batch closed the booking with all that remained earned: it was paid to the provider, less `fee`.
    event SettledInFull(BookingId indexed id, uint256 fee);

    /// @notice The buyer (before the start) or the provider gave the booking up.
    event Cancelled(BookingId indexed id, address indexed by, uint256 refunded);

    /// @notice The buyer stopped the meter at this block's time.
    event Disputed(BookingId indexed id);

    /// @notice The arbiter divided what a disputed booking still held.
    event Resolved(BookingId indexed id, uint256 paid, uint256 fee, uint256 refunded);

    /// @notice The windows passed and the buyer was refunded.
    event Reclaimed(BookingId indexed id, uint256 refunded);

    /// @notice A push to a provider failed: `amount` is owed to `account` until withdrawn.
    event PayoutDeferred(address indexed account, uint256 amount);

    /// @notice A push to a buyer failed: `amount` is owed to `account` until withdrawn.
    event RefundDeferred(address indexed account, uint256 amount);

    /// @notice All that was owed to `account` was sent to `to`.
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    /* ERRORS: CONSTRUCTION */

    error Escrow_AttesterIsZero();
    error Escrow_ArbiterIsAttester(address attester);
    error Escrow_FeeTooHigh(uint256 feeBps, uint256 maximum);
    error Escrow_FeeRecipientIsZero();
    error Escrow_ClaimWindowOutOfRange(uint256 claimWindow, uint256 maximum);

    /* ERRORS: VERBS */

    error Escrow_AmountIsZero();
    error Escrow_ProviderIsZero();
    error Escrow_SenderIsNotBuyer(address sender, address buyer);
    error Escrow_FundingClosed(uint256 timestamp, uint256 fundBy);
    error Escrow_TimesOutOfOrder(uint256 fundBy, uint256 startsAt, uint256 endsAt);
    error Escrow_AlreadyFunded(BookingId id);
    error Escrow_NotOpen(BookingId id, State state);
    error Escrow_NotDisputed(BookingId id, State state);
    error Escrow_NoArbiter();
    error Escrow_SenderIsNotArbiter(address sender, address arbiter);
    error Escrow_TooEarly(uint256 timestamp, uint256 from);
    error Escrow_TooLate(uint256 timestamp, uint256 before);
    error Escrow_AheadOfClock(uint256 earned, uint256 cap);
    error Escrow_EarnedAboveAmount(uint256 earned, uint256 amount);
    error Escrow_InvalidSignature(bytes32 digest);
    error Escrow_NotAParty(address sender);
    error Escrow_NothingOwed(address account);
    error Escrow_SenderIsNotAccount(address sender, address account);
    error Escrow_WrongValue(uint256 sent, uint256 expected);
    error Escrow_TransferFailed(address to, uint256 amount);

    /* FUNDING */

    /// @notice Locks `terms.amount` of the sender's money.
    /// Requirements:
    /// - the sender is `terms.buyer`;
    /// - `amount > 0`, `provider != 0`, `now < fundBy <= startsAt < endsAt`;
    /// - these terms were never funded before;
    /// - native escrow: `msg.value` is the amount; token escrow: no value, and the token lets the escrow pull the amount.
    /// @return id The booking id.
    function fund(Terms calldata terms) external payable returns (BookingId id);

    /// @notice Funds several bookings of the sender, all or nothing. See `fund`.
    /// @return ids One id per terms, in order.
    function fundMany(Terms[] calldata terms) external payable returns (BookingId[] memory ids);

    /* DURING AND AFTER A BOOKING */

    /// @notice Pays the provider what a receipt proves beyond what was claimed already. Anyone may send it.
    /// A receipt that proves nothing new is a no-op.
    /// Requirements:
    /// - the booking is open and `now < endsAt + claimWindow`, or disputed and `now < disputedAt + claimWindow`;
    /// - `signature` over `Receipt(bookingId, earned)` is the attester's and `earned <= cap(now)`, where a dispute
    ///   stops the clock at `disputedAt`; or it is the buyer's and `earned <= amount`.
    /// @param earned Earned in all since the start, in base units.
    function claim(Terms calldata terms, uint256 earned, bytes calldata signature) external;

    /// @notice Closes a booking: the provider ends with `max(earned, claimed)`, the buyer gets the rest.
    /// Requirements:
    /// - the booking is open and `now < endsAt + claimWindow`;
    /// - the sender is the attester, or `signature` over `Completion(bookingId, earned, evidence)` is the attester's;
    /// - `earned <= cap(now)`.
    /// @param signature Ignored when the sender is the attester.
    function settle(Terms calldata terms, uint256 earned, bytes32 evidence, bytes calldata signature) external;

    /// @notice Closes bookings with all that remains paid to their providers; one transfer per run of one provider.
    /// An id that is not open, or not in `[endsAt, endsAt + claimWindow)`, is skipped.
    /// Requirements: the sender is the attester, or `signature` over `SettleMany(bookingIds)` is the attester's.
    function settleMany(BookingId[] calldata ids, bytes calldata signature) external;

    /// @notice Settles several completions; one that `settle` would refuse is skipped.
    /// Requirements: the sender is the attester, or `signature` over `SettleEach(completions)` is the attester's.
    function settleEach(Completion[] calldata completions, bytes calldata signature) external;

    /// @notice Gives a booking up and refunds the buyer what remains.
    /// Requirements: open and the sender is the buyer before `startsAt`, or open or disputed and the sender is the
    /// provider, at any time.
    function cancel(Terms calldata terms) external;

    /// @notice The buyer's brake: stops the meter, takes nothing attested back, and lets the arbiter divide the rest.
    /// Requirements: this escrow has an arbiter; the sender is the buyer; open, `startsAt <= now < endsAt`.
    function dispute(Terms calldata terms) external;

    /// @notice Closes a disputed booking: the provider ends with `max(earned, claimed)`, the buyer gets the rest.
    /// Requirements:
    /// - the sender is the arbiter;
    /// - the booking is disputed, `disputedAt + claimWindow <= now < disputedAt + claimWindow + ARBITER_WINDOW`;
    /// - `earned <= amount`.
    function resolve(Terms calldata terms, uint256 earned) external;

    /// @notice Refunds the buyer what remains once everyone else's time has passed. Anyone may send it.
    /// Requirements: open and `now >= endsAt + claimWindow`, or disputed and
    /// `now >= disputedAt + claimWindow + ARBITER_WINDOW`.
    function reclaim(Terms calldata terms) external;

    /// @notice Sends all that is owed to `account` to `to`.
    /// @dev Warning: passes on all gas, and reverts if the transfer fails.
    /// Requirements: something is owed; the sender is `account`, or `to` is `account`.
    function withdraw(address account, address to) external;

    /* READING */

    /// @notice The id of `terms` in this escrow.
    function idOf(Terms calldata terms) external view returns (BookingId);

    /// @notice The stored slot of a booking.
    /// @return provider The payee.
    /// @return remaining What is still locked, in base units.
    /// @return state `None` also for a booking that was closed from its start on: events tell the two apart.
    function booking(BookingId id) external view returns (address provider, uint88 remaining, State state);

    /// @notice When a booking was disputed (UTC seconds), or 0. Kept when the booking closes.
    function disputedAt(BookingId id) external view returns (uint256);

    /// @notice What waits for `withdraw`, in base units.
    function owed(address account) external view returns (uint256);

    /// @notice The ERC-20 token of this escrow, or 0 for the native coin.
    function token() external view returns (address);

    /// @notice Whose completions and receipts count.
    function attester() external view returns (address);

    /// @notice Who divides what is disputed, or 0 where nothing can be.
    function arbiter() external view returns (address);

    /// @notice The fee on what providers earn, in hundredths of a percent.
    function feeBps() external view returns (uint256);

    /// @notice Who is credited with the fees.
    function feeRecipient() external view returns (address);

    /// @notice Seconds in which a booking can be settled and claimed after its end, or claimed after a dispute.
    function claimWindow() external view returns (uint256);

    /// @notice Seconds that the arbiter has after the claim window of a disputed booking: 14 days.
    // A constant of the contract, named as one.
    // solhint-disable-next-line func-name-mixedcase
    // slither-disable-next-line naming-convention
    function ARBITER_WINDOW() external view returns (uint256);

    /// @notice `keccak256(abi.encode(chainid, this))` at construction: binds ids to this chain and contract.
    function seed() external view returns (bytes32);
}
