"""Every point, three times, on each database; every trouble; and what they are held against.

An undisturbed run counts how often each point is passed. Of a point's passages one is drawn, by a
seed, and in a run of the same plan the process is killed there.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from aitbc_coordinator.fault_points import FaultPoint
from faults.databases import Store
from faults.mischief import KINDS, Mischief, needs_of
from faults.running import Result, Spec, run
from faults.state import Kept, State
from faults.supervisor import PROGRAM

BOOKINGS = 200
SEEDS = (1, 2, 3)
ATTEMPTS = 3
"""So often a run is begun on a machine that does not keep up with its plan."""
_COMES_WITH = {
    FaultPoint.REWIND_WRITING: Mischief.REORGS,
    FaultPoint.REWIND_WRITTEN: Mischief.REORGS,
    FaultPoint.UNMINED_WRITING: Mischief.REORGS,
    FaultPoint.UNMINED_WRITTEN: Mischief.REORGS,
    FaultPoint.REPLACEMENT_WRITING: Mischief.STUCK,
    FaultPoint.REPLACEMENT_WRITTEN: Mischief.STUCK,
}
"""What the chain must do for these to be passed at all."""


@dataclass(frozen=True)
class Case:
    """A point, a seed and a database; or, without a point, an undisturbed run."""

    database: str
    seed: int
    mischief: Mischief
    point: FaultPoint | None = None

    @property
    def name(self) -> str:
        what = self.mischief.value if self.point is None else self.point.value
        return f"{what}/{self.database}/{self.seed}"

    @property
    def undisturbed(self) -> Case:
        """The run of the same plan in which nobody is killed."""
        return Case(self.database, self.seed, self.mischief)

    def position(self, passages: int) -> int:
        """The passage at which to kill: one of the first half, which surely come."""
        return Random(self.name).randint(1, max(1, passages // 2))  # noqa: S311  # a draw


def troubles() -> list[Case]:
    """Runs in which nobody is killed, and something else goes wrong."""
    return [
        Case(database, SEEDS[0], mischief)
        for mischief in Mischief
        for database in needs_of(mischief).databases
        if mischief is not Mischief.NONE
    ]


def kills() -> list[Case]:
    """Every point, so often as there are seeds, on each database."""
    return [
        Case(database, seed, _COMES_WITH.get(point, Mischief.NONE), point)
        for seed in SEEDS
        for point in FaultPoint
        for database in KINDS
    ]


def find(
    cases: Iterable[Case],
    bookings: int,
    state: State,
    stores: Mapping[str, Store],
    *,
    jobs: int,
    say: Callable[[str], None],
) -> None:
    """Run what is not known yet, `jobs` runs side by side, and keep what is found.

    Raises KeyboardInterrupt when it is interrupted, once the runs under way have ended.
    """
    wanted = list(cases)
    missing = [case for case in wanted if state.find(case.name) is None]
    first = [case.undisturbed for case in missing]
    waiting = [case for case in dict.fromkeys([*first, *missing]) if state.find(case.name) is None]
    spawn = multiprocessing.get_context("spawn")
    running: dict[Future[Result], tuple[Case, int]] = {}
    done = len(wanted) - len(missing)
    with ProcessPoolExecutor(jobs, spawn, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        while waiting or running:
            for case in _ready(waiting, state)[: jobs - len(running)]:
                waiting.remove(case)
                position = _position(case, state)
                spec = Spec(case.seed, bookings, case.mischief, case.point, position)
                running[pool.submit(attempt, spec, stores[case.database])] = case, position
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case, position = running.pop(future)
                kept = judged(case, position, future.result(), state)
                state.keep(case.name, kept)
                done += case in wanted
                verdict = "; ".join(kept.wrong[:3]) or "right"
                say(f"{done}/{len(wanted)} {case.name}:{position} {verdict} ({kept.seconds} s)")


def attempt(spec: Spec, store: Store, program: Path = PROGRAM) -> Result:
    """Run it, again where the machine was too slow for what it shows."""
    result = run(spec, store, program)
    for _ in range(1, ATTEMPTS):
        if not result.too_slow:
            break
        result = run(spec, store, program)
    return result


def _ready(waiting: list[Case], state: State) -> list[Case]:
    """Those whose undisturbed run is known, or which are one."""
    return [case for case in waiting if case.point is None or state.find(case.undisturbed.name)]


def _position(case: Case, state: State) -> int:
    undisturbed = state.find(case.undisturbed.name)
    if case.point is None or undisturbed is None:
        return 0
    return case.position(undisturbed.passages.get(case.point.value, 0))


def judged(case: Case, position: int, result: Result, state: State) -> Kept:
    wrong = list(result.wrong)
    outcomes = [asdict(outcome) | {"history": list(outcome.history)} for outcome in result.outcomes]
    undisturbed = state.find(case.undisturbed.name)
    if case.point is None:
        return Kept(position, wrong, result.seconds, result.passages, outcomes)
    if undisturbed is None or undisturbed.wrong:
        wrong.append("the undisturbed run was wrong")
    elif not wrong and outcomes != undisturbed.outcomes:
        wrong.append("its bookings ended otherwise than those of the undisturbed run")
    return Kept(position, wrong, result.seconds)
