"""The troubles of runs that are those of machines: the database's, a disk's, a clock's."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
from sqlalchemy import make_url

from faults.mischief import Mischief, Scene, Trouble

RESTARTS_AT = {2, 6}
LOCKS = 5
LOCKED_SECONDS = 1.2
HANGING_SECONDS = 6
FULL_BLOCKS = 5
CLOCK_OFF_SECONDS = 600
OFF_BLOCKS = 8
"""Longer than between two looks at the clock."""


class DatabaseRestarts:
    """Stops the database server under all who use it, and starts it again."""

    def __init__(self, scene: Scene) -> None:
        self.happened = False
        self._server = scene.store.control
        self._blocks = 0

    def __call__(self) -> None:
        self._blocks += 1
        if self._server is not None and self._blocks in RESTARTS_AT:
            self._server.restart()
            self.happened = True


class DeadLocks:
    """Locks rows of the outbox from the last to the first, as no part of the program does."""

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url).set(drivername="postgresql")
        self._url = url.render_as_string(hide_password=False)
        self._threads: list[threading.Thread] = []
        self.happened = False

    def __call__(self) -> None:
        if len(self._threads) < LOCKS:
            self._threads.append(threading.Thread(target=self._lock, daemon=True))
            self._threads[-1].start()

    def _lock(self) -> None:
        rows = "SELECT id FROM attestation WHERE NOT settled ORDER BY id"
        with psycopg.connect(self._url) as connection, suppress(psycopg.errors.DeadlockDetected):
            connection.execute(f"{rows} DESC LIMIT 1 FOR UPDATE")
            connection.execute("SELECT pg_sleep(%s)", [LOCKED_SECONDS])
            found = connection.execute(f"{rows} FOR UPDATE").fetchall()
            self.happened |= bool(found)
            connection.execute("SELECT pg_sleep(%s)", [LOCKED_SECONDS])


class DatabaseHangs:
    """Nothing that is asked of the database is answered, for some seconds.

    A server's processes are stopped; of a file, somebody else has the lock.
    """

    def __init__(self, scene: Scene) -> None:
        self.happened = False
        self._server = scene.store.control
        self._path = make_url(scene.database_url).database or ""

    def __call__(self) -> None:
        if not self.happened:
            self.happened = True
            threading.Thread(target=self._hang).start()

    def _hang(self) -> None:
        if self._server is None:
            with closing(sqlite3.connect(self._path, timeout=HANGING_SECONDS)) as database:
                database.execute("BEGIN IMMEDIATE")
                time.sleep(HANGING_SECONDS)
            return
        stopped = self._server.processes()
        try:
            _signal(stopped, signal.SIGSTOP)
            time.sleep(HANGING_SECONDS)
        finally:
            _signal(stopped, signal.SIGCONT)


class DiskFull:
    """No file of the database can grow any more, for some blocks.

    The kernel refuses to write beyond a size, instead of beyond what a disk has. A PostgreSQL that
    cannot write its log ends, as it does on a full disk: it is started again when there is room.
    """

    def __init__(self, scene: Scene) -> None:
        self.happened = False
        self._server = scene.store.control
        self._coordinator = scene.supervisor
        self._path = make_url(scene.database_url).database or ""
        self._blocks = 0

    def __call__(self) -> None:
        self._blocks += 1
        if self._blocks == 1:
            self._limit(str(self._size()))
            self.happened = True
        elif self._blocks == FULL_BLOCKS:
            self._limit("unlimited")
            if self._server is not None:
                self._server.restart()

    def _size(self) -> int:
        """What no file may outgrow, in bytes: of a server's, none may be written at all."""
        if self._server is not None:
            return 0
        files = [Path(f"{self._path}{suffix}") for suffix in ("", "-wal")]
        return max(file.stat().st_size for file in files if file.exists())

    def _limit(self, size: str) -> None:
        server = self._server
        for pid in [self._coordinator.pid()] if server is None else server.processes():
            with suppress(psutil.NoSuchProcess):
                # Only its own user may limit a process.
                owner = psutil.Process(pid).username()
                command = ("prlimit", f"--pid={pid}", f"--fsize={size}:unlimited")
                subprocess.run(command, user=owner if os.geteuid() == 0 else None, check=True)


class ClockOff:
    """The coordinator's clock is wrong for some blocks. It is to say so, and to go on."""

    def __init__(self, scene: Scene, seconds: int) -> None:
        self.happened = False
        self._scene = scene
        self._seconds = seconds
        self._blocks = 0

    def __call__(self) -> None:
        clock = self._scene.clock
        if clock is None:
            return
        self._blocks += 1
        if self._blocks == 1:
            clock.set(self._seconds)
        elif self._blocks <= OFF_BLOCKS:
            self.happened |= self._scene.supervisor.checks().get("clock", "ok") != "ok"
        else:
            clock.set(0)


def trouble(mischief: Mischief, scene: Scene) -> Trouble:
    """Raises ValueError for what is none of a machine's."""
    match mischief:
        case Mischief.DATABASE_RESTARTS:
            return DatabaseRestarts(scene)
        case Mischief.DEAD_LOCKS:
            return DeadLocks(scene.database_url)
        case Mischief.DATABASE_HANGS:
            return DatabaseHangs(scene)
        case Mischief.DISK_FULL:
            return DiskFull(scene)
        case Mischief.CLOCK_BEHIND:
            return ClockOff(scene, -CLOCK_OFF_SECONDS)
        case Mischief.CLOCK_AHEAD:
            return ClockOff(scene, CLOCK_OFF_SECONDS)
    raise ValueError(mischief)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
