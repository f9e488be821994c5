"""What webhooks say. Money is decimal strings of base units, time UTC seconds."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from aitbc.protocol.types import Address, Amount, Bytes32, Timestamp
from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.settlement.models import Booking


class Kind(StrEnum):
    BOOKED = "booked"
    """A booking was funded."""
    STARTED = "started"
    """The first heartbeat of a booking was accepted."""
    PAID = "paid"
    """The escrow paid for a booking; again when it pays more."""
    OFFLINE = "offline"
    """A listed GPU left the market because its machine was not heard."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BookingData(_Part):
    """`paid`, `fee` and `refunded` are what became of `amount` so far, in all."""

    booking_id: Bytes32
    short_id: str
    gpu_id: str | None
    refused: bool
    """Funded on terms that nobody offered: `amount` goes back to the buyer."""
    buyer: Address
    provider: Address
    amount: Amount
    starts_at: Timestamp
    ends_at: Timestamp
    paid: Amount
    fee: Amount
    refunded: Amount
    tx_hash: Bytes32 | None
    """The transaction that did what is told; None for what is not on the chain."""


class GpuData(_Part):
    gpu_id: str
    name: str
    provider: Address
    last_seen: Timestamp | None
    """When its machine was last heard."""


class Message(_Part):
    """The body of a webhook. A field may be added in the same version."""

    version: Literal[1] = 1
    type: Kind
    timestamp: Timestamp
    """When it happened; when it is posted is in the header `webhook-timestamp`."""
    chain_id: int
    escrow: Address
    data: BookingData | GpuData


def booking_data(booking: Booking, tx_hash: str | None) -> BookingData:
    shared = BookingData.model_fields.keys() & Booking.model_fields.keys()
    own = {name: getattr(booking, name) for name in shared}
    return BookingData(booking_id=booking.id, tx_hash=tx_hash, **own)


def gpu_data(gpu: Gpu) -> GpuData:
    return GpuData(gpu_id=gpu.id, name=gpu.name, provider=gpu.provider, last_seen=gpu.last_seen)
