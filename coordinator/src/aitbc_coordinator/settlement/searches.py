"""SQL that finds bookings for people."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, not_, or_, tuple_
from sqlmodel import Session, col, select

from aitbc.protocol.states import CLOSED_BY, BookingStatus
from aitbc_coordinator.settlement import outbox
from aitbc_coordinator.settlement.filters import BookingQuery, Place
from aitbc_coordinator.settlement.models import Attestation, Booking, BookingState

CLOSING_EVENTS: dict[BookingStatus, tuple[str, ...]] = {
    status: tuple(event for event, closed in CLOSED_BY.items() if closed is status)
    for status in set(CLOSED_BY.values())
}
"""How a booking came to its last status."""


def find(
    session: Session, query: BookingQuery, now: int, after: Place | None, limit: int
) -> Sequence[Booking]:
    """Bookings that match, from the one that follows `after`."""
    found = select(Booking).outerjoin(Attestation, outbox.ITS_ATTESTATION)
    found = found.where(*_conditions(query, now))
    if after is not None:
        place = tuple_(col(Booking.funded_at), col(Booking.id))
        found = found.where(place < tuple_(after.funded_at, after.booking_id))
    found = found.order_by(col(Booking.funded_at).desc(), col(Booking.id).desc())
    return session.exec(found.limit(limit)).all()


def with_prefix(session: Session, prefix: str, limit: int) -> Sequence[Booking]:
    """Bookings whose id or short id begins with `prefix`."""
    query = select(Booking).where(
        or_(
            col(Booking.id).startswith(prefix, autoescape=True),
            col(Booking.short_id).startswith(prefix, autoescape=True),
        )
    )
    return session.exec(query.limit(limit)).all()


def _conditions(query: BookingQuery, now: int) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.buyer is not None:
        found.append(col(Booking.buyer) == query.buyer)
    if query.provider is not None:
        found.append(col(Booking.provider) == query.provider)
    if query.gpu is not None:
        found.append(col(Booking.gpu_id) == query.gpu)
    if query.open is not None:
        is_closed = col(Booking.state) == BookingState.CLOSED
        found.append(not_(is_closed) if query.open else is_closed)
    if query.status is not None:
        found += _has_status(query.status, now)
    return found


def _has_status(status: BookingStatus, now: int) -> list[ColumnElement[bool]]:
    """The conditions under which `bookings.status_of` gives a status."""
    if status in CLOSING_EVENTS:
        return [col(Booking.closing_event).in_(CLOSING_EVENTS[status])]
    if status == BookingStatus.DISPUTED:
        return [col(Booking.state) == BookingState.DISPUTED]
    is_open = col(Booking.state) == BookingState.OPEN
    if status == BookingStatus.REFUSED:
        return [is_open, col(Booking.refused).is_(True)]
    kept = [is_open, not_(col(Booking.refused))]
    batched = col(Attestation.batch_id).is_not(None)
    starts_at, ends_at = col(Booking.starts_at), col(Booking.ends_at)
    unattested = [*kept, col(Attestation.id).is_(None)]
    conditions = {
        BookingStatus.SETTLING: [*kept, batched],
        BookingStatus.ATTESTED: [*kept, col(Attestation.id).is_not(None), not_(batched)],
        BookingStatus.FUNDED: [*unattested, starts_at > now],
        BookingStatus.ACTIVE: [*unattested, starts_at <= now, ends_at > now],
        BookingStatus.ENDED: [*unattested, ends_at <= now],
    }
    return conditions[status]
