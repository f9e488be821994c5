"""A copy of the tree in which the contracts are changed, compiled and tested."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from eth_utils.crypto import keccak

from verification import forge
from verification.mutants import Mutant, all_mutants
from verification.syntax import Json

LINKED = ("node_modules", ".venv")
SHARED = ("support", "mocks")
"""Folders that every test may use."""
Stage = tuple[str, ...]
"""Folders of tests that are run together."""
UNIT: Stage = ("unit",)
STAGES = (UNIT, ("attacks", "fuzz"))
"""The quick tests first: most mutants go no further."""
OF_LIBRARIES: Stage = ("unit/libraries", "unit/settle")
"""What uses every library, and is soon compiled: all that uses a library is compiled with it."""
CACHE = ".forge/fast"
"""What forge keeps of a tree from run to run, with the quick profile."""
SETTINGS = {"FOUNDRY_FUZZ_RUNS": "16", "FOUNDRY_FUZZ_SEED": "0x1"}
OPTIONS = ("--fail-fast", "--threads", "1")
UNMUTATED = ("contracts/test/", "contracts/interfaces/")
CONTRACTS, LIBRARIES = "contracts/", "contracts/libraries/"
ESCROWS = ("NativeEscrow", "TokenEscrow")
NO_END = "no end"
LEAST_SECONDS = 60
SLOWER = 10
"""So many times longer than unchanged contracts may the tests of a mutant take."""
PATIENCE = 2
"""So many times longer again, when they are run once more."""


class StaleError(forge.ForgeError):
    """An artifact was compiled from another text than the tree has."""


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


def snapshot(source: Path, folder: Path, *tests: str) -> Path:
    """Copy the contracts of a tree and some folders of their tests; link the tools."""
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    for name in ("contracts", *(f"{forge.TESTS}/{name}" for name in tests)):
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name, ignore=ignored)
    shutil.copy2(source / "foundry.toml", folder)
    for name in LINKED:
        (folder / name).symlink_to(forge.ROOT / name)
    return folder


def first_stage(mutant: Mutant, source: Path) -> Stage:
    """The few tests of a tree that most likely find a mutant, if there are any for it."""
    if mutant.path.startswith(LIBRARIES):
        return OF_LIBRARIES
    own = f"unit/{mutant.verb}"
    return (own,) if (source / forge.TESTS / own).exists() else ()


def require_current(tree: Path, out: Path) -> None:
    """Make sure that the artifacts of a tree were compiled from its contracts as they are.

    Forge looks into its cache for what to compile again; as it links tests when they run, it
    leaves those alone whose contracts have only changed inside. If it left out too much, the
    tests would run the code of another mutant. The metadata of an artifact states the hash of
    each source. That of a test may state an earlier one of a contract, of which it has no code,
    but not of a library. What has no code itself, like the helpers that forge adds, cannot run.

    Raises:
        StaleError: an artifact is of another text, or there is none of an escrow.
    """
    hashes = {
        str(path.relative_to(tree)): "0x" + keccak(path.read_bytes()).hex()
        for path in (tree / CONTRACTS).rglob("*.sol")
    }
    for name in ESCROWS:
        if not (out / f"{name}.sol" / f"{name}.json").exists():
            raise StaleError(f"{name} was not compiled")
    for artifact in _artifacts(out):
        if artifact["bytecode"]["object"] != "0x":
            _require_current(artifact["metadata"], hashes)


def _require_current(metadata: Json, hashes: Mapping[str, str]) -> None:
    [(file, contract)] = metadata["settings"]["compilationTarget"].items()
    contained = CONTRACTS if file.startswith(CONTRACTS) else LIBRARIES
    for path, source in metadata["sources"].items():
        if path.startswith(contained) and source["keccak256"] != hashes.get(path):
            raise StaleError(f"{file}:{contract} was compiled from another {path}")


@contextmanager
def open_workshop(source: Path, folder: Path) -> Iterator[Workshop]:
    """A workshop for the contracts and tests of a tree, with a compiler that stays loaded."""
    folder.mkdir()
    socket = folder / "solc.socket"
    command = [str(forge.ROOT / "scripts" / "solc"), "--serve", str(socket)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as compiler:
        try:
            while not socket.exists() and compiler.poll() is None:
                time.sleep(0.05)
            yield Workshop(source, folder, {"SOLC_SERVER": str(socket)})
        finally:
            compiler.terminate()


@dataclass
class Workshop:
    """Copies of a tree, one for each stage; for one thread at a time.

    With the tests of one stage alone in a copy, forge need not look through the others.
    """

    source: Path
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
        tree = self._tree(())
        self._build(tree, "trees", forge.UNOPTIMIZED, "--ast")
        trees = _syntax_trees(tree / "trees")
        texts = {
            path: (tree / path).read_bytes()
            for path in trees
            if path.startswith("contracts/") and not path.startswith(UNMUTATED)
        }
        return all_mutants(trees, texts)

    def attempt(self, mutant: Mutant, stages: Sequence[Stage], seconds: float) -> Outcome:
        """Test a mutant until a test fails.

        Args:
            stages: which tests, one group after the other.
            seconds: how long they take on the unchanged contracts.
        """
        timeout = LEAST_SECONDS + SLOWER * seconds
        try:
            for stage in stages:
                with self._changed(mutant, stage):
                    failed = self._run(stage, timeout)
                if failed:
                    return Outcome(Verdict.KILLED, failed)
            with self._changed(mutant, ()):
                code = self._compiled()
        except forge.CompileError:
            return Outcome(Verdict.INVALID)
        except TimeoutError:
            return Outcome(Verdict.KILLED, NO_END)
        return Outcome(Verdict.SAME if code == self._unchanged else Verdict.SURVIVED)

    def _tree(self, stage: Stage) -> Path:
        tree = self.folder / ("-".join(stage).replace("/", "-") or "contracts")
        if not tree.exists():
            tree.mkdir()
            snapshot(self.source, tree, *(SHARED + stage if stage else ()))
        return tree

    @contextmanager
    def _changed(self, mutant: Mutant, stage: Stage) -> Iterator[None]:
        path = self._tree(stage) / mutant.path
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            yield
        finally:
            path.write_bytes(source)

    def _run(self, stage: Stage, timeout: float | None) -> str:
        """The test that failed, or an empty string.

        Where old code was tested, or the tests did not end, they are run once more, all newly
        compiled and with more time: a busy machine must not pass for an endless mutant.

        Raises:
            StaleError: old code was tested again.
            TimeoutError: the tests did not end again.
        """
        tree = self._tree(stage)
        if not any((tree / forge.TESTS).rglob("*.t.sol")):
            return ""
        try:
            return self._run_once(tree, timeout)
        except (StaleError, TimeoutError):
            shutil.rmtree(tree / CACHE, ignore_errors=True)
            return self._run_once(tree, timeout and PATIENCE * timeout)

    def _run_once(self, tree: Path, timeout: float | None) -> str:
        settings = SETTINGS | self.settings
        out = tree / CACHE / "out"
        try:
            run = forge.run_tests(root=tree, settings=settings, options=OPTIONS, timeout=timeout)
        except TimeoutError:
            require_current(tree, out)
            raise
        require_current(tree, out)
        return str(run.failed[0]) if run.failed else ""

    @cached_property
    def _unchanged(self) -> list[str]:
        return self._compiled()

    def _compiled(self) -> list[str]:
        """The code of both escrows as it ships, without the hash of the sources.

        Raises:
            CompileError: it does not compile with the shipped settings.
        """
        tree = self._tree(())
        self._build(tree, "shipped", forge.SHIPPED, "--no-metadata")
        require_current(tree, tree / "shipped")
        artifacts = (tree / "shipped" / f"{name}.sol" / f"{name}.json" for name in ESCROWS)
        return [json.loads(path.read_text())["bytecode"]["object"] for path in artifacts]

    def _build(self, tree: Path, out: str, profile: str, option: str) -> None:
        options = (option, "--out", out, "--cache-path", f"{out}-cache")
        forge.build(root=tree, profile=profile, settings=self.settings, options=options)


def _artifacts(out: Path) -> Iterator[Json]:
    return (json.loads(path.read_text()) for path in sorted(out.glob("*.sol/*.json")))


def _syntax_trees(out: Path) -> dict[str, Json]:
    trees = (artifact["ast"] for artifact in _artifacts(out) if artifact.get("ast"))
    return {tree["absolutePath"]: tree for tree in trees}
