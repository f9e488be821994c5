"""A copy of the tree in which the contracts are changed, compiled and tested."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from verification import forge
from verification.mutants import Mutant, all_mutants
from verification.syntax import Json

COPIED = ("contracts", forge.TESTS, "foundry.toml")
LINKED = ("node_modules", ".venv")
STAGES = (("unit",), ("attacks", "fuzz"))
"""The quick tests first: most mutants go no further."""
SETTINGS = {"FOUNDRY_FUZZ_RUNS": "16", "FOUNDRY_FUZZ_SEED": "0x1"}
OPTIONS = ("--fail-fast", "--threads", "1")
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


@dataclass
class Workshop:
    """One copy of the tree; for one thread at a time."""

    folder: Path
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)
    """How long the tests of each stage take."""
    code: list[str] = field(default_factory=list)
    """What the unchanged contracts compile to."""

    def copy(self, folder: Path) -> Workshop:
        """Another one, with what was compiled and learnt here."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)

    def prepare(self) -> None:
        """Run the tests on the unchanged contracts, and take the time.

        Raises:
            ForgeError: they do not compile, or a test fails.
        """
        self.code = self._compiled()
        for stage in self._stages():
            started = time.monotonic()
            failed = self._run(stage, None)
            self.seconds[stage] = time.monotonic() - started
            if failed:
                raise forge.ForgeError(f"fails without any mutant: {failed}")

    def mutants(self) -> list[Mutant]:
        """Every mutant of what is deployed.

        Raises:
            CompileError: a contract does not compile.
        """
        out = self.folder / "trees"
        places = ("--out", str(out), "--cache-path", str(self.folder / "trees-cache"))
        forge.build(
            "contracts", root=self.folder, profile=forge.UNOPTIMIZED, options=("--ast", *places)
        )
        trees = _trees(out)
        mutated = (path for path in trees if path.startswith("contracts/"))
        texts = {
            path: (self.folder / path).read_bytes()
            for path in mutated
            if not path.startswith(UNMUTATED)
        }
        return all_mutants(trees, texts)

    def attempt(self, mutant: Mutant) -> Outcome:
        """Put a mutant in place, test it, and take it out again."""
        path = self.folder / mutant.path
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            return self._verdict()
        finally:
            path.write_bytes(source)

    def _verdict(self) -> Outcome:
        try:
            for stage in self._stages():
                if failed := self._run(stage, LEAST_SECONDS + SLOWER * self.seconds[stage]):
                    return Outcome(Verdict.KILLED, failed)
        except forge.CompileError:
            return Outcome(Verdict.INVALID)
        except TimeoutError:
            return Outcome(Verdict.KILLED, "no end")
        return Outcome(Verdict.SAME if self._compiled() == self.code else Verdict.SURVIVED)

    def _run(self, stage: tuple[str, ...], timeout: float | None) -> str:
        """The test that failed, or an empty string."""
        run = forge.run_tests(
            *stage,
            root=self.folder,
            profile=forge.UNOPTIMIZED,
            settings=SETTINGS,
            options=OPTIONS,
            timeout=timeout,
        )
        return str(run.failed[0]) if run.failed else ""

    def _stages(self) -> list[tuple[str, ...]]:
        present = [tuple(name for name in stage if self._has_tests(name)) for stage in STAGES]
        return [stage for stage in present if stage]

    def _has_tests(self, name: str) -> bool:
        return any((self.folder / forge.TESTS / name).rglob("*.t.sol"))

    def _compiled(self) -> list[str]:
        """The code of both escrows as it ships, without the hash of the sources.

        Raises:
            CompileError: it does not compile with the shipped settings.
        """
        out = self.folder / "shipped"
        places = ("--out", str(out), "--cache-path", str(self.folder / "shipped-cache"))
        forge.build("contracts", root=self.folder, options=("--no-metadata", *places))
        artifacts = (out / f"{name}.sol" / f"{name}.json" for name in ESCROWS)
        return [json.loads(path.read_text())["bytecode"]["object"] for path in artifacts]


def _trees(out: Path) -> dict[str, Json]:
    artifacts = (json.loads(path.read_text()) for path in sorted(out.glob("*.sol/*.json")))
    trees = (artifact["ast"] for artifact in artifacts if artifact.get("ast"))
    return {tree["absolutePath"]: tree for tree in trees}
