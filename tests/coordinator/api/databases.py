"""Databases of tests of the API: a single kind where one is enough, and what one holds."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlmodel import SQLModel

from aitbc_coordinator.database import Database


@contextmanager
def sqlite(template: Path, folder: Path) -> Iterator[Database]:
    """A database file at the newest schema."""
    made = Database(f"sqlite:///{shutil.copy(template, folder)}")
    yield made
    made.close()


def contents(database: Database) -> dict[str, list[Any]]:
    """Every row of every table, by table."""
    with database.read() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table)).all()))
            for table in SQLModel.metadata.sorted_tables
        }
