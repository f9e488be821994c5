"""Units of work that come at the same time are committed together.

A commit waits for the disk however much is in it, and SQLite has one writer at a time.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from aitbc_coordinator.errors import Contended
from aitbc_coordinator.fault_points import FaultPoint, reach

MOST_UNITS = 32
"""In one transaction."""
ATTEMPTS = 5
_BRIEFLY = text("SET LOCAL lock_timeout = '20ms'")
_RETRIED_STATES = frozenset({"23505", "23P01", "40001", "40P01", "55P03"})
"""Unique and exclusion violations, serialization failures, deadlocks and locks not had in time."""
_RETRIED_SQLITE = (
    "SQLITE_BUSY",
    "SQLITE_CONSTRAINT_PRIMARYKEY",
    "SQLITE_CONSTRAINT_TRIGGER",
    "SQLITE_CONSTRAINT_UNIQUE",
)

Result = TypeVar("Result")


@dataclass(slots=True)
class _Unit:
    work: Callable[[Session], Any]
    future: "Future[Any]" = field(default_factory=Future)
    attempts: int = 0


class _Failed(NamedTuple):
    error: Exception


@dataclass(slots=True)
class _Pause:
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


_END = object()


class GroupCommit:
    """Threads that run units of work: one for each transaction that may be open at a time."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._waiting: SimpleQueue[object] = SimpleQueue()
        self._number = threads
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def submit(self, work: Callable[[Session], Result]) -> "Future[Result]":
        """The result of `work`, once it is committed.

        What it wrote is undone, and nothing else's, when it raises; where it met another
        transaction it is run again in one of its own. Every unit of a transaction that cannot be
        committed fails.
        """
        unit = _Unit(work)
        self._put(unit)
        return unit.future

    @contextmanager
    def pause(self) -> Iterator[None]:
        """One thread less begins a transaction, after those that came before."""
        pause = _Pause()
        self._put(pause)
        pause.begun.wait()
        try:
            yield
        finally:
            pause.ended.set()

    def close(self) -> None:
        """Finish what was submitted, and end the threads."""
        with self._starting:
            for _ in self._threads:
                self._waiting.put(_END)
            for thread in self._threads:
                thread.join()
            self._threads = []

    def _put(self, item: object) -> None:
        self._waiting.put(item)
        if self._threads:
            return
        with self._starting:
            while len(self._threads) < self._number:
                name = f"group-commit-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()

    def _run(self) -> None:
        while True:
            units, other = self._next()
            if units:
                self._commit(units)
            if isinstance(other, _Pause):
                other.begun.set()
                other.ended.wait()
            elif other is _END:
                return

    def _next(self) -> "tuple[list[_Unit], object]":
        """Units that wait, at least one; or those before something else, and that."""
        units: list[_Unit] = []
        item = self._waiting.get()
        while isinstance(item, _Unit):
            if item.future.set_running_or_notify_cancel():
                units.append(item)
            if len(units) == MOST_UNITS:
                return units, None
            try:
                item = self._waiting.get_nowait()
            except Empty:
                return units, None
        return units, item

    def _commit(self, units: Sequence[_Unit]) -> None:
        outcomes: list[Any] = []
        try:
            with self._engine.begin() as connection:
                if len(units) > 1 and connection.dialect.name == "postgresql":
                    # Others wait for what a group has locked: it must not wait for them in turn.
                    connection.execute(_BRIEFLY)
                outcomes += [_attempt(connection, unit.work) for unit in units]
                reach(FaultPoint.GROUP_WRITING)
            reach(FaultPoint.GROUP_WRITTEN)
        except Exception as error:
            outcomes = [_Failed(error)] * len(units)
        told = zip(units, outcomes, strict=True)
        for unit in [unit for unit, outcome in told if not _tell(unit, outcome)]:
            self._commit([unit])


def _tell(unit: _Unit, outcome: Any) -> bool:
    """Tell who waits, unless the unit met another transaction and is worth another attempt."""
    if not isinstance(outcome, _Failed):
        unit.future.set_result(outcome)
        return True
    unit.attempts += 1
    if unit.attempts < ATTEMPTS and is_conflict(outcome.error):
        return False
    unit.future.set_exception(outcome.error)
    return True


def is_conflict(error: Exception) -> bool:
    """Whether a transaction failed only because another one was under way or came first."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, Contended)
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", "")
    return state in _RETRIED_STATES or name.startswith(_RETRIED_SQLITE)


def _attempt(connection: Connection, work: Callable[[Session], Any]) -> Any:
    """What `work` returns, or that it failed, and then nothing of it is left.

    Raises where nothing is left of the units before it either.
    """
    session = Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
    try:
        with session, session.begin():
            return work(session)
    except Exception as error:
        if not _is_open(connection):
            raise
        return _Failed(error)


def _is_open(connection: Connection) -> bool:
    """Whether a transaction goes on after an error.

    SQLite ends it by itself where, for one, the disk is full, and begins another with the next
    savepoint; PostgreSQL rolls back one that is in error when it is told to commit.
    """
    if connection.invalidated:
        return False
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status == TransactionStatus.INTRANS)
