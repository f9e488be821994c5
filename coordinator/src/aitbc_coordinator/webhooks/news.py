"""What is told: written in the transaction that does what it tells of, once under one id.

The id of a message is made of what it tells of: a reorg that brings the same again, or a rebuild,
makes the same id. Nothing is written while no webhook is configured.
"""

from collections.abc import Iterable

from sqlmodel import Session

from aitbc.protocol import ledger
from aitbc.protocol.events import BookingEvent, Funded
from aitbc_coordinator.context import Context
from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement import projection
from aitbc_coordinator.settlement import repository as settlement
from aitbc_coordinator.settlement.models import Booking
from aitbc_coordinator.webhooks import repository
from aitbc_coordinator.webhooks.messages import (
    BookingData,
    GpuData,
    Kind,
    Message,
    booking_data,
    gpu_data,
)
from aitbc_coordinator.webhooks.models import WebhookMessage


def of_events(settings: Settings, session: Session, events: Iterable[BookingEvent]) -> None:
    """Bookings were funded, or paid for, by events that are projected already, in their order.

    Where several paid for one booking, the newest tells what they come to.
    """
    if not settings.webhook_url:
        return
    told = list(events)
    bookings = {
        booking_id: settlement.find_booking(session, booking_id)
        for booking_id in dict.fromkeys(event.booking_id for event in told)
    }
    fundings = [event for event in told if isinstance(event, Funded)]
    others = [event for event in told if not isinstance(event, Funded)]
    for event in (*fundings, *reversed(others)):
        booking = bookings[event.booking_id]
        if booking is not None:
            _of_event(settings, session, booking, event)


def _of_event(settings: Settings, session: Session, booking: Booking, event: BookingEvent) -> None:
    match event:
        case Funded():
            kind, subject = Kind.BOOKED, booking.id
        case BookingEvent() if _pays(event, booking):
            kind, subject = Kind.PAID, f"{booking.id}_{booking.paid + booking.fee}"
        case _:
            return
    _keep(
        settings,
        session,
        kind,
        f"{kind}_{subject}",
        at=event.timestamp,
        data=booking_data(booking, event.tx_hash),
        booking_id=booking.id,
        block_number=event.block_number,
    )


def of_bookings(settings: Settings, session: Session, booking_ids: Iterable[str]) -> None:
    """What the events of some bookings come to in all, but for what was told already."""
    stored = settlement.events_of(session, sorted(booking_ids))
    events = (projection.event_of(row) for row in stored)
    of_events(settings, session, [event for event in events if isinstance(event, BookingEvent)])


def started(context: Context, session: Session, booking: Booking) -> None:
    """The first heartbeat of a booking was accepted."""
    _keep(
        context.settings,
        session,
        Kind.STARTED,
        f"{Kind.STARTED}_{booking.id}",
        at=context.now(),
        data=booking_data(booking, None),
        booking_id=booking.id,
    )


def offline(settings: Settings, session: Session, gpu: Gpu, message_id: str) -> None:
    """A listed GPU left the market."""
    at, data = gpu.reachable_until, gpu_data(gpu)
    _keep(settings, session, Kind.OFFLINE, message_id, at=at, data=data)


def _pays(event: BookingEvent, booking: Booking) -> bool:
    moved = ledger.moved(event, booking.amount)
    return moved.paid + moved.fees > 0


def _keep(
    settings: Settings,
    session: Session,
    kind: Kind,
    message_id: str,
    *,
    at: int,
    data: BookingData | GpuData,
    booking_id: str | None = None,
    block_number: int | None = None,
) -> None:
    if not settings.webhook_url:
        return
    message = Message(
        type=kind, timestamp=at, chain_id=settings.chain_id, escrow=settings.escrow, data=data
    )
    repository.add(
        session,
        WebhookMessage(
            id=message_id,
            booking_id=booking_id,
            block_number=block_number,
            body=message.model_dump_json(),
        ),
    )
