"""Run every check of the project, in order, and close on a line that counts tests.

`./scripts/test` runs all; `./scripts/test NAME …` runs the named ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Three more than cores, as the tests of whole markets wait for blocks; each takes much memory.
WORKERS = min(8, max(5, (os.cpu_count() or 1) + 3))
PLAIN_PYTEST = (
    *("pytest", "-q", "-p", "no:ape_test", "--ignore=tests/contracts"),
    *("-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"),
    # A worker that is started anew never gets the rest of its files, and the run never ends.
    "--max-worker-restart=0",
)
STUCK_SECONDS = 45 * 60
"""From then on a check has failed, whatever it is waiting for."""


@dataclass(frozen=True)
class Check:
    """A command, and whether it is a test run that reports what it counted."""

    name: str
    command: tuple[str, ...]
    counts: bool = False


CHECKS = (
    Check("lint", ("ruff", "check")),
    Check("format", ("ruff", "format", "--check")),
    Check("types", ("mypy",)),
    Check("solhint", ("node_modules/.bin/solhint", "--max-warnings", "0", "contracts/**/*.sol")),
    Check("artifacts", ("ape", "run", "compile", "--check")),
    Check("slither", ("slither", "contracts")),
    Check("contracts", ("python", "scripts/_lib/contract_tests.py", "--shipped"), counts=True),
    Check("python", (*PLAIN_PYTEST, "tests"), counts=True),
)


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add_report(self, report: Path) -> None:
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 our own file
            total = int(suite.get("tests", 0))
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            self.passed += total - failed - skipped
            self.failed += failed
            self.skipped += skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/test", description=__doc__)
    names = [check.name for check in CHECKS]
    parser.add_argument("check", nargs="*", help=f"one of: {', '.join(names)} (default: all)")
    wanted: list[str] = parser.parse_args().check
    if unknown := set(wanted) - set(names):
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    count = Count()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [check for check in CHECKS if not wanted or check.name in wanted]
        broken = [check.name for check in chosen if not run(check, Path(folder), count)]
    if broken:
        print(f"\nfailed: {', '.join(broken)}")
    print(f"\n{count}")
    return 1 if broken or count.failed else 0


def run(check: Check, folder: Path, count: Count) -> bool:
    print(f"\n== {check.name}: {' '.join(check.command)}", flush=True)
    report = folder / f"{check.name}.xml"
    extra = (f"--junitxml={report}",) if check.counts else ()
    started = time.monotonic()
    code = exit_code([*check.command, *extra])
    if check.counts and report.exists():
        count.add_report(report)
    print(f"== {check.name}: {'ok' if code == 0 else 'FAILED'} ({elapsed(started)})", flush=True)
    return code == 0 and (report.exists() or not check.counts)


def exit_code(command: list[str]) -> int:
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=STUCK_SECONDS).returncode
    except subprocess.TimeoutExpired:
        print(f"== did not end in {STUCK_SECONDS} s", flush=True)
        return 1


def elapsed(started: float) -> str:
    return f"{time.monotonic() - started:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
