"""Collecting what receipts prove and what is owed, with a node and nothing else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractCustomError, ContractLogicError

from aitbc.chain.escrow import Escrow, Slot
from aitbc.chain.node import node_call
from aitbc.chain.transactions import explain_revert, send
from aitbc.chain.withdrawals import Withdrawal, withdraw, withdraw_call
from aitbc.errors import ChainError
from aitbc.protocol import events as ev
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState, Phases, clock_cap, payout_fee, phases
from aitbc.protocol.wire import SignedReceipt
from aitbc.provider.storage import ServedBooking

OnSent = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one receipt still brings its provider. Base units; `gas` is the node's estimate."""

    booking_id: str
    terms: Terms
    receipt: SignedReceipt
    paid: int
    fee: int
    gas: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A served booking that brings nothing now, and why; no booking: what the escrow owes."""

    booking_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that can be collected now. `gas_cost` is base units of the chain's own coin."""

    claims: tuple[Claim, ...]
    skipped: tuple[Skipped, ...]
    owed: int
    """What earlier payments that failed left in the escrow, and it pays out now."""
    gas_cost: int

    @property
    def empty(self) -> bool:
        return not self.claims and not self.owed


@dataclass(frozen=True, slots=True)
class Collected:
    """A mined transaction: what reached the account, and what could not be pushed to it."""

    tx_hash: str
    paid: int
    fee: int
    deferred: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A claim, or without a booking the withdrawal, that could not be carried out."""

    booking_id: str | None
    error: ChainError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan."""

    claimed: tuple[tuple[str, Collected], ...]
    """By booking id."""
    withdrawn: Withdrawal | None
    failed: tuple[Failed, ...]


def plan(escrow: Escrow, account: str, bookings: Iterable[ServedBooking]) -> Plan:
    """What `account` can collect. Raises ChainError when the node fails."""
    with node_call("claims were looked up"):
        now = int(escrow.web3.eth.get_block("latest")["timestamp"])
        found = [_judge(escrow, account, booking, now) for booking in bookings]
        owed, withdraw_gas = escrow.owed(account), 0
        if owed:
            estimated = _estimate(None, withdraw_call(escrow, account, account), account)
            if isinstance(estimated, Skipped):
                found.append(estimated)
                owed = 0
            else:
                withdraw_gas = estimated
        claims = tuple(item for item in found if isinstance(item, Claim))
        gas = sum(claim.gas for claim in claims) + withdraw_gas
        gas_cost = gas * int(escrow.web3.eth.gas_price)
    skipped = tuple(item for item in found if isinstance(item, Skipped))
    return Plan(claims, skipped, owed, gas_cost)


def collect(escrow: Escrow, account: LocalAccount, wanted: Plan, on_sent: OnSent) -> Outcome:
    """Carry out a plan; what fails does not stop the rest."""
    claimed: list[tuple[str, Collected]] = []
    failed: list[Failed] = []
    withdrawn: Withdrawal | None = None
    for item in wanted.claims:
        try:
            claimed.append((item.booking_id, claim(escrow, account, item, on_sent)))
        except ChainError as error:
            failed.append(Failed(item.booking_id, error))
    if wanted.owed:
        try:
            withdrawn = withdraw(escrow, account, account.address, on_sent)
        except ChainError as error:
            failed.append(Failed(None, error))
    return Outcome(tuple(claimed), withdrawn, tuple(failed))


def claim(escrow: Escrow, account: LocalAccount, wanted: Claim, on_sent: OnSent) -> Collected:
    """Send one claim and wait for it. Raises ChainError when it is refused."""
    call = _claim_call(escrow, wanted.terms, wanted.receipt)
    sent = send(escrow, account, call, on_sent=on_sent)
    paid = fee = deferred = 0
    for event in escrow.events_of(sent.receipt["logs"]):
        match event:
            case ev.Claimed():
                paid += event.paid
                fee += event.fee
            case ev.PayoutDeferred():
                deferred += event.amount
    return Collected(sent.tx_hash, paid - deferred, fee, deferred)


def _judge(escrow: Escrow, account: str, booking: ServedBooking, now: int) -> Claim | Skipped:
    """What a booking still brings at chain time `now`."""
    terms = booking.terms
    if booking.receipt is None:
        return Skipped(booking.booking_id, "no receipt on disk")
    if terms.booking_id(escrow.domain) != booking.booking_id:
        return Skipped(booking.booking_id, "of another market")
    slot = escrow.slot(booking.booking_id)
    times = phases(terms, escrow.parameters.claim_window, slot.disputed_at)
    signed = _best_receipt(booking, clock_cap(terms, min(now, times.metered_until)))
    reason = _why_nothing(slot, terms, signed.receipt.earned, now, times)
    if reason is not None:
        return Skipped(booking.booking_id, reason)
    call = _claim_call(escrow, terms, signed)
    gas = _estimate(booking.booking_id, call, account)
    if isinstance(gas, Skipped):
        return gas
    left = terms.amount - signed.receipt.earned
    fee = payout_fee(slot.remaining, left, escrow.parameters.fee_bps)
    return Claim(booking.booking_id, terms, signed, slot.remaining - left - fee, fee, gas)


def _best_receipt(booking: ServedBooking, cap: int) -> SignedReceipt:
    """The receipt for the most that the escrow's clock lets pass; without one, the newest."""
    passing = [signed for signed in booking.receipts if signed.receipt.earned <= cap]
    if not passing:
        return booking.receipts[-1]
    return max(passing, key=lambda signed: signed.receipt.earned)


def _why_nothing(slot: Slot, terms: Terms, earned: int, now: int, times: Phases) -> str | None:
    if slot.state not in {EscrowState.OPEN, EscrowState.DISPUTED}:
        return "closed already"
    if now >= times.claim_before:
        return "its claim window has passed"
    if earned <= terms.amount - slot.remaining:
        return "the receipt proves nothing new"
    return None


def _claim_call(escrow: Escrow, terms: Terms, signed: SignedReceipt) -> ContractFunction:
    call: ContractFunction = escrow.functions.claim(
        terms.abi_values(), signed.receipt.earned, HexBytes(signed.signature)
    )
    return call


def _estimate(booking_id: str | None, call: ContractFunction, account: str) -> int | Skipped:
    """The gas of a call; skipped where the contract would refuse it."""
    try:
        return int(call.estimate_gas({"from": Web3.to_checksum_address(account)}))
    except (ContractLogicError, ContractCustomError) as error:
        return Skipped(booking_id, explain_revert(call.contract_abi, error))
