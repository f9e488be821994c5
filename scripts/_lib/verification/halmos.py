"""The symbolic proofs: halmos, in an environment of its own, as it needs other packages."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import setup

FOLDER = setup.ROOT / ".venv-halmos"
LOCK = "requirements-halmos.lock"
BIN = FOLDER / "bin"
PROOFS = setup.ROOT / "tests" / "contracts" / "symbolic"
COMMAND = ("halmos", "--config", str(PROOFS / "halmos.toml"))
SETTINGS = {"FOUNDRY_CONFIG": str(PROOFS / "foundry.toml")}


class HalmosError(Exception):
    """The proofs did not run; the message says why."""


def install() -> None:
    """Install halmos from its lock file, if that is not done.

    Raises:
        HalmosError: the packages cannot be had.
    """
    with open(setup.ROOT / ".setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = setup.Stamp("halmos", (LOCK,))
        if stamp.fresh() and (BIN / "halmos").exists():
            return
        setup.say(f"installing halmos from {LOCK} into {FOLDER.name}")
        pip = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        try:
            setup.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
            setup.run([*pip, "--require-hashes", "-r", LOCK])
        except setup.SetupFailed as error:
            raise HalmosError(str(error)) from error
        stamp.write()


def prove(options: Sequence[str] = ()) -> dict[str, bool]:
    """Try to prove every `check_` function; whether each is proved, by contract and name.

    Raises:
        HalmosError: halmos cannot be installed, or found nothing to prove.
    """
    install()
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [*COMMAND, *options, "--json-output", str(report)],
            cwd=setup.ROOT,
            env={**os.environ, **SETTINGS, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
        if not report.exists():
            raise HalmosError(f"halmos stopped without a result (exit status {done.returncode})")
        results = json.loads(report.read_text())["test_results"]
    proofs = {
        f"{contract.rpartition(':')[2]}.{test['name'].partition('(')[0]}": test["exitcode"] == 0
        for contract, tests in results.items()
        for test in tests
    }
    if not proofs:
        raise HalmosError("halmos found nothing to prove")
    return proofs
