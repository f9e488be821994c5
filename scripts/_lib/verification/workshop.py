"""A copy of the tree in which the contracts are changed, compiled and tested."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from verification import forge
from verification.mutants import Mutant, all_mutants
from verification.syntax import Json

COPIED = ("contracts", forge.TESTS, "foundry.toml")
LINKED = ("node_modules", ".venv")
Stage = tuple[str, ...]
"""Folders of tests that are run together."""
UNIT: Stage = ("unit",)
STAGES = (UNIT, ("attacks", "fuzz"))
"""The quick tests first: most mutants go no further."""
SETTINGS = {"FOUNDRY_FUZZ_RUNS": "16", "FOUNDRY_FUZZ_SEED": "0x1"}
OPTIONS = ("--fail-fast", "--threads", "1")
SOCKET = "solc.socket"
UNMUTATED = ("contracts/test/", "contracts/interfaces/")
ESCROWS = ("NativeEscrow", "TokenEscrow")
LEAST_SECONDS = 60
SLOWER = 10
"""So many times longer than unchanged contracts may the tests of a mutant take."""


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    SAME = "same"
    """It compiles to the same code: no test can tell it apart."""
    INVALID = "invalid"
    """It does not compile."""


@dataclass(frozen=True)
class Outcome:
    """A verdict, and the test that found the fault."""

    verdict: Verdict
    by: str = ""


def snapshot(folder: Path) -> Path:
    """Copy what the contracts and their tests are made of; link the tools."""
    for name in COPIED:
        source, target = forge.ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        else:
            shutil.copy2(source, target)
    for name in LINKED:
        (folder / name).symlink_to(forge.ROOT / name)
    return folder


@contextmanager
def open_workshop(tree: Path, folder: Path) -> Iterator[Workshop]:
    """A copy of `tree` in `folder`, with a compiler of its own that stays loaded."""
    ignored = shutil.ignore_patterns(SOCKET)
    shutil.copytree(tree, folder, symlinks=True, ignore=ignored)
    socket = folder / SOCKET
    command = [str(forge.ROOT / "scripts" / "solc"), "--serve", str(socket)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as compiler:
        try:
            while not socket.exists() and compiler.poll() is None:
                time.sleep(0.05)
            yield Workshop(folder, {"SOLC_SERVER": str(socket)})
        finally:
            compiler.terminate()


@dataclass
class Workshop:
    """One copy of the tree; for one thread at a time."""

    folder: Path
    settings: dict[str, str]

    def test(self, stages: Sequence[Stage]) -> float:
        """Test the unchanged contracts; how many seconds that takes.

        Raises:
            ForgeError: they do not compile, or a test fails.
        """
        started = time.monotonic()
        for stage in stages:
            if failed := self._run(stage, None):
                raise forge.ForgeError(f"fails without any mutant: {failed}")
        return time.monotonic() - started

    def mutants(self) -> list[Mutant]:
        """Every mutant of what is deployed.

        Raises:
            CompileError: a contract does not compile.
        """
        self._build("trees", forge.UNOPTIMIZED, "--ast")
        trees = _trees(self.folder / "trees")
        texts = {
            path: (self.folder / path).read_bytes()
            for path in trees
            if path.startswith("contracts/") and not path.startswith(UNMUTATED)
        }
        return all_mutants(trees, texts)

    def attempt(self, mutant: Mutant, stages: Sequence[Stage], seconds: float) -> Outcome:
        """Put a mutant in place, test it, and take it out again.

        Args:
            stages: which tests, one group after the other.
            seconds: how long they take on the unchanged contracts.
        """
        own = f"unit/{mutant.place.rpartition('.')[2]}"
        timeout = LEAST_SECONDS + SLOWER * seconds
        with self._changed(mutant):
            try:
                for stage in ((own,), *stages):
                    if failed := self._run(stage, timeout):
                        return Outcome(Verdict.KILLED, failed)
                code = self._compiled()
            except forge.CompileError:
                return Outcome(Verdict.INVALID)
            except TimeoutError:
                return Outcome(Verdict.KILLED, "no end")
        return Outcome(Verdict.SAME if code == self._unchanged else Verdict.SURVIVED)

    @contextmanager
    def _changed(self, mutant: Mutant) -> Iterator[None]:
        path = self.folder / mutant.path
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            yield
        finally:
            path.write_bytes(source)

    @cached_property
    def _unchanged(self) -> list[str]:
        return self._compiled()

    def _run(self, stage: Stage, timeout: float | None) -> str:
        """The test that failed, or an empty string."""
        present = [name for name in stage if self._has_tests(name)]
        if not present:
            return ""
        run = forge.run_tests(
            *present,
            root=self.folder,
            settings=SETTINGS | self.settings,
            options=OPTIONS,
            timeout=timeout,
        )
        return str(run.failed[0]) if run.failed else ""

    def _has_tests(self, name: str) -> bool:
        return any((self.folder / forge.TESTS / name).rglob("*.t.sol"))

    def _compiled(self) -> list[str]:
        """The code of both escrows as it ships, without the hash of the sources.

        Raises:
            CompileError: it does not compile with the shipped settings.
        """
        self._build("shipped", forge.SHIPPED, "--no-metadata")
        out = self.folder / "shipped"
        artifacts = (out / f"{name}.sol" / f"{name}.json" for name in ESCROWS)
        return [json.loads(path.read_text())["bytecode"]["object"] for path in artifacts]

    def _build(self, out: str, profile: str, option: str) -> None:
        options = (option, "--out", out, "--cache-path", f"{out}-cache")
        forge.build(
            "contracts",
            root=self.folder,
            profile=profile,
            settings=self.settings,
            options=options,
        )


def _trees(out: Path) -> dict[str, Json]:
    artifacts = (json.loads(path.read_text()) for path in sorted(out.glob("*.sol/*.json")))
    trees = (artifact["ast"] for artifact in artifacts if artifact.get("ast"))
    return {tree["absolutePath"]: tree for tree in trees}
