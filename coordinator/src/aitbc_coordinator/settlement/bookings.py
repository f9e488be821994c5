"""Bookings as people see them: status, money, and the transactions behind both."""

import re
from collections import defaultdict
from collections.abc import Sequence

from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.ids import SHORTEST_PREFIX
from aitbc.protocol.metering import Evidence
from aitbc.protocol.states import BookingStatus
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Conflict, Missing
from aitbc_coordinator.settlement import (
    heartbeats,
    outbox,
    repository,
    searches,
    transactions,
)
from aitbc_coordinator.settlement.filters import BookingQuery, Place
from aitbc_coordinator.settlement.models import (
    Attestation,
    Booking,
    BookingState,
    RelayState,
)

_ID = re.compile(r"[0-9a-z-]{1,66}")


def find(session: Session, booking_id: str) -> Booking:
    """The booking of an id, a short id, or a unique prefix of either. Raises Missing, Conflict."""
    wanted = booking_id.lower()
    usable = len(wanted) >= SHORTEST_PREFIX and _ID.fullmatch(wanted) is not None
    exact = repository.find_booking(session, wanted) if usable else None
    if exact is not None:
        return exact
    found = searches.with_prefix(session, wanted, limit=2) if usable else []
    if not found:
        raise Missing(
            "unknown-booking",
            f"there is no booking '{booking_id}' here",
            hint="list bookings with: aitbc booking list; a new one shows once it is confirmed",
        )
    if len(found) > 1:
        raise Conflict(
            "ambiguous-id",
            f"more than one booking begins with '{booking_id}'",
            hint="write more of its id",
        )
    return found[0]


def page(context: Context, session: Session, query: BookingQuery) -> wire.BookingPage:
    """Bookings that match, newest first."""
    after = None if query.cursor is None else Place.of(query.cursor)
    rows = searches.find(session, query, context.now(), after, query.limit + 1)
    shown, more = rows[: query.limit], len(rows) > query.limit
    following = Place(shown[-1].funded_at, shown[-1].id).cursor() if more else None
    return wire.BookingPage(items=views(context, session, shown), next_cursor=following)


def view(context: Context, session: Session, booking: Booking) -> wire.Booking:
    return views(context, session, [booking])[0]


def views(context: Context, session: Session, rows: Sequence[Booking]) -> list[wire.Booking]:
    """Rows as wire models, in the same order."""
    ids = [row.id for row in rows]
    attested = outbox.attestations(session, ids)
    receipts = repository.receipts(session, ids)
    batches = [found.batch_id for found in attested.values() if found.batch_id is not None]
    relayed = transactions.newest(session, batches)
    references = defaultdict(list)
    for event in repository.events_of(session, ids):
        if event.booking_id is not None:
            references[event.booking_id].append(
                wire.ChainReference(
                    event=event.name,
                    tx_hash=event.tx_hash,
                    block_number=event.block_number,
                    timestamp=event.timestamp,
                )
            )
    now = context.now()
    found = []
    for row in rows:
        attestation = attested.get(row.id)
        meter = attestation or receipts.get(row.id)
        sent = relayed.get((attestation and attestation.batch_id) or "")
        unconfirmed = sent is not None and sent.state != RelayState.SIGNED
        found.append(
            wire.Booking(
                id=row.id,
                short_id=row.short_id,
                gpu_id=row.gpu_id,
                status=status_of(row, attestation, now),
                terms=row.terms,
                disputed_at=row.disputed_at,
                used_seconds=meter.used_seconds if meter else 0,
                earned=meter.earned if meter else 0,
                paid=row.paid,
                fee=row.fee,
                refunded=row.refunded,
                remaining=row.remaining,
                transactions=references[row.id],
                settlement_tx=sent.tx_hash if sent is not None and unconfirmed else None,
            )
        )
    return found


def status_of(booking: Booking, attestation: Attestation | None, now: int) -> BookingStatus:
    """Where a booking stands; `searches` has the same rules in SQL."""
    if booking.state == BookingState.CLOSED:
        return next(
            status
            for status, events in searches.CLOSING_EVENTS.items()
            if booking.closing_event in events
        )
    if booking.state == BookingState.DISPUTED:
        return BookingStatus.DISPUTED
    if booking.refused:
        return BookingStatus.REFUSED
    if attestation is not None:
        return BookingStatus.SETTLING if attestation.batch_id else BookingStatus.ATTESTED
    if now < booking.starts_at:
        return BookingStatus.FUNDED
    return BookingStatus.ACTIVE if now < booking.ends_at else BookingStatus.ENDED


def evidence(session: Session, booking_id: str) -> Evidence:
    """What a booking's completion or final receipt rests on. Raises Missing before there is one."""
    booking = find(session, booking_id)
    attestation = outbox.find_attestation(session, booking.id, booking.attested_by)
    if attestation is None:
        raise Missing(
            "no-evidence",
            f"booking {booking.short_id} was not attested",
            hint="its evidence is there once it has ended and was metered",
        )
    return Evidence.model_validate_json(attestation.evidence)


def receipt(session: Session, booking_id: str) -> wire.SignedReceipt:
    """The newest receipt of a booking. Raises Missing before its first heartbeat."""
    booking = find(session, booking_id)
    newest = repository.find_receipt(session, booking.id)
    if newest is None:
        raise Missing(
            "no-receipt",
            f"nothing was delivered for booking {booking.short_id} yet",
            hint="there is a receipt from its first heartbeat on",
        )
    return heartbeats.signed_receipt(newest)
