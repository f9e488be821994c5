"""From signed heartbeats to used seconds, earned money and the hash of the evidence. Pure."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from aitbc.protocol.digests import canonical_digest
from aitbc.protocol.messages import Heartbeat, SessionGrant, Terms
from aitbc.protocol.types import Amount, Bytes32, Signature, Timestamp

METERING_VERSION = 1
CLOCK_TOLERANCE_SECONDS = 5
"""How far a provider's and a coordinator's clocks may be apart."""
LONGEST_SESSION_DAYS = 90
"""How long a wallet may vouch for a session key."""


class SignedHeartbeat(BaseModel):
    """A heartbeat with its session key's signature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heartbeat: Heartbeat
    signature: Signature


class SignedSessionGrant(BaseModel):
    """A session key with its provider's signature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grant: SessionGrant
    signature: Signature


class Evidence(BaseModel):
    """All that a completion rests on; `digest` is what the completion carries on-chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = METERING_VERSION
    booking_id: Bytes32
    terms: Terms
    metered_until: Timestamp
    """The booking's end, or when it was disputed."""
    grants: list[SignedSessionGrant]
    heartbeats: list[SignedHeartbeat]
    used_seconds: int
    earned: Amount

    def digest(self) -> str:
        """keccak-256 of this evidence as canonical JSON, as 0x-hex."""
        return canonical_digest(self)


def used_seconds(intervals: Iterable[tuple[int, int]], starts_at: int, ends_at: int) -> int:
    """Length of the union of half-open intervals `[from, until)` inside `[starts_at, ends_at)`."""
    used, reached = 0, starts_at
    for covers_from, covers_until in sorted(intervals):
        begin, end = max(covers_from, reached), min(covers_until, ends_at)
        if end > begin:
            used += end - begin
            reached = end
    return used


def earned(amount: int, used: int, duration: int) -> int:
    """`floor(amount * used / duration)`: never ahead of the contract's clock."""
    return amount * used // duration


def meter(
    booking_id: str,
    terms: Terms,
    grants: list[SignedSessionGrant],
    heartbeats: list[SignedHeartbeat],
    disputed_at: int | None = None,
) -> Evidence:
    """What `heartbeats` prove of a booking; they are ordered by sequence in the evidence.

    A dispute (UTC seconds) stops the meter: what they cover after it earns nothing.
    """
    metered_until = terms.ends_at if disputed_at is None else disputed_at
    ordered = sorted(heartbeats, key=lambda signed: signed.heartbeat.sequence)
    intervals = [(s.heartbeat.covers_from, s.heartbeat.covers_until) for s in ordered]
    used = used_seconds(intervals, terms.starts_at, metered_until)
    return Evidence(
        booking_id=booking_id,
        terms=terms,
        metered_until=metered_until,
        grants=sorted(grants, key=lambda signed: signed.grant.session_key),
        heartbeats=ordered,
        used_seconds=used,
        earned=earned(terms.amount, used, terms.ends_at - terms.starts_at),
    )
