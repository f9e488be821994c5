"""Mutation testing: does a test fail for every small fault that a contract could have?

What was found is kept in `.build/mutation.json`. It is found again only when what it depends on
has changed: the contracts, or the tests that decided it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from verification.forge import ROOT, TESTS
from verification.mutants import Mutant
from verification.workshop import (
    NO_END,
    SHARED,
    STAGES,
    UNIT,
    Outcome,
    Verdict,
    Workshop,
    first_stage,
    open_workshop,
    snapshot,
)

STATE = ROOT / ".build" / "mutation.json"
GUARDS_STATE = ROOT / ".build" / "mutation-guards.json"
SURVIVORS = ROOT / TESTS / "mutation-survivors.toml"


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test notices, and why none should."""

    place: str
    was: str
    becomes: str
    why: str

    @property
    def id(self) -> str:
        return f"{self.place}: {self.was} → {self.becomes}"


@dataclass(frozen=True)
class Campaign:
    """What became of all mutants, or of a sample."""

    outcomes: dict[str, Outcome]
    explained: tuple[Survivor, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(outcome.verdict is verdict for outcome in self.outcomes.values())

    @property
    def endless(self) -> int:
        """Mutants that were stopped, as their tests took far too long."""
        return sum(outcome.by == NO_END for outcome in self.outcomes.values())

    @property
    def score(self) -> float:
        """Killed mutants in percent of those that a test could kill, as far as is known."""
        killed, survived = self.count(Verdict.KILLED), self.count(Verdict.SURVIVED)
        return 100 * killed / max(1, killed + survived)

    @property
    def unexplained(self) -> list[str]:
        known = {survivor.id for survivor in self.explained}
        return [
            id_
            for id_, outcome in self.outcomes.items()
            if outcome.verdict is Verdict.SURVIVED and id_ not in known
        ]

    @property
    def outdated(self) -> list[str]:
        """Explanations of what is no survivor, or no mutant any more."""
        survived = {i for i, o in self.outcomes.items() if o.verdict is Verdict.SURVIVED}
        return [survivor.id for survivor in self.explained if survivor.id not in survived]


def run_campaign(say: Callable[[str], None], *, guards_only: bool = False) -> Campaign:
    """Try every mutant; or only those that drop a guard, on the unit tests alone.

    Raises:
        ForgeError: the unchanged contracts do not pass their tests.
        SurvivorsError: the list of survivors cannot be read.
    """
    explained = read_survivors(SURVIVORS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aitbc-mutation-")))
        tree = folder / "tree"
        tree.mkdir()
        snapshot(ROOT, tree, ".")
        first = stack.enter_context(open_workshop(tree, folder / "0"))
        state = State(GUARDS_STATE if guards_only else STATE, tree)
        mutants = first.mutants()
        if guards_only:
            mutants = [mutant for mutant in mutants if mutant.drops_guard]
        stages = (UNIT,) if guards_only else STAGES
        left = [mutant for mutant in mutants if state.outcome(mutant.id) is None]
        say(f"{len(mutants)} mutants, {len(mutants) - len(left)} of them known from earlier runs")
        if left:
            seconds = first.test(stages)
            others = [
                stack.enter_context(open_workshop(tree, folder / str(number)))
                for number in range(1, os.cpu_count() or 1)
            ]

            def attempt(workshop: Workshop, mutant: Mutant) -> Outcome:
                first = () if guards_only else (first_stage(mutant, tree),)
                return workshop.attempt(mutant, (*first, *stages), seconds)

            _try_all([first, *others], attempt, left, state, say)
        outcomes = {mutant.id: state.outcome(mutant.id) for mutant in mutants}
    return Campaign({i: o for i, o in outcomes.items() if o is not None}, explained)


def _try_all(
    workshops: Sequence[Workshop],
    attempt: Callable[[Workshop, Mutant], Outcome],
    mutants: Sequence[Mutant],
    state: State,
    say: Callable[[str], None],
) -> None:
    free: Queue[Workshop] = Queue()
    for workshop in workshops:
        free.put(workshop)

    def attempt_in_turn(mutant: Mutant) -> tuple[Mutant, Outcome]:
        workshop = free.get()
        try:
            return mutant, attempt(workshop, mutant)
        finally:
            free.put(workshop)

    with ThreadPoolExecutor(len(workshops)) as pool:
        try:
            attempts = [pool.submit(attempt_in_turn, mutant) for mutant in mutants]
            for done, finished in enumerate(as_completed(attempts), start=1):
                mutant, outcome = finished.result()
                state.keep(mutant.id, outcome)
                if outcome.verdict is Verdict.SURVIVED:
                    say(f"survived: {mutant.id}")
                if done % 25 == 0:
                    say(f"{done} of {len(mutants)} tried")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class SurvivorsError(Exception):
    """The list of survivors is not as it must be."""


def read_survivors(path: Path) -> tuple[Survivor, ...]:
    """Read the list of survivors.

    Raises:
        SurvivorsError: the file is no TOML, or an entry lacks or has too much of what it needs.
    """
    try:
        entries = tomllib.loads(path.read_text()).get("survivor", [])
        survivors = tuple(Survivor(**entry) for entry in entries)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        needs = "each [[survivor]] has: place, was, becomes, why"
        raise SurvivorsError(f"{path.name}: {error} ({needs})") from error
    if empty := [survivor.id for survivor in survivors if not survivor.why.strip()]:
        raise SurvivorsError(f"{path.name}: say why this may survive: {empty[0]}")
    return survivors


class State:
    """Outcomes of earlier runs, each with a digest of what it depends on."""

    def __init__(self, path: Path, tree: Path) -> None:
        self.path = path
        self.tree = tree
        self.kept: dict[str, dict[str, str]] = {}
        if path.exists():
            self.kept = json.loads(path.read_text())
        self.digests: dict[str, str] = {}

    def outcome(self, id_: str) -> Outcome | None:
        """What is known of a mutant; None if that was found with other contracts or tests."""
        kept = self.kept.get(id_)
        if kept is None:
            return None
        outcome = Outcome(Verdict(kept["verdict"]), kept["by"])
        return outcome if kept["inputs"] == self._inputs(outcome) else None

    def keep(self, id_: str, outcome: Outcome) -> None:
        self.kept[id_] = {
            "verdict": outcome.verdict,
            "by": outcome.by,
            "inputs": self._inputs(outcome),
        }
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.kept, indent=1))
        partial.replace(self.path)

    def _inputs(self, outcome: Outcome) -> str:
        """A digest of what decided the outcome: of all tests, if none of them did."""
        file, found, _ = outcome.by.partition(":")
        if outcome.verdict in {Verdict.SAME, Verdict.INVALID}:
            return self._digest()
        if found and outcome.verdict is Verdict.KILLED:
            return self._digest(*(f"{TESTS}/{name}" for name in SHARED), str(Path(file).parent))
        return self._digest(TESTS)

    def _digest(self, *folders: str) -> str:
        key = " ".join(folders)
        if key not in self.digests:
            digest = hashlib.sha256((self.tree / "foundry.toml").read_bytes())
            for folder in ("contracts", *folders):
                for path in sorted((self.tree / folder).rglob("*.sol")):
                    digest.update(str(path.relative_to(self.tree)).encode() + path.read_bytes())
            self.digests[key] = digest.hexdigest()
        return self.digests[key]
