"""The escrow's state table and its arithmetic: fee and clock. Pure; the contract's twin."""

from enum import IntEnum, StrEnum
from typing import NamedTuple

from aitbc.protocol.messages import Terms
from aitbc.protocol.units import BPS


class EscrowState(IntEnum):
    """State of a booking's slot in the contract, in the contract's order."""

    NONE = 0
    OPEN = 1
    DISPUTED = 2
    CLOSED = 3


class Transition(NamedTuple):
    """One row of the state table: a verb, where it starts, where it ends, and who may send it."""

    verb: str
    before: EscrowState
    after: tuple[EscrowState, ...]
    sender: str


_NONE, _OPEN, _DISPUTED, _CLOSED = EscrowState

TRANSITIONS = (
    Transition("fund", _NONE, (_OPEN,), "buyer"),
    Transition("fundMany", _NONE, (_OPEN,), "buyer"),
    Transition("fundWithPermit", _NONE, (_OPEN,), "buyer"),
    Transition("fundWithAuthorization", _NONE, (_OPEN,), "anyone"),
    Transition("fundWithPermit2", _NONE, (_OPEN,), "anyone"),
    Transition("claim", _OPEN, (_OPEN, _CLOSED), "anyone"),
    Transition("claim", _DISPUTED, (_DISPUTED, _CLOSED), "anyone"),
    Transition("settle", _OPEN, (_CLOSED,), "anyone"),
    Transition("settleMany", _OPEN, (_CLOSED,), "anyone"),
    Transition("settleEach", _OPEN, (_CLOSED,), "anyone"),
    Transition("cancel", _OPEN, (_CLOSED,), "buyer or provider"),
    Transition("cancel", _DISPUTED, (_CLOSED,), "provider"),
    Transition("dispute", _OPEN, (_DISPUTED,), "buyer"),
    Transition("resolve", _DISPUTED, (_CLOSED,), "arbiter"),
    Transition("reclaim", _OPEN, (_CLOSED,), "anyone"),
    Transition("reclaim", _DISPUTED, (_CLOSED,), "anyone"),
)


class BookingStatus(StrEnum):
    """What a person is told about a booking; money statuses follow confirmed events only."""

    FUNDED = "funded"
    ACTIVE = "active"
    ENDED = "ended"
    DISPUTED = "disputed"
    ATTESTED = "attested"
    SETTLING = "settling"
    SETTLED = "settled"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"
    RECLAIMED = "reclaimed"
    REFUSED = "refused"

    @property
    def closed(self) -> bool:
        return self in CLOSED_BY.values()


CLOSED_BY: dict[str, BookingStatus] = {
    "Claimed": BookingStatus.SETTLED,
    "Settled": BookingStatus.SETTLED,
    "SettledInFull": BookingStatus.SETTLED,
    "Resolved": BookingStatus.RESOLVED,
    "Cancelled": BookingStatus.CANCELLED,
    "Reclaimed": BookingStatus.RECLAIMED,
}
"""What a booking is once an event of that name has taken the last of its money."""


MAXIMUM_FEE_BPS = 1_000
MAXIMUM_CLAIM_WINDOW = 90 * 86_400
"""Bounds that the contract's constructor sets to a market's parameters."""

ARBITER_WINDOW = 14 * 86_400
"""Seconds that the arbiter has after the claim window of a disputed booking."""


class Phases(NamedTuple):
    """Who may take what an open or disputed booking still holds (UTC seconds).

    The provider, by what was attested, before `claim_before`; from then on, after a dispute, the
    arbiter; from `reclaim_from` on the buyer. Without a dispute the two times are one.
    """

    metered_until: int
    claim_before: int
    reclaim_from: int


def phases(terms: Terms, claim_window: int, disputed_at: int | None) -> Phases:
    """The phases of a booking that was disputed then, or never."""
    metered_until = terms.ends_at if disputed_at is None else disputed_at
    claim_before = metered_until + claim_window
    arbiter_window = 0 if disputed_at is None else ARBITER_WINDOW
    return Phases(metered_until, claim_before, claim_before + arbiter_window)


def fee(amount: int, fee_bps: int) -> int:
    """`F(x) = floor(x * feeBps / 10000)`."""
    return amount * fee_bps // BPS


def payout_fee(remaining: int, remaining_after: int, fee_bps: int) -> int:
    """Fee of a payment that takes what remains from one to the other: `F(R) - F(R')`."""
    return fee(remaining, fee_bps) - fee(remaining_after, fee_bps)


def clock_cap(terms: Terms, timestamp: int) -> int:
    """The most that an attester can have paid at `timestamp` (UTC seconds)."""
    elapsed = min(timestamp, terms.ends_at) - terms.starts_at
    if elapsed <= 0:
        return 0
    return terms.amount * elapsed // (terms.ends_at - terms.starts_at)
