"""Units of work that are committed together: each whole or not at all, told once it is kept."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session

from aitbc_coordinator.database import Database
from aitbc_coordinator.group_commit import ATTEMPTS, GroupCommit

TABLES = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL "
    "REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE large (content TEXT)",
)


@pytest.fixture
def tables(empty_database: Database) -> Database:
    with empty_database.session() as session:
        for table in TABLES:
            session.execute(text(table))
    return empty_database


@pytest.fixture
def group(tables: Database) -> Iterator[GroupCommit]:
    """One thread, so that what waits while it is paused is one transaction."""
    made = GroupCommit(tables.engine, 1)
    yield made
    made.close()


@pytest.fixture
def commits(tables: Database) -> list[None]:
    made: list[None] = []
    event.listen(tables.engine, "commit", lambda _connection: made.append(None))
    return made


def adds(number: int) -> Callable[[Session], int]:
    def work(session: Session) -> int:
        session.execute(text("INSERT INTO parent VALUES (:id)"), {"id": number})
        return number

    return work


def orphan(session: Session) -> None:
    """What the database refuses at the end of the transaction only."""
    session.execute(text("INSERT INTO child VALUES (1, 99)"))


def fails(session: Session) -> None:
    adds(7)(session)
    raise ValueError("refused")


def kept(database: Database) -> list[int]:
    with database.read() as session:
        return sorted(session.scalars(text("SELECT id FROM parent")))


def together(group: GroupCommit, *works: Callable[[Session], Any]) -> list[Future[Any]]:
    with group.pause():
        return [group.submit(work) for work in works]


def test_what_waits_is_committed_together(
    group: GroupCommit, tables: Database, commits: list[None]
) -> None:
    found = together(group, *map(adds, range(20)))
    assert [future.result() for future in found] == list(range(20))
    assert kept(tables) == list(range(20))
    assert len(commits) == 1


def test_what_is_refused_undoes_itself_alone(group: GroupCommit, tables: Database) -> None:
    first, refused, last = together(group, adds(1), fails, adds(2))
    with pytest.raises(ValueError, match="refused"):
        refused.result()
    assert (first.result(), last.result()) == (1, 2)
    assert kept(tables) == [1, 2]


def test_what_the_database_refuses_undoes_itself_alone(
    group: GroupCommit, tables: Database
) -> None:
    attempts = []

    def twice(session: Session) -> None:
        attempts.append(adds(3)(session))
        adds(1)(session)

    first, refused, last = together(group, adds(1), twice, adds(2))
    with pytest.raises(IntegrityError):
        refused.result()
    assert (first.result(), last.result()) == (1, 2)
    assert kept(tables) == [1, 2]
    assert len(attempts) == ATTEMPTS


def test_what_met_another_transaction_is_run_again(group: GroupCommit, tables: Database) -> None:
    numbers = iter([1, 1, 2])

    def work(session: Session) -> int:
        return adds(next(numbers))(session)

    assert group.submit(adds(1)).result() == 1
    assert group.submit(work).result() == 2
    assert kept(tables) == [1, 2]


def test_all_fail_where_the_commit_fails(group: GroupCommit, tables: Database) -> None:
    for future in together(group, adds(1), orphan, adds(2)):
        with pytest.raises(IntegrityError):
            future.result()
    assert kept(tables) == []
    assert group.submit(adds(3)).result() == 3
    assert kept(tables) == [3]


def ends_it(session: Session) -> None:
    """As SQLite does where the disk is full."""
    session.execute(text("ROLLBACK"))
    raise ValueError("the whole transaction is gone")


def fills_the_disk(session: Session) -> None:
    pages = session.execute(text("PRAGMA page_count")).scalar_one()
    session.execute(text(f"PRAGMA max_page_count = {pages + 1}"))
    session.execute(text("INSERT INTO large VALUES (zeroblob(1000000))"))


def check_nobody_is_told_a_lie(
    group: GroupCommit, tables: Database, ends: Callable[[Session], None], says: str
) -> None:
    for future in together(group, adds(1), ends, adds(2)):
        with pytest.raises((ValueError, OperationalError), match=says):
            future.result()
    assert kept(tables) == []
    assert group.submit(adds(3)).result() == 3
    assert kept(tables) == [3]


def test_all_fail_where_the_transaction_is_gone(group: GroupCommit, tables: Database) -> None:
    check_nobody_is_told_a_lie(group, tables, ends_it, "gone|savepoint")


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_all_fail_where_the_disk_is_full(group: GroupCommit, tables: Database) -> None:
    check_nobody_is_told_a_lie(group, tables, fills_the_disk, "full|savepoint")


@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
def test_groups_do_not_wait_for_each_other(group: GroupCommit, tables: Database) -> None:
    """Each holds what the other wants: both let go, and what is left over runs alone."""
    both, refused = threading.Barrier(2, timeout=10), []
    event.listen(
        tables.engine, "handle_error", lambda met: refused.append(met.original_exception.sqlstate)
    )
    other = GroupCommit(tables.engine, 1)
    for number in (1, 2):
        group.submit(adds(number)).result()

    def locks(number: int, *, first: bool) -> Callable[[Session], int]:
        waits = iter([both.wait] if first else [])

        def work(session: Session) -> int:
            row = text("SELECT id FROM parent WHERE id = :id FOR UPDATE")
            session.execute(row, {"id": number})
            for wait in waits:
                wait()
            return number

        return work

    with group.pause(), other.pause():
        futures = [
            one.submit(locks(number, first=first))
            for one, numbers in ((group, (1, 2)), (other, (2, 1)))
            for number, first in zip(numbers, (True, False), strict=True)
        ]
    assert [future.result(timeout=20) for future in futures] == [1, 2, 2, 1]
    other.close()
    assert refused
    assert set(refused) == {"55P03"}, "not a deadlock, which takes a second to be found"


def test_nobody_is_told_before_the_commit(group: GroupCommit, tables: Database) -> None:
    done_before = []
    with group.pause():
        futures = [group.submit(adds(1)), group.submit(adds(2))]

        @event.listens_for(tables.engine, "commit")
        def _look(_connection: Any) -> None:
            done_before.extend(future.done() for future in futures)

    assert [future.result() for future in futures] == [1, 2]
    assert done_before == [False, False]


def test_a_pause_comes_in_its_turn(group: GroupCommit, tables: Database) -> None:
    before = group.submit(adds(1))
    with group.pause():
        after = group.submit(adds(2))
        assert before.done()
        assert kept(tables) == [1]
        assert not after.done()
    assert after.result() == 2


def test_what_nobody_waits_for_any_more_is_not_run(group: GroupCommit, tables: Database) -> None:
    with group.pause():
        given_up, other = group.submit(adds(1)), group.submit(adds(2))
        assert given_up.cancel()
    assert other.result() == 2
    assert kept(tables) == [2]
    with pytest.raises(CancelledError):
        given_up.result()


def test_closing_finishes_what_was_submitted(group: GroupCommit, tables: Database) -> None:
    futures = together(group, *map(adds, range(100)))
    group.close()
    assert all(future.done() for future in futures)
    assert kept(tables) == list(range(100))
    assert group.submit(adds(100)).result() == 100, "it can be used again"


def test_threads_coroutines_and_sessions_write_at_the_same_time(tables: Database) -> None:
    def one_by_one(start: int) -> None:
        for number in range(start, start + 20):
            assert tables.transact(adds(number)) == number

    def in_sessions(start: int) -> None:
        for number in range(start, start + 20):
            with tables.session() as session:
                adds(number)(session)

    async def all_at_once(start: int) -> list[int]:
        return await asyncio.gather(*(tables.write(adds(n)) for n in range(start, start + 20)))

    threads = [
        threading.Thread(target=run, args=(start,))
        for start, run in ((0, one_by_one), (20, one_by_one), (40, in_sessions), (60, in_sessions))
    ]
    for thread in threads:
        thread.start()
    assert asyncio.run(all_at_once(80)) == list(range(80, 100))
    for thread in threads:
        thread.join()
    assert kept(tables) == list(range(100))
