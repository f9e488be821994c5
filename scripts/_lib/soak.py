"""Whether a market stays sound, small and up to date under steady load for an hour.

Two coordinators share one PostgreSQL, on a node with a block a second, and one of them is killed
with `kill -9` now and then and started again. People come steadily, and book, deliver, cancel and
dispute by a seeded plan. In the end all must be as planned, on the chain, in the ledger, in the
wallets and in the database; nothing may wait any more; and no process may have grown. For the last
third nobody is killed, so that there are long lives to look at.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import psutil  # type: ignore[import-untyped]
from eth_account.signers.local import LocalAccount

from aitbc.client import Coordinator
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.database import Database
from benchmark import Benchmark, Measured, Row
from faults import judge, projected
from faults.chain import Chain
from faults.databases import server
from faults.evidence import Evidence
from faults.mischief import Mischief
from faults.people import People
from faults.plan import make_plan
from faults.running import begun, environment, settings_of
from faults.supervisor import PROGRAM, Supervisor, ask_any
from faults.told import Told, is_delivered
from http_stub import serving
from local_market import LocalMarketError

MIB = 2**20
SEED = 1
SAMPLE_SECONDS = 2.0
DRAIN_SECONDS = 300
CONFIRMATIONS = 1

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Scale:
    """Times are seconds."""

    seconds: int = 3600
    every: float = 0.6
    """Between two people who come."""
    replicas: int = 2
    least_pause: int = 60
    most_pause: int = 240
    """Between two kills."""
    warm: int = 300
    """After so long a process has loaded all it needs: what it has more than then, it grew by."""
    window: int = 60
    """In which the memory before and after is the median."""

    @property
    def bookings(self) -> int:
        return int(self.seconds / self.every)


class Replicas:
    """Several coordinators, which are killed one at a time, while another one answers."""

    def __init__(self, supervisors: Sequence[Supervisor], scale: Scale) -> None:
        self.kills = 0
        self.memory: dict[int, list[tuple[float, int]]] = defaultdict(list)
        """Of each process that ran: its age in seconds, and what it held in bytes."""
        self._supervisors = supervisors
        self._scale = scale
        self._random = Random(SEED)  # noqa: S311  # a plan, not a secret
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._kill, self._sample)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Kill nobody any more, and look at nobody."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def ask(self, question: Callable[[Coordinator], Answer]) -> Answer:
        """See `ask_any`."""
        return ask_any(self._random.sample(self._supervisors, len(self._supervisors)), question)

    def growth(self) -> list[float]:
        """By how much each process grew that lived long enough to tell."""
        warm, window = self._scale.warm, self._scale.window
        found = []
        for samples in self.memory.values():
            oldest = samples[-1][0]
            first = [held for age, held in samples if warm <= age < warm + window]
            last = [held for age, held in samples if age > oldest - window]
            if first and oldest > warm + 2 * window:
                found.append(median(last) / median(first))
        return found

    def _kill(self) -> None:
        """Until the last third, for long lives at the end."""
        until = time.monotonic() + self._scale.seconds * 2 / 3
        pauses = self._scale.least_pause, self._scale.most_pause
        while not self._stopping.wait(self._random.uniform(*pauses)) and time.monotonic() < until:
            if all(supervisor.answers for supervisor in self._supervisors):
                psutil.Process(self._random.choice(self._supervisors).pid()).kill()
                self.kills += 1
                _say(f"kill {self.kills}")

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            for supervisor in self._supervisors:
                with suppress(LocalMarketError, psutil.NoSuchProcess):
                    process = psutil.Process(supervisor.pid())
                    age, held = time.time() - process.create_time(), process.memory_info().rss
                    self.memory[process.pid].append((age, held))


def measure(scale: Scale | None = None) -> Measured:
    """Raises LocalMarketError where a part fails, or people cannot do what they planned."""
    scale = scale or Scale()
    told = Told()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="aitbc-soak-")))
        url = stack.enter_context(stack.enter_context(server()).empty_database(folder))
        chain, relayer = stack.enter_context(begun(folder))
        receiver = stack.enter_context(serving(told.take))
        settings = settings_of(chain, folder, url) | {"webhook_url": receiver}
        replicas = stack.enter_context(_replicas(scale, folder, environment(settings)))
        database = Database(url)
        stack.callback(database.close)
        return _soak(scale, _Market(chain, relayer, database, told), replicas)


@contextmanager
def _replicas(scale: Scale, folder: Path, env: dict[str, str]) -> Iterator[Replicas]:
    supervisors = []
    with ExitStack() as stack:
        for number in range(scale.replicas):
            logs = folder / f"replica-{number}"
            logs.mkdir()
            supervisors.append(Supervisor(PROGRAM, logs, env, {}, kills=scale.seconds))
            supervisors[-1].start()
            stack.callback(supervisors[-1].stop)
        replicas = Replicas(supervisors, scale)
        replicas.start()
        stack.callback(replicas.stop)
        yield replicas


@dataclass(frozen=True)
class _Market:
    chain: Chain
    relayer: LocalAccount
    database: Database
    told: Told


def _soak(scale: Scale, market: _Market, replicas: Replicas) -> Measured:
    chain, database = market.chain, market.database
    people = People(chain, replicas)
    _say(f"{scale.bookings:,} people come in {scale.seconds:,} s")
    lived = people.live(make_plan(SEED, scale.bookings), every=scale.every)
    evidence = Evidence(chain, database, str(market.relayer.address), lived, Mischief.NONE)
    ended = time.monotonic()
    over = _wait(partial(projected.is_over, evidence))
    drained = time.monotonic() - ended
    lag = _lag(chain, database)
    replicas.stop()
    chain.freeze()
    for _ in range(CONFIRMATIONS + 1):
        chain.mine()
    followed = _wait(partial(projected.is_followed, evidence, CONFIRMATIONS))
    delivered = _wait(partial(is_delivered, evidence))
    wrong = judge.judge(evidence, people.buyers) + market.told.judge(evidence)
    if not (over and followed and delivered):
        wrong.append(f"something waits after {DRAIN_SECONDS} s: {over}, {followed}, {delivered}")
    for line in wrong:
        _say(line)
    growth, largest = replicas.growth(), max(map(_largest, replicas.memory.values()))
    return Measured(
        asdict(scale),
        (
            Row("soak_seconds", "load lasted", scale.seconds, "s", goal=3600, bound="least"),
            Row("soak_bookings", "bookings", len(lived), "1"),
            Row("soak_kills", "coordinators that were killed", replicas.kills, "1"),
            Row("soak_wrong", "what was not as planned", len(wrong), "1", goal=0),
            Row(
                "soak_memory_growth",
                "memory of a process at its end, of what it had when it was warm: the worst",
                round(max(growth, default=0.0), 3),
                "times",
                goal=1.1,
            ),
            Row("soak_lives", "processes that lived long enough for that", len(growth), "1"),
            Row("soak_memory", "most memory of a process", round(largest / MIB), "MiB"),
            Row("soak_lag_blocks", "confirmed blocks not followed at the end", lag, "blocks", 1),
            Row("soak_drain", "from the last delivery to the last payout", round(drained, 1), "s"),
        ),
    )


def _largest(samples: Sequence[tuple[float, int]]) -> int:
    return max(held for _, held in samples)


def _lag(chain: Chain, database: Database) -> int:
    """Confirmed blocks that were not followed yet."""
    with database.read() as session:
        cursor = session.get(ChainCursor, 1)
    followed = 0 if cursor is None else cursor.block_number
    return max(0, int(chain.web3.eth.block_number) - CONFIRMATIONS - followed)


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DRAIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(SAMPLE_SECONDS / 10)
    return True


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr)


SMALL = Scale(seconds=24, every=2.0, least_pause=6, most_pause=7, warm=2, window=1)
BENCHMARK = Benchmark(
    "soak",
    "an hour of steady load and random kills",
    measure,
    small=partial(measure, SMALL),
)
