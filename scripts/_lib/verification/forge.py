"""Runs the contract tests that are written in Solidity, and reads what forge reports of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TESTS = "tests/contracts"
FORGE = ROOT / ".venv" / "bin" / "forge"
SHIPPED, UNOPTIMIZED = "default", "fast"
"""The profiles of `foundry.toml`: with the settings of what ships; quick to compile."""
ON_SHIPPED = {"SHIPPED": "true"}
"""The setting with which the tests deploy the artifacts of the `aitbc` package."""


class ForgeError(Exception):
    """Forge could not run the tests; the message says why."""


class CompileError(ForgeError):
    """The sources do not compile."""


@dataclass(frozen=True)
class TestResult:
    """One test of one contract."""

    __test__ = False

    file: str
    contract: str
    name: str
    failure: str | None
    skipped: bool
    output: str

    def count(self, what: str) -> int:
        """A figure that forge states for the test, such as `runs` or `calls`; 0 if it does not."""
        found = re.search(rf"\b{what}: (\d+)", self.output)
        return int(found[1]) if found else 0

    def __str__(self) -> str:
        return f"{self.file}:{self.contract} {self.name}"


@dataclass(frozen=True)
class TestRun:
    """What one run of forge found."""

    __test__ = False

    tests: tuple[TestResult, ...]
    junit: str = field(repr=False)

    @property
    def failed(self) -> list[TestResult]:
        return [test for test in self.tests if test.failure is not None]

    @property
    def passed(self) -> list[TestResult]:
        return [test for test in self.tests if test.failure is None and not test.skipped]


def run_tests(
    *folders: str,
    root: Path = ROOT,
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    timeout: float | None = None,
) -> TestRun:
    """Run the tests of some folders below `tests/contracts`, or all of them.

    Args:
        root: the tree to run in.
        settings: environment variables, which override the profile.
        options: further options of `forge test`.
        timeout: the most seconds it may take.

    Raises:
        CompileError: a source does not compile.
        ForgeError: no test ran, for another reason.
        TimeoutError: it took longer than `timeout`.
    """
    paths = f"{TESTS}/{{{','.join(folders)}}}/**/*.sol" if len(folders) > 1 else ""
    paths = paths or (f"{TESTS}/{folders[0]}/**/*.sol" if folders else "")
    match = ("--match-path", paths) if paths else ()
    output, errors = _forge(
        ("test", "--junit", *match, *options), root, UNOPTIMIZED, settings or {}, timeout
    )
    if "<testsuites" not in output:
        _refuse(output + errors)
    junit = output[output.index("<") :]
    run = TestRun(tuple(_read(junit)), junit)
    if not run.tests:
        raise ForgeError(f"there are no tests in {paths or TESTS}")
    return run


def build(
    *, root: Path, profile: str, settings: Mapping[str, str], options: Sequence[str] = ()
) -> None:
    """Compile all of a tree.

    Raises:
        CompileError: a source does not compile.
    """
    output, errors = _forge(("build", *options), root, profile, settings, None)
    if "Compiler run successful" not in output and "skipped" not in output:
        _refuse(output + errors)


def coverage(report: Path, *, root: Path = ROOT, options: Sequence[str] = ()) -> None:
    """Write an LCOV report of what the tests reach, in code that no optimizer has moved.

    Raises:
        ForgeError: the sources do not compile, or a test failed.
    """
    arguments = ("coverage", "--report", "lcov", "--report-file", str(report), *options)
    output, errors = _forge(arguments, root, UNOPTIMIZED, {}, None)
    if not report.exists():
        _refuse(output + errors)


def _refuse(output: str) -> None:
    lines = [line for line in output.splitlines() if re.match(r"(Error|error)\b", line)]
    reason = next(iter(lines[1:] or lines), output.strip()[-500:] or "it printed nothing")
    compiles = "Compiler run failed" not in output and "Compilation failed" not in output
    raise (ForgeError if compiles else CompileError)(f"forge: {reason}")


def _forge(
    arguments: Sequence[str],
    root: Path,
    profile: str,
    settings: Mapping[str, str],
    timeout: float | None,
) -> tuple[str, str]:
    environment = {**os.environ, "FOUNDRY_PROFILE": profile, "NO_COLOR": "1", **settings}
    with (
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [str(FORGE), *arguments],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"forge took more than {timeout:.0f} s") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        errors.seek(0)
        return output.read(), errors.read()


def _read(junit: str) -> Iterator[TestResult]:
    for suite in ET.fromstring(junit).iter("testsuite"):  # noqa: S314 forge's own output
        file, _, contract = suite.get("name", "").partition(":")
        for case in suite.iter("testcase"):
            failure = case.find("failure")
            reason = None if failure is None else failure.get("message") or "failed"
            output = case.findtext("system-out") or ""
            skipped = case.find("skipped") is not None
            name = case.get("name", "").partition("(")[0]
            yield TestResult(file, contract, name, reason, skipped, output)
