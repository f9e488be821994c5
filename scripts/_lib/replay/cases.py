"""The rows of `./scripts/bench replay`, and the promise that each goal holds a strategy to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import Literal, NamedTuple

from aitbc.protocol.pricing import STRATEGIES
from aitbc.protocol.pricing.backtest import FIXED
from aitbc.protocol.pricing.level import LEVEL_STEP_BPS
from benchmark import Benchmark, Measured, Row
from replay import measures, rules, trace
from replay.replaying import Week, replay
from replay.rules import Card, Request

PRICINGS = (FIXED, *STRATEGIES)
ROUNDED_TO = 4
SMALL_NODES, SMALL_TASK_STEP = 12, 117


class Goal(NamedTuple):
    bound: Literal["most", "least"]
    value: float


GOALS = {
    "revenue_vs_fixed_market_balance": Goal("least", 1),
    "day_to_day_vs_fixed_market_balance": Goal("most", 1),
    "volatility_market_balance": Goal("most", LEVEL_STEP_BPS / 100),
    "peak_price_vs_fixed_peak_maximizer": Goal("least", 1.1),
    "fill_vs_fixed_utilization_guard": Goal("least", 1),
    "utilisation_vs_fixed_utilization_guard": Goal("least", 1),
    "overlaps": Goal("most", 0),
    "wrongly_refused": Goal("most", 0),
}
"""By row: what each strategy promises in docs/pricing.md, and what any coordinator must."""


def measure() -> Measured:
    """Replay the whole trace under each strategy, and at a fixed price."""
    cards = rules.supply(trace.nodes())
    return measured(cards, rules.demand(trace.tasks(), cards))


def measure_small() -> Measured:
    """A hundredth of the demand, on a few GPUs."""
    cards = rules.supply(trace.nodes()[:SMALL_NODES])
    return measured(cards, rules.demand(trace.tasks(), cards)[::SMALL_TASK_STEP])


def measured(cards: Sequence[Card], demand: Sequence[Request]) -> Measured:
    """Replay some demand on some GPUs."""
    workers = min(len(PRICINGS), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        weeks = {}
        for pricing, week in zip(
            PRICINGS, pool.map(partial(replay, cards=cards, demand=demand), PRICINGS), strict=True
        ):
            print(f"replay: {pricing} is through", file=sys.stderr)
            weeks[pricing] = week
    setting = {
        "seed": rules.SEED,
        "gpus": len(cards),
        "tasks": len(demand),
        "gpus_asked_for": sum(request.count for request in demand),
        "days": measures.DAYS,
        "rules": [part for part in (rules.__doc__ or "").split("\n\n") if part.startswith("**")],
    }
    return Measured(setting, rows(weeks))


def rows(weeks: Mapping[str, Week]) -> tuple[Row, ...]:
    """All rows; `weeks` are by strategy, the fixed price among them."""
    found = [row for pricing, week in weeks.items() for row in _of_one(pricing, week)]
    for pricing in STRATEGIES:
        found += _against_fixed(pricing, weeks[pricing], weeks[FIXED])
    worst = max(measures.overlaps(week) for week in weeks.values())
    found.append(Row("overlaps", "bookings of a GPU that is booked already", worst, ""))
    refused = measures.wrongly_refused(weeks[FIXED])
    found.append(Row("wrongly_refused", "refused though free and not too dear", refused, ""))
    return tuple(
        replace(row, goal=GOALS[row.id].value, bound=GOALS[row.id].bound)
        if row.id in GOALS
        else row
        for row in found
    )


def _of_one(pricing: str, week: Week) -> list[Row]:
    values = {
        "fill_rate": ("GPUs booked, of those asked for", measures.fill_percent(week)),
        "too_dear": ("not booked: more than the buyer pays", measures.too_dear_percent(week)),
        "taken": ("not booked: too few are free", measures.taken_percent(week)),
        "utilisation": ("booked, of all GPUs' time", measures.utilisation_percent(week)),
        "volatility": (
            "change of a GPU's price from hour to hour, of the base price",
            measures.volatility_percent(week),
        ),
        "day_to_day": (
            "deviation of a GPU's earnings of a day, of their mean",
            measures.day_to_day_percent(week),
        ),
    }
    of = pricing.replace("-", "_")
    return [
        Row(f"{name}_{of}", what, round(value, 2), "%") for name, (what, value) in values.items()
    ]


def _against_fixed(pricing: str, week: Week, fixed: Week) -> list[Row]:
    values = {
        "revenue": ("revenue", measures.revenue),
        "peak_price": ("what a booked hour of peak brings", measures.peak_price),
        "fill": ("fill rate", measures.fill_percent),
        "utilisation": ("utilisation", measures.utilisation_percent),
        "day_to_day": ("deviation of earnings", measures.day_to_day_percent),
    }
    of = pricing.replace("-", "_")
    return [
        Row(
            f"{name}_vs_fixed_{of}",
            f"{what}, of what a fixed price brings",
            round(read(week) / read(fixed), ROUNDED_TO),
            "",
        )
        for name, (what, read) in values.items()
    ]


BENCHMARK = Benchmark(
    "replay",
    "strategies on a real cluster's demand, through the coordinator",
    measure,
    small=measure_small,
)
