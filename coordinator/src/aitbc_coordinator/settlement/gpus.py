"""What a GPU has earned, and where it stands."""

from collections.abc import Sequence

from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.units import BPS
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import listings
from aitbc_coordinator.market.views import gpu_view
from aitbc_coordinator.settlement import bookings, repository
from aitbc_coordinator.settlement.models import Booking, BookingState

UTILISATION_SECONDS = 7 * 86_400
"""Utilisation is the booked share of so much time up to now."""
SHOWN_BOOKINGS = 10


def earnings(context: Context, session: Session, gpu_id: str) -> wire.Earnings:
    """The money of a GPU's bookings. Raises Missing for an unknown GPU."""
    gpu = listings.get(session, gpu_id)
    rows = repository.bookings_of_gpu(session, gpu.id)
    delivered = bookings.views(context, session, rows)
    return wire.Earnings(
        gpu_id=gpu.id,
        bookings=len(rows),
        settled=sum(row.status.closed and row.paid > 0 for row in delivered),
        paid=sum(row.paid for row in rows),
        fee=sum(row.fee for row in rows),
        pending=sum(
            max(0, row.earned - row.paid - row.fee) for row in delivered if not row.status.closed
        ),
        booked_seconds=sum(row.ends_at - row.starts_at for row in rows),
        delivered_seconds=sum(row.used_seconds for row in delivered),
    )


def status(context: Context, session: Session, gpu_id: str) -> wire.GpuStatus:
    """Where a GPU stands now. Raises Missing for an unknown GPU."""
    gpu = listings.get(session, gpu_id)
    rows = repository.bookings_of_gpu(session, gpu.id)
    now = context.now()
    open_rows = [row for row in rows if row.state == BookingState.OPEN]
    current = next((row for row in open_rows if row.starts_at <= now < row.ends_at), None)
    upcoming = [row for row in open_rows if row.starts_at > now][:SHOWN_BOOKINGS]
    shown = {row.id for row in upcoming} | ({current.id} if current else set())
    last = [row for row in reversed(rows) if row.id not in shown][:SHOWN_BOOKINGS]
    return wire.GpuStatus(
        gpu=gpu_view(context, session, gpu),
        utilisation_bps=utilisation_bps(rows, now),
        current_booking=bookings.view(context, session, current) if current else None,
        upcoming=bookings.views(context, session, upcoming),
        last_bookings=bookings.views(context, session, last),
    )


def utilisation_bps(rows: Sequence[Booking], now: int) -> int:
    """Share of the last week that was booked; bookings that were given up do not count.

    One that was disputed counts until then.
    """
    since = now - UTILISATION_SECONDS
    kept = (row for row in rows if row.closing_event not in {"Cancelled", "Reclaimed"})
    booked = sum(max(0, min(row.metered_until, now) - max(row.starts_at, since)) for row in kept)
    return booked * BPS // UTILISATION_SECONDS
