"""Which of the coordinators over one database follows and settles: the database's lock decides.

The lock ends with the process that holds it, however that ends, and the next one to ask has it. One
that was paused and has lost it may still finish a step beside the new leader: every step is safe
beside another one like it, by what the database itself refuses.
"""

import fcntl
import threading
from contextlib import suppress
from typing import IO, Protocol

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from aitbc_coordinator.database import Database

LOCK_KEY = int.from_bytes(b"aitbc", "big")
"""Of PostgreSQL's advisory locks, which each database has its own of."""
SILENT_SECONDS = 10
"""After so long the server gives a leader up whose machine does not answer."""

_GIVE_UP_THE_SILENT = (
    f"SET tcp_keepalives_idle = {SILENT_SECONDS // 2}",
    "SET tcp_keepalives_interval = 1",
    f"SET tcp_keepalives_count = {SILENT_SECONDS // 2}",
    f"SET tcp_user_timeout = '{SILENT_SECONDS}s'",
)

_log = structlog.get_logger(__name__)


class Lock(Protocol):
    def hold(self) -> bool:
        """Take it, unless another has it; whether it is held."""

    def release(self) -> None:
        """Let it go; a no-op where it is not held."""


class Leadership:
    """Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        url = database.engine.url
        self._lock: Lock
        if url.drivername == "sqlite":
            self._lock = FileLock(f"{url.database}.leader")
        else:
            self._lock = ServerLock(database.engine)
        self._turn = threading.Lock()
        self._leads = False

    @property
    def leads(self) -> bool:
        """Whether it led when it was last asked to."""
        return self._leads

    def hold(self) -> bool:
        """Lead, unless another coordinator does. Raises SQLAlchemyError, OSError."""
        with self._turn:
            led, leads = self._leads, False
            try:
                leads = self._lock.hold()
            finally:
                self._leads = leads
                if leads != led:
                    _log.info("leads" if leads else "leads no longer")
            return leads

    def release(self) -> None:
        """Let another coordinator lead."""
        with self._turn:
            self._lock.release()
            self._leads = False


class FileLock:
    """A lock on a file beside the database."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def hold(self) -> bool:
        if self._file is not None:
            return True
        file = open(self._path, "a")  # noqa: SIM115  # open for as long as the lock is held
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class ServerLock:
    """An advisory lock of PostgreSQL, held by a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self) -> bool:
        if self._connection is not None and self._answers(self._connection):
            return True
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()
        try:
            take = text("SELECT pg_try_advisory_lock(:key)")
            held = bool(connection.scalar(take, {"key": LOCK_KEY}))
            if held:
                for statement in _GIVE_UP_THE_SILENT:
                    connection.execute(text(statement))
        except BaseException:
            connection.close()
            raise
        if not held:
            connection.close()
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    def _answers(self, connection: Connection) -> bool:
        try:
            connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            self.release()
            return False
        return True
