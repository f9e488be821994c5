"""Tables of the settlement half.

`chain_block`, `chain_event` and `booking` are a projection of the chain, which can be dropped and
rebuilt. The rest are facts that exist nowhere else. Integers are 64-bit: the escrow takes any
32-bit time from anyone. Ids, hashes and signatures are 0x-hex.
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Enum, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from aitbc.protocol.messages import Terms
from aitbc_coordinator.database import AmountColumn


class BookingState(StrEnum):
    OPEN = "open"
    DISPUTED = "disputed"
    CLOSED = "closed"


class RelayState(StrEnum):
    """Where a signed transaction stands."""

    SIGNED = "signed"
    """Persisted; perhaps broadcast, if the process died right after."""
    SENT = "sent"
    """A node has taken it."""
    MINED = "mined"
    """In a block that is not confirmed yet."""
    FINAL = "final"
    """Succeeded in a block that the follower has indexed."""
    REPLACED = "replaced"
    """Another transaction of its batch, with the same nonce, was mined instead."""
    FAILED = "failed"
    """Reverted in a confirmed block, refused by the node for good, or its nonce was used by a
    stranger to this database."""


class AttestationKind(StrEnum):
    COMPLETION = "completion"
    CLAIM = "claim"
    """The final receipt of a disputed booking, which no completion can settle."""


PENDING_STATES = (RelayState.SIGNED, RelayState.SENT)
LIVE_STATES = (*PENDING_STATES, RelayState.MINED)

STATE_CHARS = 16


def _stored(kind: type[StrEnum]) -> Any:
    """A column of an enumeration's values, as plain text on every database."""
    return Enum(
        kind,
        native_enum=False,
        length=STATE_CHARS,
        values_callable=lambda members: [member.value for member in members],
    )


class ChainBlock(SQLModel, table=True):
    """Hash of a block up to which events were followed: how a reorg is noticed."""

    __tablename__ = "chain_block"

    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    hash: str


class ChainEvent(SQLModel, table=True):
    """A confirmed event of the escrow; `payload` is it whole, as JSON."""

    __tablename__ = "chain_event"

    block_number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    log_index: int = Field(primary_key=True, sa_type=BigInteger)
    block_hash: str
    tx_hash: str
    name: str
    booking_id: str | None = Field(default=None, index=True)
    timestamp: int = Field(sa_type=BigInteger)
    payload: str


class Booking(SQLModel, table=True):
    """A funded booking: its terms, and where its money is according to its events."""

    __tablename__ = "booking"
    __table_args__ = (
        Index("ix_booking_newest", "funded_at", "id"),
        Index("ix_booking_due", "state", "ends_at"),
    )

    id: str = Field(primary_key=True)
    short_id: str = Field(index=True)
    buyer: str = Field(index=True)
    provider: str = Field(index=True)
    amount: int = Field(sa_type=AmountColumn)
    fund_by: int = Field(sa_type=BigInteger)
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int = Field(sa_type=BigInteger)
    listing: str
    salt: int = Field(sa_type=AmountColumn)
    gpu_id: str | None = Field(default=None, index=True)
    refused: bool
    """Funded on terms that this coordinator has not offered, or could not keep."""
    funded_at: int = Field(sa_type=BigInteger)
    disputed_at: int | None = Field(default=None, sa_type=BigInteger)
    state: BookingState = Field(sa_type=_stored(BookingState))
    closing_event: str | None = None
    paid: int = Field(sa_type=AmountColumn)
    fee: int = Field(sa_type=AmountColumn)
    refunded: int = Field(sa_type=AmountColumn)
    remaining: int = Field(sa_type=AmountColumn)

    @property
    def metered_until(self) -> int:
        return self.ends_at if self.disputed_at is None else self.disputed_at

    @property
    def attested_by(self) -> AttestationKind:
        """What the attester signs about it in the end."""
        if self.disputed_at is None:
            return AttestationKind.COMPLETION
        return AttestationKind.CLAIM

    @property
    def terms(self) -> Terms:
        return Terms(
            buyer=self.buyer,
            provider=self.provider,
            amount=self.amount,
            fund_by=self.fund_by,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            listing=self.listing,
            salt=self.salt,
        )


class SessionGrant(SQLModel, table=True):
    """A provider lets a key send heartbeats; another provider's grant of that key is apart."""

    __tablename__ = "session_grant"

    provider: str = Field(primary_key=True)
    session_key: str = Field(primary_key=True)
    expires_at: int = Field(sa_type=BigInteger)
    payload: str
    signature: str


class Heartbeat(SQLModel, table=True):
    """An accepted heartbeat, kept as evidence."""

    __tablename__ = "heartbeat"
    __table_args__ = (Index("ix_heartbeat_covers_until", "booking_id", "covers_until"),)

    booking_id: str = Field(primary_key=True)
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    covers_from: int = Field(sa_type=BigInteger)
    covers_until: int = Field(sa_type=BigInteger)
    payload: str
    signature: str
    session_key: str


class Receipt(SQLModel, table=True):
    """The meter of a booking so far, and the attester's newest receipt for it."""

    __tablename__ = "receipt"

    booking_id: str = Field(primary_key=True)
    used_seconds: int = Field(sa_type=BigInteger)
    earned: int = Field(sa_type=AmountColumn)
    signature: str


class Attestation(SQLModel, table=True):
    """The outbox: what the attester signed about a booking, until the chain agrees."""

    __tablename__ = "attestation"
    __table_args__ = (UniqueConstraint("booking_id", "kind"),)

    id: int | None = Field(default=None, primary_key=True)
    booking_id: str
    kind: AttestationKind = Field(sa_type=_stored(AttestationKind))
    refused: bool
    """Made because the booking was refused: everything goes back to its buyer."""
    earned: int = Field(sa_type=AmountColumn)
    used_seconds: int = Field(sa_type=BigInteger)
    evidence_digest: str
    evidence: str
    signature: str
    batch_id: str | None = Field(default=None, index=True)
    """The batch whose transaction carries it now."""
    settled: bool = Field(default=False, index=True)
    """Its booking is closed on the chain, by whichever event; or what it claims is paid."""
    attempts: int = 0
    """Batches that were confirmed, or could not be made, without settling it."""


class Funding(SQLModel, table=True):
    """A buyer's signed payment that the relayer is to send, or has sent: one for each booking."""

    __tablename__ = "funding"

    booking_id: str = Field(primary_key=True)
    request: str
    """`wire.FundingRequest` as JSON."""
    fund_by: int = Field(sa_type=BigInteger)
    accepted_at: int = Field(sa_type=BigInteger, index=True)
    cost_gwei: int = Field(sa_type=BigInteger)
    """What sending it costs at most: it counts against the budget of a day."""
    batch_id: str | None = Field(default=None, index=True)
    """The batch whose transaction carries it."""
    attempts: int = 0
    """How often it could not be sent."""


class RelayTransaction(SQLModel, table=True):
    """A signed transaction, persisted before it is broadcast.

    A nonce belongs to one batch; `bump` counts the transactions that were signed for it.
    """

    __tablename__ = "relay_transaction"
    __table_args__ = (
        UniqueConstraint("sender", "nonce", "bump"),
        Index("ix_relay_transaction_live", "state", "sender", "nonce"),
    )

    id: int | None = Field(default=None, primary_key=True)
    batch_id: str = Field(index=True)
    sender: str
    nonce: int = Field(sa_type=BigInteger)
    bump: int
    tx_hash: str = Field(unique=True)
    raw: str
    calldata: str
    state: RelayState = Field(sa_type=_stored(RelayState))
    gas: int = Field(sa_type=BigInteger)
    max_fee: int = Field(sa_type=AmountColumn)
    """Wei per unit of gas."""
    priority_fee: int = Field(sa_type=AmountColumn)
    refusals: int = 0
    """How often the node refused it."""
    sent_block: int | None = Field(default=None, sa_type=BigInteger)
    """The chain's head when a node first took it."""
    mined_block: int | None = Field(default=None, sa_type=BigInteger)
