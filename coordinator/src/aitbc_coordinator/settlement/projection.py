"""What events mean for bookings and for the market. Applying one twice changes nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter
from sqlmodel import Session

from aitbc.errors import ChainError
from aitbc.protocol import events as escrow_events
from aitbc.protocol import ledger
from aitbc.protocol.events import BookingEvent, Disputed, EscrowEvent, Funded
from aitbc.protocol.ids import short_booking_id
from aitbc_coordinator.market import reservations, standing
from aitbc_coordinator.settlement import deliveries, outbox, repository
from aitbc_coordinator.settlement.models import Booking, BookingState, ChainEvent


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


def apply(session: Session, event: EscrowEvent) -> None:
    """Store a confirmed event, and bring its booking and the market in line with it."""
    booking_id = event.booking_id if isinstance(event, BookingEvent) else None
    if not repository.add_event(session, _row(event, booking_id)) or booking_id is None:
        return
    booking = _recompute(session, booking_id)
    if booking is None:
        raise ChainError(
            f"booking {booking_id} has events, but was never funded since the deploy block",
            hint="set deploy_block to the block in which the escrow was deployed",
        )
    if booking.state != BookingState.OPEN:
        reservations.release(session, booking_id, at=event.timestamp)


def rewind(session: Session, number: int) -> None:
    """Take back all that was followed above a block; the caller moves the cursor."""
    touched = repository.delete_above(session, number)
    for booking_id in touched:
        before = repository.find_booking(session, booking_id)
        was_over = before is not None and before.state != BookingState.OPEN
        disputed_at = None if before is None else before.disputed_at
        booking = _recompute(session, booking_id)
        if booking is None:
            reservations.unconfirm(session, booking_id)
        elif was_over and not booking.refused and booking.state == BookingState.OPEN:
            _reserve_again(session, booking)
        if booking is None or booking.disputed_at != disputed_at:
            outbox.delete_claim(session, booking_id)
    outbox.reopen(session, touched)
    outbox.unmine_above(session, number)


def event_of(row: ChainEvent) -> EscrowEvent:
    """The event that a row stores."""
    kind: type[EscrowEvent] = getattr(escrow_events, row.name)
    event: EscrowEvent = TypeAdapter(kind).validate_json(row.payload)
    return event


def _row(event: EscrowEvent, booking_id: str | None) -> ChainEvent:
    return ChainEvent(
        block_number=event.block_number,
        log_index=event.log_index,
        block_hash=event.block_hash,
        tx_hash=event.tx_hash,
        name=type(event).__name__,
        booking_id=booking_id,
        timestamp=event.timestamp,
        payload=TypeAdapter(type(event)).dump_json(event).decode(),
    )


def _recompute(session: Session, booking_id: str) -> Booking | None:
    """Rebuild a booking's row from its stored events; None, and no row, where none funds it."""
    events = [event_of(row) for row in repository.events_of(session, [booking_id])]
    own = [event for event in events if isinstance(event, BookingEvent)]
    funded = next((event for event in own if isinstance(event, Funded)), None)
    if funded is None:
        standing.forget(session, booking_id)
        repository.delete_booking(session, booking_id)
        return None
    known = repository.find_booking(session, booking_id)
    gpu_id = _reserve(session, booking_id) if known is None else known.gpu_id
    terms, totals = funded.terms, money(funded.terms.amount, own)
    disputed_at = next((event.timestamp for event in own if isinstance(event, Disputed)), None)
    unclosed = BookingState.OPEN if disputed_at is None else BookingState.DISPUTED
    booking = repository.save_booking(
        session,
        Booking(
            id=booking_id,
            short_id=short_booking_id(booking_id),
            buyer=terms.buyer,
            provider=terms.provider,
            amount=terms.amount,
            fund_by=terms.fund_by,
            starts_at=terms.starts_at,
            ends_at=terms.ends_at,
            listing=terms.listing,
            salt=terms.salt,
            gpu_id=gpu_id,
            refused=gpu_id is None,
            funded_at=funded.timestamp,
            disputed_at=disputed_at,
            state=BookingState.CLOSED if totals.closed_by else unclosed,
            closing_event=totals.closed_by,
            paid=totals.paid,
            fee=totals.fee,
            refunded=totals.refunded,
            remaining=totals.remaining,
        ),
    )
    deliveries.keep(session, booking, own[-1])
    return booking


def _reserve_again(session: Session, booking: Booking) -> None:
    """Take back the GPU of a booking that was over; it is refused if somebody else has it now."""
    if reservations.confirm(session, booking.id) is None:
        repository.refuse(session, booking)


def _reserve(session: Session, booking_id: str) -> str | None:
    """Reserve what a newly funded booking was offered; None where it must be refused."""
    attestation = outbox.find_attestation(session, booking_id)
    if attestation is not None and attestation.refused:
        # Funded again after a reorg: the refusal that was signed then still stands.
        return None
    quote = reservations.confirm(session, booking_id)
    return None if quote is None else quote.gpu_id
