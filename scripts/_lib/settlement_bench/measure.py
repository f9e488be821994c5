"""How fast bookings are settled and events followed, on both databases.

A booking is settled from its end until its payout is final: metered, attested, put into the outbox,
batched, signed, persisted, sent, mined, followed and ticked off. What is compared is measured in
turns, on one node, which mines every transaction at once, and a row is the median of the rounds.
Events are followed into a database whose quotes are known, from a node that answers from memory,
and beside it the same ranges are read and decoded with web3, and fetched and parsed with the
standard json.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from aitbc_coordinator import logs
from aitbc_coordinator.serve import keep_what_there_is
from aitbc_coordinator.settings import HOME_VARIABLE
from benchmark import Benchmark, Measured, Row
from market_bench.databases import Kind, kinds
from settlement_bench.bare import write_bare
from settlement_bench.bookings import Booked
from settlement_bench.chain import Chain
from settlement_bench.follow import Following, read_raw, read_with_web3
from settlement_bench.stub import serving
from settlement_bench.subject import Subject

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    settled: int = 1_000
    """Bookings of each kind of database, in a round."""
    plain: int = 100
    """Bookings of each loop, in a round."""
    followed: int = 10_000
    """Bookings whose events are followed, in a round."""
    early: int = 10_000
    late: int = 100_000
    """Bookings that were settled before a window begins."""
    window: int = 1_000
    step: int = 2_000
    """Bookings that are settled together between the windows."""


FULL = Scale()


def measure(scale: Scale = FULL) -> Measured:
    """Measure everything. Raises LocalMarketError for a payout that is not the expected one."""
    with _folder() as folder, kinds(folder) as both:
        values: Values = {}
        _settle(scale, both, folder, values)
        _follow(scale, both, values)
        _grow(scale, both, folder, values)
        return Measured(asdict(scale), rows(values, [kind.name for kind in both]))


def rows(values: Values, names: Sequence[str]) -> tuple[Row, ...]:
    """What was measured, as rows."""

    def row(name: str, what: str, unit: str) -> Row:
        return Row(name, what, round(median(values[name]), 3), unit)

    def each(name: str, what: str, unit: str) -> list[Row]:
        return [row(f"{name}_{kind}", what, unit) for kind in names]

    def worst(name: str, what: str, goal: float, *, least: bool) -> list[Row]:
        found = each(name, what, "times")
        chosen = (min if least else max)(found, key=lambda one: one.value)
        bound = "least" if least else "most"
        return [
            Row(name, f"the worse of: {what}", chosen.value, "times", goal=goal, bound=bound),  # type: ignore[arg-type]
            *found,
        ]

    return (
        *worst("settle_ratio", "bookings a second, of a plain loop's", 40, least=True),
        *worst("settle_vs_pipelined", "bookings a second, of a pipelined loop's", 15, least=True),
        *worst("follow_vs_web3", "events followed, of those that web3 reads", 12, least=True),
        *worst("follow_vs_raw", "events followed, of those that json parses", 0.25, least=True),
        *worst("settle_growth", "time of a booking in the late window, of early", 1.2, least=False),
        *each("settled_per_second", "bookings settled", "1/s"),
        row("plain_per_second", "bookings that the plain loop settles", "1/s"),
        row("pipelined_per_second", "bookings that the pipelined loop settles", "1/s"),
        *each("followed_per_second", "events followed", "1/s"),
        *each("bound_vs_web3", "follow_vs_web3 if nothing took time but json and rows", "times"),
        *each("bound_vs_raw", "follow_vs_raw if nothing took time but json and rows", "times"),
        row("web3_per_second", "events that web3 reads", "1/s"),
        row("raw_per_second", "events that json parses", "1/s"),
        *each("statements", "statements in the database for a booking", "1"),
        *each("payout_blocks", "blocks from a booking's end to its final payout", "blocks"),
    )


def _settle(scale: Scale, both: Sequence[Kind], folder: Path, values: Values) -> None:
    with _chain(folder) as chain, _subjects(both, chain) as subjects:
        for number in range(scale.rounds):
            _say(f"settling, round {number + 1} of {scale.rounds}")
            plain = _over(chain, subjects[0], scale.plain)
            plain_rate = scale.plain / _seconds(partial(chain.settle_one_by_one, plain))
            pipelined = _over(chain, subjects[0], scale.plain)
            pipelined_rate = scale.plain / _seconds(partial(chain.settle_pipelined, pipelined))
            _note(values, "plain_per_second", plain_rate)
            _note(values, "pipelined_per_second", pipelined_rate)
            for subject in subjects:
                name = subject.kind.name
                seconds = _settled(subject, scale.settled)
                rate = scale.settled / seconds
                _note(values, f"settled_per_second_{name}", rate)
                _note(values, f"settle_ratio_{name}", rate / plain_rate)
                _note(values, f"settle_vs_pipelined_{name}", rate / pipelined_rate)
                _note(values, f"statements_{name}", subject.statements / scale.settled)
                _note(values, f"payout_blocks_{name}", subject.payout_blocks)


def _follow(scale: Scale, both: Sequence[Kind], values: Values) -> None:
    following = Following(scale.followed)
    _say("making a chain to follow")
    templates = {kind.name: following.database(kind) for kind in both}
    with serving(following.history) as url:
        for number in range(scale.rounds):
            _say(f"following, round {number + 1} of {scale.rounds}")
            for kind in both:
                template = templates[kind.name]
                followed = kind.copy(template)
                seconds, ranges = following.follow(url, followed)
                web3_seconds, raw_seconds = read_with_web3(url, ranges), read_raw(url, ranges)
                least = raw_seconds + write_bare(kind, followed, kind.copy(template))
                _note(values, f"followed_per_second_{kind.name}", following.events / seconds)
                _note(values, f"follow_vs_web3_{kind.name}", web3_seconds / seconds)
                _note(values, f"follow_vs_raw_{kind.name}", raw_seconds / seconds)
                _note(values, f"bound_vs_web3_{kind.name}", web3_seconds / least)
                _note(values, f"bound_vs_raw_{kind.name}", raw_seconds / least)
                _note(values, "web3_per_second", following.events / web3_seconds)
                _note(values, "raw_per_second", following.events / raw_seconds)


def _grow(scale: Scale, both: Sequence[Kind], folder: Path, values: Values) -> None:
    for kind in both:
        with _chain(folder) as chain, _subjects([kind], chain) as [subject]:
            done, times = 0, []
            for until in (scale.early, scale.late):
                _say(f"settling up to {until:,} bookings on {kind.name}")
                while done < until:
                    _settled(subject, min(scale.step, until - done))
                    done += min(scale.step, until - done)
                times.append(median(_settled(subject, scale.window) for _ in range(scale.rounds)))
                done += scale.rounds * scale.window
            _note(values, f"settle_growth_{kind.name}", times[1] / times[0])


def _over(chain: Chain, subject: Subject, count: int) -> list[Booked]:
    """Bookings that are over, of which no coordinator knows."""
    bookings = chain.book(subject.facts.providers, count)
    chain.fund(bookings)
    chain.mine(at=bookings[0].terms.ends_at)
    return bookings


def _settled(subject: Subject, count: int) -> float:
    """Seconds in which so many bookings are settled, each as it should be."""
    bookings = subject.book(count)
    seconds = _seconds(subject.settle)
    subject.check(bookings)
    return seconds


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="aitbc-bench-") as name:
        os.environ[HOME_VARIABLE] = name  # Nobody's own configuration counts.
        folder = Path(name)
        with (folder / "log").open("w") as log:
            logs.configure(stream=log)
            yield folder


@contextmanager
def _chain(folder: Path) -> Iterator[Chain]:
    chain = Chain(folder)
    try:
        yield chain
    finally:
        chain.stop()


@contextmanager
def _subjects(both: Sequence[Kind], chain: Chain) -> Iterator[list[Subject]]:
    with ExitStack() as stack:
        subjects = [Subject(kind, chain) for kind in both]
        for subject in subjects:
            stack.callback(subject.stop)
        keep_what_there_is()
        yield subjects


def _note(values: Values, name: str, value: float) -> None:
    values.setdefault(name, []).append(value)


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr)


SMALL = Scale(rounds=1, settled=40, plain=5, followed=100, early=20, late=60, window=20, step=20)
BENCHMARK = Benchmark(
    "settlement",
    "speed of payouts, and of following the chain",
    measure,
    small=partial(measure, SMALL),
)
