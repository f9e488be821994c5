"""What a GPU would have earned under each strategy, from demand as it was. Pure: no clock."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isqrt

from aitbc.protocol.pricing.inputs import NO_HOUR, MarketHour, PricingInputs
from aitbc.protocol.pricing.simulation import Offer
from aitbc.protocol.pricing.strategies import STRATEGIES, price_per_hour
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR, price_of

FIXED = "fixed"
"""The base price at any time: what strategies are compared with."""


@dataclass(frozen=True, slots=True, order=True)
class Demand:
    """Somebody wants the GPU. UTC seconds, seconds, and base units per hour."""

    starts_at: int
    seconds: int
    most: int
    """The highest price that is paid; at a higher one the buyer walks away."""


@dataclass(frozen=True, slots=True)
class Sale:
    """A booking that was made, at a price per hour in base units."""

    starts_at: int
    seconds: int
    price: int

    @property
    def ends_at(self) -> int:
        return self.starts_at + self.seconds

    @property
    def amount(self) -> int:
        """What it earns, in base units."""
        return price_of(self.price, self.seconds)


@dataclass(slots=True)
class Result:
    """What became of the demand under one strategy."""

    strategy: str
    sales: list[Sale] = field(default_factory=list)
    too_dear: int = 0
    """Buyers that the price drove away."""
    taken: int = 0
    """Buyers that found the GPU booked."""
    prices: list[int] = field(default_factory=list)
    """What an hour cost at the start of each hour."""

    @property
    def revenue(self) -> int:
        """Base units."""
        return sum(sale.amount for sale in self.sales)

    @property
    def booked_seconds(self) -> int:
        return sum(sale.seconds for sale in self.sales)

    @property
    def mean_price(self) -> int:
        """Base units for a booked hour, rounded down; 0 where nothing was booked."""
        seconds = self.booked_seconds
        return self.revenue * SECONDS_PER_HOUR // seconds if seconds else 0


def backtest(
    offer: Offer, demand: Iterable[Demand], strategies: Sequence[str] = (FIXED, *STRATEGIES)
) -> list[Result]:
    """Each strategy's result for one GPU; all begin with it idle, at the level of base prices.

    The region is taken to be as booked as this GPU. Demand goes to the GPU in the order of its
    starts; who finds it booked, or too dear, does not come again.
    """
    asked = sorted(demand)
    return [_Run(offer, strategy).through(asked) for strategy in strategies]


def volatility_bps(prices: Sequence[int], base_price: int) -> int:
    """Root mean square of a price's change from hour to hour, in basis points of the base price."""
    changes = [after - before for before, after in pairwise(prices)]
    if not changes:
        return 0
    squares = sum(change * change for change in changes)
    return isqrt(squares * BPS * BPS // len(changes)) // base_price


def variation_bps(amounts: Sequence[int]) -> int:
    """How far amounts lie from their mean: their standard deviation, in basis points of it.

    0 where nothing was earned.
    """
    total, count = sum(amounts), len(amounts)
    if not total:
        return 0
    # deviation / mean = sqrt(count * sum of squares - total²) / total
    spread = count * sum(amount * amount for amount in amounts) - total * total
    return isqrt(spread * BPS * BPS) // total


class _Run:
    """One GPU under one strategy."""

    def __init__(self, offer: Offer, strategy: str) -> None:
        self._offer = offer
        self._result = Result(strategy)
        self._hour = NO_HOUR
        self._idle_since = 0
        self._busy_until = 0

    def through(self, asked: Sequence[Demand]) -> Result:
        if not asked:
            return self._result
        first = asked[0].starts_at // SECONDS_PER_HOUR * SECONDS_PER_HOUR
        hours = self._hours(first)
        self._idle_since = first
        for one in asked:
            while self._hour is NO_HOUR or self._hour.starts_at + SECONDS_PER_HOUR <= one.starts_at:
                self._hour = next(hours)
                self._result.prices.append(self._price(self._hour.starts_at, SECONDS_PER_HOUR))
            self._answer(one)
        return self._result

    def _hours(self, starts_at: int) -> Iterator[MarketHour]:
        while True:
            yield MarketHour(
                starts_at=starts_at,
                listed=1,
                booked=int(starts_at < self._busy_until),
                level_before_bps=self._hour.level_bps if self._hour is not NO_HOUR else BPS,
            )
            starts_at += SECONDS_PER_HOUR

    def _answer(self, one: Demand) -> None:
        if one.starts_at < self._busy_until:
            self._result.taken += 1
            return
        asked = self._price(one.starts_at, one.seconds)
        if asked > one.most:
            self._result.too_dear += 1
            return
        sale = Sale(one.starts_at, one.seconds, asked)
        self._result.sales.append(sale)
        self._idle_since = self._busy_until = sale.ends_at

    def _price(self, starts_at: int, seconds: int) -> int:
        offer, strategy = self._offer, self._result.strategy
        if strategy == FIXED:
            return offer.base_price
        inputs = PricingInputs(
            strategy=strategy,
            region=offer.region,
            base_price=offer.base_price,
            floor_price=offer.floor_price,
            ceiling_price=offer.ceiling_price,
            starts_at=starts_at,
            ends_at=starts_at + seconds,
            hour=self._hour,
            idle_seconds=max(0, starts_at - self._idle_since),
        )
        return price_per_hour(inputs)
