"""The least that a database takes for what was followed: finished rows, given to its driver.

Nothing is read, checked or compared: whatever follows events into these tables takes longer. With
the time of the raw answers, it bounds what a follower could reach here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from aitbc_coordinator.market.models import Delivery, Reservation
from aitbc_coordinator.settlement.models import Booking, ChainEvent
from market_bench.databases import Kind

TABLES = tuple(str(model.__tablename__) for model in (ChainEvent, Booking, Delivery))
RESERVATIONS = str(Reservation.__tablename__)
DURABLE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
"""As the coordinator opens SQLite."""


class _Rows(NamedTuple):
    table: str
    columns: Sequence[str]
    values: Sequence[Sequence[Any]]


def write_bare(kind: Kind, followed_url: str, url: str) -> float:
    """Seconds in which the rows of one database are put into another, in one transaction.

    The other one is as the first was before events were followed into it. What they free, all of
    it, is freed there too.
    """
    return (_write_sqlite if kind.name == "sqlite" else _write_postgres)(followed_url, url)


def _write_sqlite(followed_url: str, url: str) -> float:
    source, target = (sqlite3.connect(each.partition(":///")[2]) for each in (followed_url, url))
    with closing(source), closing(target):
        target.isolation_level = None
        for pragma in DURABLE:
            target.execute(f"PRAGMA {pragma}")
        found = [_read(source.execute(f"SELECT * FROM {table}"), table) for table in TABLES]  # noqa: S608  # our own names
        begun = time.perf_counter()
        target.execute("BEGIN IMMEDIATE")
        for table, columns, values in found:
            marks = ",".join("?" * len(columns))
            insert = f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})"  # noqa: S608
            target.executemany(insert, values)
        target.execute(f"DELETE FROM {RESERVATIONS}")  # noqa: S608
        target.execute("COMMIT")
        return time.perf_counter() - begun


def _write_postgres(followed_url: str, url: str) -> float:
    source, target = (
        psycopg.connect(each.replace("+psycopg", "", 1)) for each in (followed_url, url)
    )
    with source, target:
        select, copy, delete = (
            sql.SQL(text)
            for text in ("SELECT * FROM {}", "COPY {} ({}) FROM STDIN", "DELETE FROM {}")
        )
        found = [
            _read(source.execute(select.format(sql.Identifier(table))), table) for table in TABLES
        ]
        begun = time.perf_counter()
        for table, columns, values in found:
            names = sql.SQL(",").join(map(sql.Identifier, columns))
            with target.cursor().copy(copy.format(sql.Identifier(table), names)) as rows:
                for row in values:
                    rows.write_row(row)
        target.execute(delete.format(sql.Identifier(RESERVATIONS)))
        target.commit()
        return time.perf_counter() - begun


def _read(cursor: Any, table: str) -> _Rows:
    return _Rows(table, [column[0] for column in cursor.description], cursor.fetchall())
