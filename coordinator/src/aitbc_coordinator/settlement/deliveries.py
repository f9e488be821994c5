"""What a closed booking says of its GPU, by its events alone."""

from sqlmodel import Session

from aitbc.protocol.events import BookingEvent, Cancelled
from aitbc_coordinator.market import standing
from aitbc_coordinator.market.models import Delivery
from aitbc_coordinator.settlement.models import Booking, BookingState


def keep(session: Session, booking: Booking, last: BookingEvent) -> None:
    """Bring the market in line with a booking, whose newest event is `last`."""
    delivery = delivery_of(booking, last)
    if delivery is None:
        standing.forget(session, booking.id)
    else:
        standing.record(session, delivery)


def delivery_of(booking: Booking, last: BookingEvent) -> Delivery | None:
    """The share of the price that was earned is the share of the time that was delivered.

    None while the booking is open, and where it says nothing of the GPU: its buyer cancelled it,
    or disputed it as it began, or it was refused. A dispute ends what was booked.
    """
    by_buyer = isinstance(last, Cancelled) and last.by == booking.buyer
    booked = booking.metered_until - booking.starts_at
    if booking.state != BookingState.CLOSED or booking.gpu_id is None or by_buyer or booked <= 0:
        return None
    earned = booking.amount - booking.refunded
    # Rounded up, as what was earned for whole seconds was rounded down.
    delivered = -(-earned * (booking.ends_at - booking.starts_at) // booking.amount)
    return Delivery(
        booking_id=booking.id,
        gpu_id=booking.gpu_id,
        closed_at=last.timestamp,
        booked_seconds=booked,
        delivered_seconds=min(booked, delivered),
    )
