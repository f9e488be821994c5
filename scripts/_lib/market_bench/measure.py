"""How fast the API quotes, on both databases.

Load comes from a second process over 32 connections, and everything is signed before the clock
starts. What is compared is measured in turns, and a row is the median of the rounds. The API runs
as a coordinator serves it, without limits to the rate and without a chain, whose newest block is a
row in the database. The yardstick runs in the same way, on a database that is as durable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Literal, NamedTuple

from eth_account import Account

from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.wire import Market
from aitbc_coordinator.settings import HOME_VARIABLE, Settings
from benchmark import Benchmark, Measured, Row
from market_bench.databases import kinds
from market_bench.people import NO_MATCH
from market_bench.servers import SPAWN, Coordinator
from market_bench.subject import Scale, Subject

ESCROW = "0x" + "e5" * 20
HOLD_SECONDS = 3600
"""How long a quote holds: none lapses in a run."""
AGE_SECONDS = 86_400
"""How old a signature may be, which waits for its turn; and how long no machine need be heard."""


FULL = Scale()


class Figure(NamedTuple):
    """A row for each kind of database, and its goals, if it has some."""

    name: str
    what: str
    unit: str
    goals: Mapping[str, float] = MappingProxyType({})
    bound: Literal["most", "least"] = "most"


def both(goal: float) -> Mapping[str, float]:
    return {"sqlite": goal, "postgres": goal}


FIGURES = (
    Figure(
        "quote_ratio",
        "quotes a second, of the rows a second that the yardstick commits",
        "times",
        {"sqlite": 2, "postgres": 1},
        "least",
    ),
    Figure("quote_growth", "median time, large market of small", "times", both(1.3)),
    Figure("quotes_per_second", "quotes in the small market", "1/s"),
    Figure("yardstick_per_second", "rows that the yardstick commits", "1/s"),
    Figure("quote_median", "median time of a quote in the large market", "ms"),
    Figure("quote_p99", "time of the slowest 1 % of quotes there, from", "ms"),
    Figure("listings_per_second", "GPUs registered through the API", "1/s"),
    Figure("memory", "resident memory of the large market's API", "MiB"),
)
HOT = Figure("quote_hot_growth", "time of the last quote in one slot, of the first", "times")
NO_MATCHES = tuple(
    Figure(f"no_match_ratio_{why}", f"median time of no match, of a match: {where}", "times")
    for why, where in NO_MATCH.items()
)


def measure(scale: Scale = FULL) -> Measured:
    """Measure everything. Raises LocalMarketError for an answer that is not the expected one."""
    with _subjects(scale) as subjects:
        for number in range(scale.rounds):
            _say(f"registering GPUs, {number + 1} of {scale.rounds}")
            for subject in subjects:
                subject.register()
        for subject in subjects:
            _say(f"listing {scale.listed * scale.copies:,} GPUs on {subject.kind.name}")
            subject.open()
        for number in range(scale.rounds):
            _say(f"round {number + 1} of {scale.rounds}")
            for subject in subjects:
                subject.round()
        return Measured(asdict(scale), rows(subjects))


def rows(subjects: Sequence[Subject]) -> tuple[Row, ...]:
    """What was measured, as rows."""
    hot, no_match = _each(HOT, subjects), [r for f in NO_MATCHES for r in _each(f, subjects)]
    return (
        *(row for figure in FIGURES for row in _each(figure, subjects)),
        _worst("quote_hot_growth", 2, hot),
        *hot,
        _worst("no_match_ratio", 3, no_match),
        *no_match,
    )


def _each(figure: Figure, subjects: Sequence[Subject]) -> list[Row]:
    return [
        Row(
            f"{figure.name}_{subject.kind.name}",
            figure.what,
            round(median(subject.values[figure.name]), 3),
            figure.unit,
            goal=figure.goals.get(subject.kind.name),
            bound=figure.bound,
        )
        for subject in subjects
    ]


def _worst(name: str, goal: float, found: Sequence[Row]) -> Row:
    worst = max(found, key=lambda row: row.value)
    return Row(name, f"the largest of these: {worst.id}", worst.value, worst.unit, goal=goal)


@contextmanager
def _subjects(scale: Scale) -> Iterator[list[Subject]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="aitbc-bench-")))
        coordinator = new_coordinator(folder)
        loader = stack.enter_context(ProcessPoolExecutor(1, mp_context=SPAWN))
        found = []
        for kind in stack.enter_context(kinds(folder)):
            found.append(Subject(kind, coordinator, scale, loader, folder))
            stack.callback(found[-1].stop)
        yield found


def new_coordinator(folder: Path) -> Coordinator:
    """A coordinator without limits, whose quotes and signed requests outlast a run."""
    os.environ[HOME_VARIABLE] = str(folder)  # Nobody's own configuration counts.
    attester = Account.create()
    settings = Settings(
        rpc_url="http://127.0.0.1:1",
        chain_id=31_337,
        contract="NativeEscrow",
        escrow=ESCROW,
        deploy_block=0,
        passphrase_file=folder / "passphrase",
        quote_seconds=HOLD_SECONDS,
        first_presence_seconds=AGE_SECONDS,
        signature_seconds=AGE_SECONDS,
        address_requests_per_minute=0,
        wallet_requests_per_minute=0,
    )
    market = Market.model_validate(
        {
            **settings.model_dump(include=set(Market.model_fields)),
            "name": "bench",
            "token": None,
            "symbol": "ETH",
            "decimals": 18,
            "attester": attester.address,
            "arbiter": ZERO_ADDRESS,
            "fee_bps": 100,
            "fee_recipient": attester.address,
            "claim_window": 86_400,
            "rpc_url": None,
        }
    )
    return Coordinator(settings, market, bytes(attester.key))


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr)


SMALL = Scale(listed=60, copies=3, rounds=2, requests=20, hot=10, connections=4)
BENCHMARK = Benchmark(
    "market", "speed of quotes at a million GPUs", measure, small=partial(measure, SMALL)
)
