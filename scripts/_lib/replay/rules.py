"""From the trace to a market: what it lacks is a rule here, and drawn from SEED alone.

**Time.** The trace's weeks are laid over each other, so that its tasks come within one week, each
at its own time of the day and of the week. Its clock, which it does not tell, shows CLOCK_AT_START
at its first second, so that its twelve busiest hours in a row are 9:00 to 21:00; and it is the
clock of whatever region the task comes to. As it was, the trace would book one GPU in ninety at its
busiest moment; so a booking lasts STRETCH times as long as its task did, LEAST_SECONDS at least and
a week at most. A task that asks for several GPUs is a cluster: it gets all of them or none.

**Place.** A node stands in the region that its name's hash falls on, all REGIONS alike. Demand is
not spread alike: of six tasks, by their names' hashes, three come to the first region, two to the
second, one to the last. So there is shortage and glut in one replay.

**Prices.** Every GPU asks for its model's base price, with half of it as the floor and double as
the ceiling, as `gpu register` has them. A buyer wants one model, drawn as often as there are GPUs
of it, and pays at most between half and double of its base price, evenly on a logarithmic scale: at
the base price half of the buyers come, and a price that is 1 % lower brings 1.4 % more of them. Who
finds the price too high, or too few GPUs free, is gone.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from aitbc.protocol.regions import time_zone
from replay.trace import Node, Task

SEED = 2023
WEEK = 7 * 86_400
WEEK_START = int(datetime(2027, 1, 4, tzinfo=UTC).timestamp())
"""A Monday, in a week in which no clock is changed."""
CLOCK_AT_START = 16 * 3600
STRETCH = 600
LEAST_SECONDS = 3600
REGIONS = ("us-west", "eu-central", "ap-southeast")
COMES_TO = (0, 0, 0, 1, 1, 2)
DECIMALS = 6
DOLLAR = 10**DECIMALS


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of GPU; the price is for an hour, in base units."""

    memory_gib: int
    base_price: int


MODELS = {
    "T4": Model(16, DOLLAR * 20 // 100),
    "P100": Model(16, DOLLAR * 25 // 100),
    "V100M16": Model(16, DOLLAR * 45 // 100),
    "V100M32": Model(32, DOLLAR * 60 // 100),
    "A10": Model(24, DOLLAR * 50 // 100),
    # The trace does not disclose what these are.
    "G2": Model(24, DOLLAR * 40 // 100),
    "G3": Model(80, DOLLAR),
}


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU to be listed."""

    node: str
    index: int
    model: str
    region: str


@dataclass(frozen=True, slots=True)
class Request:
    """A buyer who comes for `count` GPUs of a model. UTC seconds; base units per hour."""

    comes_at: int
    task: str
    region: str
    model: str
    count: int
    seconds: int
    most: int


def supply(nodes: Iterable[Node]) -> list[Card]:
    """Every GPU of every node."""
    return [
        Card(node.name, index, node.model, REGIONS[_hash("node", node.name) % len(REGIONS)])
        for node in nodes
        for index in range(node.gpus)
    ]


def demand(tasks: Iterable[Task], cards: Sequence[Card]) -> list[Request]:
    """Every task's request, in the order in which they come."""
    return sorted((_request(task, cards) for task in tasks), key=lambda r: (r.comes_at, r.task))


def _request(task: Task, cards: Sequence[Card]) -> Request:
    region = REGIONS[COMES_TO[_hash("task", task.name) % len(COMES_TO)]]
    draw = random.Random(f"{SEED} {task.name}")  # noqa: S311  (no secret)
    model = draw.choice(cards).model
    offset = datetime.fromtimestamp(WEEK_START, time_zone(region)).utcoffset() or timedelta()
    in_week = task.created_at + CLOCK_AT_START - int(offset.total_seconds())
    return Request(
        comes_at=WEEK_START + in_week % WEEK,
        task=task.name,
        region=region,
        model=model,
        count=task.gpus,
        seconds=max(LEAST_SECONDS, min(WEEK, STRETCH * task.seconds)),
        most=round(MODELS[model].base_price * 2 ** draw.uniform(-1, 1)),
    )


def _hash(kind: str, name: str) -> int:
    return int.from_bytes(sha256(f"{kind} {name}".encode()).digest()[:8], "big")
