"""What events mean for bookings and for the market. Applying one twice changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter
from sqlmodel import Session

from aitbc.errors import ChainError
from aitbc.protocol import events as escrow_events
from aitbc.protocol import ledger
from aitbc.protocol.events import BookingEvent, Disputed, EscrowEvent, Funded
from aitbc.protocol.ids import short_booking_id
from aitbc_coordinator.market import standing
from aitbc_coordinator.market.reservations import Promised
from aitbc_coordinator.settlement import deliveries, outbox, repository, transactions
from aitbc_coordinator.settlement.models import BookingState
from aitbc_coordinator.settlement.repository import KnownBooking, Place
from aitbc_coordinator.webhooks import repository as webhooks

Histories = dict[str, list[BookingEvent]]
"""Of each booking, by its id, all its events in the chain's order."""


class Stored(Protocol):
    """What of a stored event says which it was."""

    @property
    def name(self) -> str: ...
    @property
    def payload(self) -> str: ...


class Money(NamedTuple):
    """Where a booking's amount is, in base units; `closed_by` names the event that closed it."""

    paid: int
    fee: int
    refunded: int
    remaining: int
    closed_by: str | None


def money(amount: int, events: Sequence[BookingEvent]) -> Money:
    """Sum a booking's events, `Funded` among them, given in the chain's order."""
    moved = sum(ledger.moves(amount, events), ledger.Money())
    remaining = amount - moved.total
    closed_by = None if remaining else type(events[-1]).__name__
    return Money(moved.paid, moved.fees, moved.refunded, remaining, closed_by)


def apply(session: Session, events: Sequence[EscrowEvent]) -> list[BookingEvent]:
    """Store confirmed events, and bring their bookings and the market in line with them.

    Returns those of bookings that were not stored before. Raises ChainError where a booking has
    events, and was never funded.
    """
    stored = repository.places(session, {event.block_number for event in events})
    unseen = [event for event in events if _place(event) not in stored]
    fresh = [event for event in unseen if isinstance(event, BookingEvent)]
    histories = _histories(session, {event.booking_id for event in fresh})
    for event in fresh:
        histories[event.booking_id].append(event)
    for booking_id, history in histories.items():
        history.sort(key=_place)
        if not any(isinstance(event, Funded) for event in history):
            raise ChainError(
                f"booking {booking_id} has events, but was never funded since the deploy block",
                hint="set deploy_block to the block in which the escrow was deployed",
            )
    repository.add_events(session, [_row(event) for event in unseen])
    known = repository.known_bookings(session, histories)
    promised = Promised(session, histories)
    gpus = _reserve_and_release(session, promised, fresh, histories, known)
    # A heartbeat locks its booking, and then its GPU: whoever goes the other way meets it.
    _save(session, histories, known, gpus)
    promised.write()
    return fresh


def rewind(session: Session, number: int) -> None:
    """Take back all that was followed above a block; the caller moves the cursor."""
    touched = repository.delete_above(session, number)
    histories = _histories(session, touched)
    known = repository.known_bookings(session, touched)
    promised = Promised(session, touched)
    gpus: dict[str, str | None] = {}
    for booking_id, before in known.items():
        history = histories[booking_id]
        if not history:
            promised.unconfirm(booking_id)
        elif before.state != BookingState.OPEN and before.gpu_id and _over(history) is None:
            # Refused if somebody else has its GPU now.
            quoted = promised.confirm(booking_id)
            gpus[booking_id] = None if quoted is None else quoted.gpu_id
    outbox.delete_claims(
        session, [id_ for id_ in known if known[id_].disputed_at != _disputed_at(histories[id_])]
    )
    gone = [booking_id for booking_id in touched if not histories[booking_id]]
    for booking_id in gone:
        del histories[booking_id]
    standing.forget(session, gone)
    repository.delete_bookings(session, gone)
    _save(session, histories, known, gpus)
    promised.write()
    outbox.reopen(session, touched)
    transactions.unmine_above(session, number)
    webhooks.take_back(session, number)


def event_of(row: Stored) -> EscrowEvent:
    """The event that a row stores."""
    event: EscrowEvent = _adapter(row.name).validate_json(row.payload)
    return event


def _row(event: EscrowEvent) -> dict[str, Any]:
    """An event as a row of `ChainEvent`."""
    name = type(event).__name__
    return {
        "block_number": event.block_number,
        "log_index": event.log_index,
        "block_hash": event.block_hash,
        "tx_hash": event.tx_hash,
        "name": name,
        "booking_id": event.booking_id if isinstance(event, BookingEvent) else None,
        "timestamp": event.timestamp,
        "payload": _adapter(name).dump_json(event).decode(),
    }


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    """Of the events with a name: to make one costs more than to use it."""
    return TypeAdapter(getattr(escrow_events, name))


def _place(event: EscrowEvent) -> Place:
    return event.block_number, event.log_index


def _histories(session: Session, booking_ids: Iterable[str]) -> Histories:
    """What is stored of some bookings."""
    found: Histories = {booking_id: [] for booking_id in booking_ids}
    for row in repository.stored_events(session, found):
        event = event_of(row)
        if isinstance(event, BookingEvent):
            found[row.booking_id].append(event)
    return found


def _reserve_and_release(
    session: Session,
    promised: Promised,
    fresh: Sequence[BookingEvent],
    histories: Histories,
    known: Mapping[str, KnownBooking],
) -> dict[str, str | None]:
    """What events mean for GPUs, in their order. Returns, by booking, what new ones are given."""
    new = [booking_id for booking_id in histories if booking_id not in known]
    # Funded again after a reorg: the refusal that was signed then still stands.
    refused = outbox.refused(session, new)
    over = {booking_id: _over(history) for booking_id, history in histories.items()}
    gpus: dict[str, str | None] = {}
    for event in fresh:
        booking_id = event.booking_id
        if isinstance(event, Funded):
            if booking_id not in known:
                quoted = None if booking_id in refused else promised.confirm(booking_id)
                gpus[booking_id] = None if quoted is None else quoted.gpu_id
        elif event is over[booking_id]:
            promised.release(booking_id, at=event.timestamp)
    return gpus


def _over(history: Sequence[BookingEvent]) -> BookingEvent | None:
    """The event from which on a booking needs no GPU; None while it does."""
    remaining = next(event.terms.amount for event in history if isinstance(event, Funded))
    for event, moved in zip(history, ledger.moves(remaining, history), strict=True):
        remaining -= moved.total
        if isinstance(event, Disputed) or remaining == 0:
            return event
    return None


def _disputed_at(history: Iterable[BookingEvent]) -> int | None:
    return next((event.timestamp for event in history if isinstance(event, Disputed)), None)


def _save(
    session: Session,
    histories: Histories,
    known: Mapping[str, KnownBooking],
    gpus: Mapping[str, str | None],
) -> None:
    """Write what bookings are by their events. `gpus` has those that are given one, or none."""
    rows = []
    for booking_id, history in histories.items():
        before = known.get(booking_id)
        gpu_id = gpus.get(booking_id) if booking_id in gpus or before is None else before.gpu_id
        rows.append(_booking(booking_id, history, gpu_id))
    repository.save_bookings(session, rows)
    deliveries.keep(session, ((row, histories[row["id"]][-1]) for row in rows))


def _booking(
    booking_id: str, history: Sequence[BookingEvent], gpu_id: str | None
) -> dict[str, Any]:
    """A booking as a row of `Booking`."""
    funded = next(event for event in history if isinstance(event, Funded))
    terms, disputed_at = funded.terms, _disputed_at(history)
    totals = money(terms.amount, history)
    unclosed = BookingState.OPEN if disputed_at is None else BookingState.DISPUTED
    return {
        "id": booking_id,
        "short_id": short_booking_id(booking_id),
        **dict(terms),
        "gpu_id": gpu_id,
        "refused": gpu_id is None,
        "funded_at": funded.timestamp,
        "disputed_at": disputed_at,
        "state": BookingState.CLOSED if totals.closed_by else unclosed,
        "closing_event": totals.closed_by,
        "paid": totals.paid,
        "fee": totals.fee,
        "refunded": totals.refunded,
        "remaining": totals.remaining,
    }
