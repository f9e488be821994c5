"""What a closed booking says of its GPU, by its events alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlmodel import Session

from aitbc.protocol.events import BookingEvent, Cancelled
from aitbc_coordinator.market import standing
from aitbc_coordinator.settlement.models import BookingState

Row = Mapping[str, Any]


def keep(session: Session, bookings: Iterable[tuple[Row, BookingEvent]]) -> None:
    """Bring the market in line with bookings, as rows, each with its newest event."""
    found = {row["id"]: delivery_of(row, last) for row, last in bookings}
    standing.forget(session, [booking_id for booking_id, it in found.items() if it is None])
    standing.record(session, [delivery for delivery in found.values() if delivery is not None])


def delivery_of(booking: Row, last: BookingEvent) -> Row | None:
    """What a booking delivered, as a row of `Delivery`.

    The share of the price that was earned is the share of the time that was delivered. None while
    the booking is open, and where it says nothing of the GPU: its buyer cancelled it, or disputed
    it as it began, or it was refused. A dispute ends what was booked.
    """
    starts_at, ends_at, disputed_at = (
        booking[name] for name in ("starts_at", "ends_at", "disputed_at")
    )
    by_buyer = isinstance(last, Cancelled) and last.by == booking["buyer"]
    booked = (ends_at if disputed_at is None else disputed_at) - starts_at
    is_closed = booking["state"] == BookingState.CLOSED
    if not is_closed or booking["gpu_id"] is None or by_buyer or booked <= 0:
        return None
    earned = booking["amount"] - booking["refunded"]
    # Rounded up, as what was earned for whole seconds was rounded down.
    delivered = -(-earned * (ends_at - starts_at) // booking["amount"])
    return {
        "booking_id": booking["id"],
        "gpu_id": booking["gpu_id"],
        "closed_at": last.timestamp,
        "booked_seconds": booked,
        "delivered_seconds": min(booked, delivered),
    }
