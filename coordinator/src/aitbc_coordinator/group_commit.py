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

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from aitbc_coordinator.errors import Contended

MOST_UNITS = 32
"""In one transaction."""
ATTEMPTS = 5
_RETRIED_STATES = frozenset({"23505", "23P01", "40001", "40P01"})
"""Unique and exclusion violations, serialization failures and deadlocks."""
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

        What it wrote is undone, and nothing else's, when it raises; it is run again where it met
        another transaction. Every unit of a transaction that cannot be committed fails.
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
            if item.attempts or item.future.set_running_or_notify_cancel():
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
                outcomes += [_attempt(connection, unit.work) for unit in units]
        except Exception as error:
            outcomes = [_Failed(error)] * len(units)
        for unit, outcome in zip(units, outcomes, strict=True):
            self._tell(unit, outcome)

    def _tell(self, unit: _Unit, outcome: Any) -> None:
        if not isinstance(outcome, _Failed):
            unit.future.set_result(outcome)
            return
        unit.attempts += 1
        if unit.attempts < ATTEMPTS and is_conflict(outcome.error):
            self._waiting.put(unit)
        else:
            unit.future.set_exception(outcome.error)


def is_conflict(error: Exception) -> bool:
    """Whether a transaction failed only because another one was under way or came first."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, Contended)
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", "")
    return state in _RETRIED_STATES or name.startswith(_RETRIED_SQLITE)


def _attempt(connection: Connection, work: Callable[[Session], Any]) -> Any:
    """What `work` returns, or that it failed, and then nothing of it is left."""
    session = Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
    try:
        with session, session.begin():
            return work(session)
    except Exception as error:
        return _Failed(error)
