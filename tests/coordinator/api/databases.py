"""A database for tests that need no more than one kind."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aitbc_coordinator.database import Database


@contextmanager
def sqlite(template: Path, folder: Path) -> Iterator[Database]:
    """A database file at the newest schema."""
    made = Database(f"sqlite:///{shutil.copy(template, folder)}")
    yield made
    made.close()
