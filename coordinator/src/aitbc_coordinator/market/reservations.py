"""What becomes of a quoted GPU when the chain speaks. Called while its events are followed."""

from collections.abc import Sequence

from sqlmodel import Session

from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.market import repository
from aitbc_coordinator.market.models import Quote, Reservation


def find_quote(session: Session, booking_id: str) -> Quote | None:
    """The quote whose terms have this booking id (0x-hex, 32 bytes)."""
    return repository.quote_of_booking(session, booking_id)


def confirm(session: Session, booking_id: str) -> Quote | None:
    """A booking was funded: its GPU is reserved for good. Harmless to repeat.

    Returns None when the GPU cannot be given to it: no quote offered these terms, or its hold
    lapsed (which only a reorg can bring about) and somebody else has the GPU now.
    """
    quote = repository.quote_of_booking(session, booking_id)
    if quote is None:
        return None
    reservation = repository.reservation_of(session, quote.id)
    if reservation is None:
        return quote if _reserve(session, quote, held_until=None) else None
    reservation.held_until = None
    session.flush()
    return quote


def unconfirm(session: Session, booking_id: str) -> None:
    """A reorg took the funding back: the GPU is only held again, until the quote's `fund_by`."""
    quote = repository.quote_of_booking(session, booking_id)
    if quote is None:
        return
    reservation = repository.reservation_of(session, quote.id)
    if reservation is None:
        _reserve(session, quote, held_until=quote.fund_by)
        return
    reservation.held_until = quote.fund_by
    session.flush()


def release(session: Session, booking_id: str, *, at: int | None = None) -> None:
    """A booking was closed at `at` (default: the followed chain's time): its GPU is free.

    Where a reorg takes the closing back, `confirm` reserves the GPU anew.
    """
    quote = repository.quote_of_booking(session, booking_id)
    if quote is None:
        return
    reservation = repository.reservation_of(session, quote.id)
    if reservation is None:
        return
    repository.delete_reservation(session, reservation)
    closed_at = chain_time(session) if at is None else at
    if closed_at > quote.starts_at:
        repository.idle_from(session, quote.gpu_id, min(closed_at, quote.ends_at))


def set_aside(session: Session) -> Sequence[Quote]:
    """Free all GPUs. Returns the quotes of those that were held until somebody pays."""
    quotes = repository.quotes_held(session, chain_time(session))
    repository.delete_reservations(session)
    return quotes


def hold_again(session: Session, quote: Quote) -> None:
    """Hold what a quote offers until its `fund_by`, unless its GPU was taken meanwhile."""
    _reserve(session, quote, held_until=quote.fund_by)


def _reserve(session: Session, quote: Quote, held_until: int | None) -> bool:
    now = chain_time(session)
    repository.delete_lapsed(session, [quote.gpu_id], now)
    standing = repository.reservations(session, [quote.gpu_id], quote.starts_at, now)
    if any(other.starts_at < quote.ends_at for other in standing):
        return False
    repository.add(
        session,
        Reservation(
            gpu_id=quote.gpu_id,
            quote_id=quote.id,
            starts_at=quote.starts_at,
            ends_at=quote.ends_at,
            held_until=held_until,
        ),
    )
    return True
