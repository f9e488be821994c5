"""Somebody who runs `aitbc-coordinator`: as a process, or in this one."""

import json
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from aitbc.files import write_private
from aitbc_coordinator.main import main
from in_process import run_main
from local_market import BIN, clean_environment
from wallets import give_operator_keys

PROGRAM = str(BIN / "aitbc-coordinator")
PREFIX = "AITBC_COORDINATOR_"


@dataclass(frozen=True)
class Operator:
    """Somebody who runs a coordinator from a home of their own."""

    home: Path

    def env(self, **settings: str) -> dict[str, str]:
        prefixed = {PREFIX + key.upper(): value for key, value in settings.items()}
        return {**clean_environment(), PREFIX + "HOME": str(self.home), **prefixed}

    def run(self, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *args],
            env=self.env(**settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run_here(self, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """As `run`, in this process."""
        return run_main(main, self.env(**settings), *args)

    def give_keys(self) -> None:
        """Keys that unlock at once, before the first `init`."""
        passphrase_file = self.home / "passphrase"
        write_private(passphrase_file, "quick\n")
        give_operator_keys(self.home, passphrase_file)

    def init(self, *args: str) -> dict[str, Any]:
        done = self.run("init", "--json", *args)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def refused(self, *args: str, code: int = 1, **settings: str) -> str:
        """The one line that says why, after a check that it is one."""
        return self.reason(self.run(*args, **settings), code)

    def refused_here(self, *args: str, code: int = 1, **settings: str) -> str:
        """As `refused`, in this process."""
        return self.reason(self.run_here(*args, **settings), code)

    @staticmethod
    def reason(done: subprocess.CompletedProcess[str], code: int) -> str:
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.stderr
        return done.stderr


@contextmanager
def logging_restored() -> Iterator[None]:
    """The program configures logging; in this process that is taken back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configured = structlog.get_config()
    yield
    root.handlers[:], root.level = before
    structlog.configure(**configured)
