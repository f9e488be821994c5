"""SQL of the chain's projection and of what is metered. Nothing here commits."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, and_, delete, func, update
from sqlalchemy import select as sql_select
from sqlmodel import Session, SQLModel, col, select

from aitbc.protocol.messages import Terms
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.database import among, insert_rows
from aitbc_coordinator.settlement.models import (
    Booking,
    BookingState,
    ChainBlock,
    ChainEvent,
    Heartbeat,
    Receipt,
    SessionGrant,
)

Row = Mapping[str, Any]
Place = tuple[int, int]
"""Of an event: its block, and its index among the block's logs."""


class StoredEvent(NamedTuple):
    """What of a stored event is needed to read it again."""

    booking_id: str
    block_number: int
    log_index: int
    name: str
    payload: str

    @property
    def place(self) -> Place:
        return self.block_number, self.log_index


class Signed(NamedTuple):
    """What somebody signed, as JSON, with the signature."""

    payload: str
    signature: str


class KnownBooking(NamedTuple):
    """What the market has made of a booking."""

    id: str
    gpu_id: str | None
    state: BookingState
    disputed_at: int | None


class Standing(NamedTuple):
    """What of a booking may change while it is metered; its terms never do."""

    state: BookingState
    disputed_at: int | None
    refused: bool


class Meter(NamedTuple):
    """The meter of a booking so far, and the attester's newest receipt for it."""

    booking_id: str
    used_seconds: int
    earned: int
    signature: str


_IDS = "booking_ids"
_EVENTS, _BOOKINGS = (
    SQLModel.metadata.tables[str(model.__tablename__)] for model in (ChainEvent, Booking)
)
_PLACES = sql_select(_EVENTS.c.block_number, _EVENTS.c.log_index).where(
    among(_EVENTS.c.block_number, "numbers", BigInteger)
)
_STORED = (
    sql_select(*(_EVENTS.c[name] for name in StoredEvent._fields))
    .where(among(_EVENTS.c.booking_id, _IDS))
    .order_by(_EVENTS.c.block_number, _EVENTS.c.log_index)
)
_KNOWN = sql_select(*(_BOOKINGS.c[name] for name in KnownBooking._fields)).where(
    among(_BOOKINGS.c.id, _IDS)
)
_HEARTBEATS = (
    sql_select(col(Heartbeat.booking_id), col(Heartbeat.payload), col(Heartbeat.signature))
    .where(among(col(Heartbeat.booking_id), _IDS))
    .order_by(col(Heartbeat.booking_id), col(Heartbeat.sequence))
)
_LAST_SEQUENCES = (
    sql_select(col(Heartbeat.booking_id), func.max(col(Heartbeat.sequence)))
    .where(among(col(Heartbeat.booking_id), _IDS))
    .group_by(col(Heartbeat.booking_id))
)
_GRANTS_USED = (
    sql_select(col(Heartbeat.booking_id), col(SessionGrant.payload), col(SessionGrant.signature))
    .join(Booking, col(Booking.id) == col(Heartbeat.booking_id))
    .join(
        SessionGrant,
        and_(
            col(SessionGrant.provider) == col(Booking.provider),
            col(SessionGrant.session_key) == col(Heartbeat.session_key),
        ),
    )
    .where(among(col(Heartbeat.booking_id), _IDS))
    .distinct()
)
_SOME_BOOKINGS = select(Booking).where(among(col(Booking.id), _IDS)).order_by(col(Booking.id))
_STANDING = (
    sql_select(_BOOKINGS.c.id, *(_BOOKINGS.c[name] for name in Standing._fields))
    .where(among(_BOOKINGS.c.id, _IDS))
    .order_by(_BOOKINGS.c.id)
    .with_for_update()
)
_RECEIPTS = sql_select(*(getattr(Receipt, name) for name in Meter._fields)).where(
    among(col(Receipt.booking_id), _IDS)
)
_FIXED = {"id", "short_id", *Terms.model_fields}
_CHANGING = tuple(name for name in Booking.model_fields if name not in _FIXED)


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


def places(session: Session, block_numbers: Collection[int]) -> set[Place]:
    """Of the events that are stored of some blocks."""
    rows: Any = session.connection().execute(_PLACES, {"numbers": block_numbers})
    return {(number, index) for number, index in rows}


def add_events(session: Session, rows: Sequence[Row]) -> None:
    insert_rows(session, ChainEvent, rows)


def events_of(session: Session, booking_ids: Collection[str]) -> Sequence[ChainEvent]:
    """The events of some bookings, in the chain's order."""
    query = (
        select(ChainEvent)
        .where(among(col(ChainEvent.booking_id), _IDS))
        .order_by(col(ChainEvent.block_number), col(ChainEvent.log_index))
    )
    return session.exec(query, params={_IDS: booking_ids}).all()


def stored_events(session: Session, booking_ids: Collection[str]) -> Iterator[StoredEvent]:
    """The events of some bookings, each booking's in the chain's order."""
    rows: Any = session.connection().execute(_STORED, {_IDS: booking_ids})
    yield from (StoredEvent(*row) for row in rows)


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


def known_bookings(session: Session, booking_ids: Collection[str]) -> dict[str, KnownBooking]:
    """What is known of some bookings, by their ids; of those that are known."""
    rows: Any = session.connection().execute(_KNOWN, {_IDS: booking_ids})
    return {row.id: KnownBooking(*row) for row in rows}


def save_bookings(session: Session, rows: Iterable[Row]) -> None:
    """Add bookings, or change what of them may change; each row has all columns."""
    # In one order, whoever locks several.
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    insert_rows(session, Booking, ordered, changing=_CHANGING)


def delete_bookings(session: Session, booking_ids: Collection[str]) -> None:
    session.exec(delete(Booking).where(among(col(Booking.id), _IDS)), params={_IDS: booking_ids})


def find_booking(session: Session, booking_id: str, *, lock: bool = False) -> Booking | None:
    """A booking by its full id; with `lock`, nobody else meters or attests it meanwhile."""
    return session.get(Booking, booking_id, with_for_update=lock)


def bookings_of_gpu(session: Session, gpu_id: str) -> Sequence[Booking]:
    """All bookings that a GPU was given to, the earliest start first."""
    query = select(Booking).where(col(Booking.gpu_id) == gpu_id)
    return session.exec(query.order_by(col(Booking.starts_at), col(Booking.id))).all()


def bookings(session: Session, booking_ids: Collection[str]) -> Sequence[Booking]:
    """Those of some bookings that there are, in the order of their ids."""
    return session.exec(_SOME_BOOKINGS, params={_IDS: booking_ids}).all()


def lock_bookings(session: Session, booking_ids: Collection[str]) -> dict[str, Standing]:
    """How bookings stand, which nobody else meters or attests meanwhile; locked in one order."""
    rows: Any = session.connection().execute(_STANDING, {_IDS: booking_ids})
    return {booking_id: Standing(*standing) for booking_id, *standing in rows}


def save_grant(session: Session, grant: SessionGrant) -> None:
    session.merge(grant)
    session.flush()


def find_grant(
    session: Session, provider: str, session_key: str, *, lock: bool = False
) -> SessionGrant | None:
    return session.get(SessionGrant, (provider, session_key), with_for_update=lock)


def grants_used(session: Session, booking_ids: Collection[str]) -> dict[str, list[Signed]]:
    """The grants of the keys that signed bookings' heartbeats, by booking."""
    return _signed(session, _GRANTS_USED, booking_ids)


def heartbeats(session: Session, booking_ids: Collection[str]) -> dict[str, list[Signed]]:
    """Bookings' heartbeats in the order of their numbers, by booking."""
    return _signed(session, _HEARTBEATS, booking_ids)


def _signed(
    session: Session, statement: Select[str, str, str], booking_ids: Collection[str]
) -> dict[str, list[Signed]]:
    found: dict[str, list[Signed]] = {}
    rows: Any = session.connection().execute(statement, {_IDS: booking_ids})
    for booking_id, payload, signature in rows:
        found.setdefault(booking_id, []).append(Signed(payload, signature))
    return found


def last_heartbeat(session: Session, booking_id: str) -> Heartbeat | None:
    query = select(Heartbeat).where(col(Heartbeat.booking_id) == booking_id)
    return session.exec(query.order_by(col(Heartbeat.sequence).desc()).limit(1)).first()


def last_sequences(session: Session, booking_ids: Collection[str]) -> dict[str, int]:
    """The number of the last heartbeat of each booking that has any."""
    rows: Any = session.connection().execute(_LAST_SEQUENCES, {_IDS: booking_ids})
    return dict(rows.all())


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


def find_receipt(session: Session, booking_id: str) -> Meter | None:
    return receipts(session, [booking_id]).get(booking_id)


def receipts(session: Session, booking_ids: Collection[str]) -> dict[str, Meter]:
    rows: Any = session.connection().execute(_RECEIPTS, {_IDS: booking_ids})
    return {row.booking_id: Meter(*row) for row in rows}


def save_receipts(session: Session, rows: Iterable[Meter]) -> None:
    """Add receipts, or put them in the place of earlier ones."""
    values = [row._asdict() for row in rows]
    insert_rows(session, Receipt, values, changing=("used_seconds", "earned", "signature"))
