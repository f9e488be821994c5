"""The database: SQLite in one process out of the box, PostgreSQL by changing the URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Dialect, Engine, String, create_engine, event
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session

AMOUNT_DIGITS = 78
SQLITE_BUSY_SECONDS = 30


class AmountColumn(TypeDecorator[int]):
    """Money in base units: beyond 64 bits, so stored as digits padded to sort as numbers do."""

    impl = String(AMOUNT_DIGITS)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        del dialect
        if value is None:
            return None
        if value < 0:
            raise ValueError("an amount is never negative")
        return str(value).rjust(AMOUNT_DIGITS, "0")

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        del dialect
        return None if value is None else int(value)


class Database:
    """An engine, and sessions that commit as a whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed on leaving, rolled back when anything is raised."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that writes nothing, and waits for no writer."""
        with (
            self.engine.connect().execution_options(aitbc_read_only=True) as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def close(self) -> None:
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        url, connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # SQLAlchemy, not the driver, opens transactions: see `_begin`.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that upgrades to a write fails at once when another one writes.
        reading = connection.get_execution_options().get("aitbc_read_only", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
