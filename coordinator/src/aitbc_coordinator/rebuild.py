"""Follows the escrow from its deploy block again, and puts what it says in the projection's place.

All of it is one transaction: whoever reads sees what was there before, or all that is new. What the
chain does not say is kept: listings, quotes and their holds, heartbeats, receipts, and what the
attester signed. What it says no more is done again: a booking that is open once more is settled
again, and a transaction that left no event is looked for again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from sqlalchemy import (
    Column,
    FromClause,
    MetaData,
    Select,
    Table,
    and_,
    except_,
    func,
    insert,
    select,
    union,
)
from sqlmodel import Session, SQLModel

from aitbc.chain.escrow import Escrow
from aitbc.errors import AitbcError
from aitbc_coordinator import serve, signers
from aitbc_coordinator.database import Database
from aitbc_coordinator.leadership import Leadership
from aitbc_coordinator.market import reservations, standing
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement import outbox, repository, transactions
from aitbc_coordinator.settlement.follower import BEFORE_GENESIS, Follower
from aitbc_coordinator.settlement.models import Booking, ChainEvent
from aitbc_coordinator.webhooks import news
from aitbc_coordinator.webhooks import repository as webhooks

MOST_NAMED = 20
_BOOKINGS, _EVENTS = (
    SQLModel.metadata.tables[str(model.__tablename__)] for model in (Booking, ChainEvent)
)

Result = TypeVar("Result")


class Rebuilt(NamedTuple):
    """What was read, and the short ids of bookings that are not as they were, the first ones."""

    last_block: int | None
    events: int
    bookings: int
    changed: int
    named: Sequence[str]


def rebuild(settings: Settings) -> Rebuilt:
    """Rebuild the configured database. Raises AitbcError, and has changed nothing then."""
    serve.configure_logs(settings)
    escrow, _ = serve.open_market(settings, signers.attester_address(settings))
    database = serve.open_database(settings)
    leadership = Leadership(database)
    try:
        if not leadership.hold():
            raise AitbcError(
                "a coordinator works on this database",
                hint="stop every coordinator first: both follow the escrow into it",
            )
        return rebuild_projection(database, escrow, settings)
    finally:
        leadership.release()
        database.close()


def rebuild_projection(database: Database, escrow: Escrow, settings: Settings) -> Rebuilt:
    """Raises ChainError or what web3 raises where no node gives all, and has changed nothing then.

    Nobody else may follow into the database meanwhile.
    """
    with database.session() as session:
        before = _copy_of_bookings(session)
        holds = reservations.set_aside(session)
        standing.forget_all(session)
        repository.forget_chain(session)
        untold = webhooks.take_back(session, BEFORE_GENESIS)
        # What was told must not be told again: afterwards, only what has changed is.
        silent = settings.model_copy(update={"webhook_url": ""})
        follower = Follower(_Within(session), escrow, silent)
        while follower.step():
            pass
        for hold in holds:
            if repository.find_booking(session, hold.booking_id) is None:
                reservations.hold_again(session, hold)
        outbox.delete_claims_except(session, _with_the_same_dispute(before))
        outbox.reopen(session)
        transactions.unmine_without_event(session)
        news.of_bookings(settings, session, untold | _paid_otherwise(session, before))
        rebuilt = _compared(session, before)
        before.drop(session.connection())
        return rebuilt


class _Within:
    """An open transaction in a database's place: what is done in it is part of it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def read(self) -> Iterator[Session]:
        yield self._session

    def transact(self, work: Callable[[Session], Result]) -> Result:
        result = work(self._session)
        self._session.flush()
        return result


def _copy_of_bookings(session: Session) -> Table:
    """A temporary table: there may be more of them than memory holds."""
    columns = [Column(column.name, column.type) for column in _BOOKINGS.columns]
    copy = Table("booking_before", MetaData(), *columns, prefixes=["TEMPORARY"])
    copy.create(session.connection())
    names = [column.name for column in columns]
    session.connection().execute(insert(copy).from_select(names, select(_BOOKINGS)))
    return copy


def _with_the_same_dispute(before: Table) -> Select[tuple[str]]:
    same = and_(_BOOKINGS.c.id == before.c.id, _BOOKINGS.c.disputed_at == before.c.disputed_at)
    return select(before.c.id).join(_BOOKINGS, same)


def _paid_otherwise(session: Session, before: Table) -> set[str]:
    """Ids of bookings that are new, or were paid more or less than was known."""
    known = select(before.c.id).where(
        before.c.id == _BOOKINGS.c.id, before.c.paid == _BOOKINGS.c.paid
    )
    found = session.connection().execute(select(_BOOKINGS.c.id).where(~known.exists()))
    return set(found.scalars())


def _compared(session: Session, before: Table) -> Rebuilt:
    def without(one: Table, other: Table) -> Select[tuple[str]]:
        only = except_(select(one), select(other)).subquery()
        return select(only.c.short_id)

    changed = union(without(before, _BOOKINGS), without(_BOOKINGS, before)).subquery()
    ids = select(changed.c.short_id).order_by(changed.c.short_id).limit(MOST_NAMED)

    def count(table: FromClause) -> int:
        return session.connection().execute(select(func.count()).select_from(table)).scalar_one()

    cursor = repository.cursor(session)
    return Rebuilt(
        last_block=None if cursor is None else cursor.block_number,
        events=count(_EVENTS),
        bookings=count(_BOOKINGS),
        changed=count(changed),
        named=session.connection().execute(ids).scalars().all(),
    )
