"""Collecting what receipts prove and what is owed, with a node and nothing else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractCustomError, ContractLogicError

from aitbc.chain.escrow import Escrow, Parameters, Slot
from aitbc.chain.node import NODE_FAILURES, reason
from aitbc.chain.transactions import Sent, explain_revert, send
from aitbc.errors import ChainError
from aitbc.protocol import events as ev
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState, payout_fee
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
    """A served booking that brings nothing now, and why."""

    booking_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that can be collected now. `gas_cost` is base units of the chain's own coin."""

    claims: tuple[Claim, ...]
    skipped: tuple[Skipped, ...]
    owed: int
    """What earlier payments that failed left in the escrow for the account."""
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


def plan(escrow: Escrow, account: str, bookings: Iterable[ServedBooking]) -> Plan:
    """What `account` can collect. Raises ChainError when the node fails."""
    try:
        now = int(escrow.web3.eth.get_block("latest")["timestamp"])
        found = [_judge(escrow, account, booking, now) for booking in bookings]
        claims = tuple(item for item in found if isinstance(item, Claim))
        owed = escrow.owed(account)
        gas = sum(claim.gas for claim in claims)
        if owed:
            gas += _estimate(_withdraw_call(escrow, account), account)
        gas_cost = gas * int(escrow.web3.eth.gas_price)
    except NODE_FAILURES as error:
        raise ChainError(f"the node failed while claims were looked up: {reason(error)}") from error
    skipped = tuple(item for item in found if isinstance(item, Skipped))
    return Plan(claims, skipped, owed, gas_cost)


def claim(escrow: Escrow, account: LocalAccount, wanted: Claim, on_sent: OnSent) -> Collected:
    """Send one claim and wait for it. Raises ChainError when it is refused."""
    call = _claim_call(escrow, wanted.terms, wanted.receipt)
    sent = send(escrow.web3, account, call, on_sent=on_sent)
    return _collected(escrow, sent)


def withdraw(escrow: Escrow, account: LocalAccount, on_sent: OnSent) -> Collected:
    """Fetch all that is owed to the account. Raises ChainError when it is refused."""
    call = _withdraw_call(escrow, account.address)
    return _collected(escrow, send(escrow.web3, account, call, on_sent=on_sent))


def _judge(escrow: Escrow, account: str, booking: ServedBooking, now: int) -> Claim | Skipped:
    """What a booking still brings at chain time `now`."""
    terms, signed = booking.terms, booking.receipt
    if signed is None:
        return Skipped(booking.booking_id, "no receipt on disk")
    if terms.booking_id(escrow.domain) != booking.booking_id:
        return Skipped(booking.booking_id, "of another market")
    slot = escrow.slot(booking.booking_id)
    reason = _why_nothing(slot, terms, signed.receipt.earned, now, escrow.parameters)
    if reason is not None:
        return Skipped(booking.booking_id, reason)
    call = _claim_call(escrow, terms, signed)
    try:
        gas = _estimate(call, account)
    except (ContractLogicError, ContractCustomError) as error:
        return Skipped(booking.booking_id, explain_revert(call, error))
    left = terms.amount - signed.receipt.earned
    fee = payout_fee(slot.remaining, left, escrow.parameters.fee_bps)
    return Claim(booking.booking_id, terms, signed, slot.remaining - left - fee, fee, gas)


def _why_nothing(
    slot: Slot, terms: Terms, earned: int, now: int, parameters: Parameters
) -> str | None:
    if slot.state is not EscrowState.OPEN:
        return "closed already"
    if now >= terms.ends_at + parameters.claim_window:
        return "its claim window has passed"
    if earned <= terms.amount - slot.remaining:
        return "the receipt proves nothing new"
    return None


def _claim_call(escrow: Escrow, terms: Terms, signed: SignedReceipt) -> ContractFunction:
    call: ContractFunction = escrow.functions.claim(
        terms.abi_values(), signed.receipt.earned, HexBytes(signed.signature)
    )
    return call


def _withdraw_call(escrow: Escrow, account: str) -> ContractFunction:
    address = Web3.to_checksum_address(account)
    call: ContractFunction = escrow.functions.withdraw(address, address)
    return call


def _estimate(call: ContractFunction, account: str) -> int:
    return int(call.estimate_gas({"from": Web3.to_checksum_address(account)}))


def _collected(escrow: Escrow, sent: Sent) -> Collected:
    """What a transaction's own events say of it."""
    paid = fee = deferred = 0
    for event in escrow.events_of(sent.receipt["logs"]):
        match event:
            case ev.Claimed():
                paid += event.paid
                fee += event.fee
            case ev.PayoutDeferred():
                deferred += event.amount
            case ev.Withdrawn():
                paid += event.amount
    return Collected(sent.tx_hash, paid - deferred, fee, deferred)
