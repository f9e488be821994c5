"""One replay: a week of demand under one strategy."""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aitbc.protocol.pricing import DEFAULT_STRATEGY
from aitbc.protocol.pricing.backtest import FIXED
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR
from replay.market import QUOTE_SECONDS, Booking, Market
from replay.rules import MODELS, WEEK, WEEK_START, Card, Request

WATCHED = 60
"""How many GPUs' prices are looked at as each hour begins."""


@dataclass(slots=True)
class Week:
    """What became of the demand."""

    gpu_ids: list[str]
    asked: int = 0
    """GPUs that were asked for."""
    too_dear: list[Request] = field(default_factory=list)
    """Who got nothing though GPUs were free: they must have cost more than is paid."""
    taken: list[Request] = field(default_factory=list)
    """Who got nothing as too few were free."""
    bookings: list[Booking] = field(default_factory=list)
    prices: dict[str, list[int]] = field(default_factory=dict)
    """Of the watched GPUs, as each hour begins: basis points of the base price."""


def replay(pricing: str, cards: Sequence[Card], demand: Sequence[Request]) -> Week:
    """The week under a strategy that every provider signs, or at a fixed price."""
    with tempfile.TemporaryDirectory(prefix="aitbc-replay-") as folder:
        market = Market(Path(folder), WEEK_START - 1)
        try:
            return _Replay(market, pricing, cards).through(demand)
        finally:
            market.close()


class _Replay:
    def __init__(self, market: Market, pricing: str, cards: Sequence[Card]) -> None:
        self._market = market
        strategy = DEFAULT_STRATEGY if pricing == FIXED else pricing
        gpu_ids = market.register(cards, strategy, fixed=pricing == FIXED)
        self._week = Week(gpu_ids)
        step = max(1, len(cards) // WATCHED)
        self._watched = dict(zip(gpu_ids[::step], cards[::step], strict=True))
        self._week.prices = {gpu_id: [] for gpu_id in self._watched}
        self._listed = Counter((card.region, card.model) for card in cards)
        self._running: list[Booking] = []
        """A heap: the first to end comes first."""

    def through(self, demand: Sequence[Request]) -> Week:
        hours = range(WEEK_START, WEEK_START + WEEK, SECONDS_PER_HOUR)
        events: Iterator[int | Request] = heapq.merge(hours, demand, key=_moment)
        for event in events:
            if isinstance(event, Request):
                self._answer(event)
            else:
                self._begin_hour(event)
        return self._week

    def _begin_hour(self, starts_at: int) -> None:
        self._market.now = starts_at
        if ended := list(self._ended(starts_at)):
            self._market.close_bookings(ended)
        self._market.record_hour()
        for gpu_id, price in self._market.asking(list(self._watched)).items():
            base = MODELS[self._watched[gpu_id].model].base_price
            self._week.prices[gpu_id].append(price * BPS // base)

    def _ended(self, by: int) -> Iterator[Booking]:
        while self._running and self._running[0].ends_at <= by:
            yield heapq.heappop(self._running)

    def _answer(self, wanted: Request) -> None:
        self._market.now = wanted.comes_at
        bookings = self._market.book(wanted)
        self._week.asked += wanted.count
        self._week.bookings += bookings
        for booking in bookings:
            heapq.heappush(self._running, booking)
        if not bookings:
            enough = self._free(wanted) >= wanted.count
            (self._week.too_dear if enough else self._week.taken).append(wanted)

    def _free(self, wanted: Request) -> int:
        """GPUs that somebody could have had, at whatever price: counted apart from the market."""
        starts_at, kind = wanted.comes_at + QUOTE_SECONDS, (wanted.region, wanted.model)
        taken = (b for b in self._running if (b.region, b.model) == kind and b.ends_at > starts_at)
        return self._listed[kind] - sum(1 for _ in taken)


def _moment(event: int | Request) -> int:
    return event.comes_at if isinstance(event, Request) else event
