"""SQL of the chain's projection and of what is metered. Nothing here commits."""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.settlement.models import (
    Booking,
    ChainBlock,
    ChainEvent,
    Heartbeat,
    Receipt,
    SessionGrant,
)


def cursor(session: Session) -> ChainCursor | None:
    return session.get(ChainCursor, 1)


def lock_cursor(session: Session) -> None:
    """Let no other transaction that locks it run beside this one, in any replica."""
    session.get(ChainCursor, 1, with_for_update=True)


def move_cursor(session: Session, cursor: ChainCursor) -> None:
    session.merge(ChainBlock(number=cursor.block_number, hash=cursor.block_hash))
    if cursor.final_number is not None and cursor.final_hash is not None:
        session.merge(ChainBlock(number=cursor.final_number, hash=cursor.final_hash))
    session.merge(cursor)


def halt(session: Session, reason: str | None) -> None:
    """Say why the follower stopped; None: it goes on."""
    session.exec(update(ChainCursor).values(halted=reason))


def forget_cursor(session: Session) -> None:
    session.exec(delete(ChainCursor))


def forget_chain(session: Session) -> None:
    """Delete all that the chain says."""
    for projected in (ChainCursor, ChainBlock, ChainEvent, Booking):
        session.exec(delete(projected))


def prune_blocks(session: Session, below: int) -> None:
    session.exec(delete(ChainBlock).where(col(ChainBlock.number) < below))


def block_before(session: Session, number: int) -> ChainBlock | None:
    """The highest followed block below a number."""
    query = select(ChainBlock).where(col(ChainBlock.number) < number)
    return session.exec(query.order_by(col(ChainBlock.number).desc()).limit(1)).first()


def add_event(session: Session, event: ChainEvent) -> bool:
    """Store an event. Returns False when it was there."""
    if session.get(ChainEvent, (event.block_number, event.log_index)) is not None:
        return False
    session.add(event)
    session.flush()
    return True


def events_of(session: Session, booking_ids: Iterable[str]) -> Sequence[ChainEvent]:
    """The events of some bookings, in the chain's order."""
    query = (
        select(ChainEvent)
        .where(col(ChainEvent.booking_id).in_(list(booking_ids)))
        .order_by(col(ChainEvent.block_number), col(ChainEvent.log_index))
    )
    return session.exec(query).all()


def delete_above(session: Session, number: int) -> list[str]:
    """Forget the blocks above a number with their events; return the bookings these were of."""
    later = col(ChainEvent.block_number) > number
    touched = session.exec(
        select(col(ChainEvent.booking_id))
        .where(later, col(ChainEvent.booking_id).is_not(None))
        .distinct()
    ).all()
    session.exec(delete(ChainEvent).where(later))
    session.exec(delete(ChainBlock).where(col(ChainBlock.number) > number))
    return [booking_id for booking_id in touched if booking_id is not None]


def save_booking(session: Session, booking: Booking) -> Booking:
    saved = session.merge(booking)
    session.flush()
    return saved


def refuse(session: Session, booking: Booking) -> None:
    """A booking has no GPU here: all that was not earned goes back to its buyer."""
    booking.gpu_id, booking.refused = None, True
    session.flush()


def delete_booking(session: Session, booking_id: str) -> None:
    session.exec(delete(Booking).where(col(Booking.id) == booking_id))


def find_booking(session: Session, booking_id: str, *, lock: bool = False) -> Booking | None:
    """A booking by its full id; with `lock`, nobody else meters or attests it meanwhile."""
    return session.get(Booking, booking_id, with_for_update=lock)


def bookings_of_gpu(session: Session, gpu_id: str) -> Sequence[Booking]:
    """All bookings that a GPU was given to, the earliest start first."""
    query = select(Booking).where(col(Booking.gpu_id) == gpu_id)
    return session.exec(query.order_by(col(Booking.starts_at), col(Booking.id))).all()


def save_grant(session: Session, grant: SessionGrant) -> None:
    session.merge(grant)
    session.flush()


def find_grant(
    session: Session, provider: str, session_key: str, *, lock: bool = False
) -> SessionGrant | None:
    return session.get(SessionGrant, (provider, session_key), with_for_update=lock)


def grants_used(session: Session, booking: Booking) -> Sequence[SessionGrant]:
    """The grants of the keys that signed a booking's heartbeats."""
    keys = select(col(Heartbeat.session_key)).where(col(Heartbeat.booking_id) == booking.id)
    query = select(SessionGrant).where(
        col(SessionGrant.provider) == booking.provider, col(SessionGrant.session_key).in_(keys)
    )
    return session.exec(query).all()


def heartbeats(session: Session, booking_id: str) -> Sequence[Heartbeat]:
    query = select(Heartbeat).where(col(Heartbeat.booking_id) == booking_id)
    return session.exec(query.order_by(col(Heartbeat.sequence))).all()


def last_heartbeat(session: Session, booking_id: str) -> Heartbeat | None:
    query = select(Heartbeat).where(col(Heartbeat.booking_id) == booking_id)
    return session.exec(query.order_by(col(Heartbeat.sequence).desc()).limit(1)).first()


def overlapping(
    session: Session, booking_id: str, covers_from: int, covers_until: int
) -> list[tuple[int, int]]:
    """The covered intervals of a booking that overlap one."""
    query = select(col(Heartbeat.covers_from), col(Heartbeat.covers_until)).where(
        col(Heartbeat.booking_id) == booking_id,
        col(Heartbeat.covers_until) > covers_from,
        col(Heartbeat.covers_from) < covers_until,
    )
    return list(session.exec(query))


def add_heartbeat(session: Session, heartbeat: Heartbeat) -> None:
    session.add(heartbeat)
    session.flush()


def find_receipt(session: Session, booking_id: str) -> Receipt | None:
    return session.get(Receipt, booking_id)


def receipts(session: Session, booking_ids: Iterable[str]) -> dict[str, Receipt]:
    query = select(Receipt).where(col(Receipt.booking_id).in_(list(booking_ids)))
    return {receipt.booking_id: receipt for receipt in session.exec(query)}


def save_receipt(session: Session, receipt: Receipt) -> Receipt:
    saved = session.merge(receipt)
    session.flush()
    return saved
