"""The escrow's events as frozen values. Amounts are base units, ids 0x-hex."""

from dataclasses import dataclass

from aitbc.protocol.messages import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowEvent:
    """Where an event stands on the chain. `timestamp` is its block's (UTC seconds)."""

    block_number: int
    block_hash: str
    tx_hash: str
    log_index: int
    timestamp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingEvent(EscrowEvent):
    booking_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Funded(BookingEvent):
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(BookingEvent):
    paid: int
    fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(BookingEvent):
    paid: int
    fee: int
    refunded: int
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledInFull(BookingEvent):
    """All that remained was paid, less `fee`."""

    fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(BookingEvent):
    by: str
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed(BookingEvent):
    """The meter stopped at `timestamp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(BookingEvent):
    paid: int
    fee: int
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed(BookingEvent):
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutDeferred(EscrowEvent):
    account: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundDeferred(EscrowEvent):
    account: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn(EscrowEvent):
    account: str
    to: str
    amount: int
