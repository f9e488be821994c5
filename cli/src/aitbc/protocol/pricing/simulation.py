"""Tomorrow's prices of a GPU, hour by hour, if demand is as it was. Pure: no network, no clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from aitbc.protocol.pricing.inputs import NO_HOUR, MarketHour, PricingInputs
from aitbc.protocol.pricing.level import TARGET_UTILISATION_BPS
from aitbc.protocol.pricing.strategies import Price, price
from aitbc.protocol.regions import time_zone
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR

DAYS_OF_HISTORY = 7
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider would sign. Prices are base units per hour."""

    region: str
    base_price: int
    floor_price: int
    ceiling_price: int


@dataclass(frozen=True, slots=True)
class SimulatedHour:
    """An hour of tomorrow: its expected demand, and the price of booking it alone."""

    starts_at: int
    utilisation_bps: int
    prices: dict[str, Price]
    """By strategy."""


class Forecast:
    """Expected utilisation of a region: the mean of what was seen at the same hour of its clock.

    An hour of the clock that was never seen takes the mean of all; where nothing was seen at all,
    the target utilisation is assumed.
    """

    def __init__(self, region: str, seen: Sequence[MarketHour]) -> None:
        self._zone = time_zone(region)
        self._by_hour: dict[int, list[int]] = {}
        self._all = [hour.utilisation_bps for hour in seen if hour.listed]
        for hour in seen:
            if hour.listed:
                known = self._by_hour.setdefault(self._clock_hour(hour.starts_at), [])
                known.append(hour.utilisation_bps)

    @property
    def hours_seen(self) -> int:
        return len(self._all)

    def utilisation_bps(self, at: int) -> int:
        known = self._by_hour.get(self._clock_hour(at)) or self._all or [TARGET_UTILISATION_BPS]
        return sum(known) // len(known)

    def _clock_hour(self, at: int) -> int:
        return datetime.fromtimestamp(at, self._zone).hour


def recent(seen: Sequence[MarketHour], now: int) -> list[MarketHour]:
    """The hours of the last DAYS_OF_HISTORY days: those that a simulation rests on."""
    return [hour for hour in seen if history_start(now) <= hour.starts_at <= now]


def history_start(now: int) -> int:
    """The first second of the last DAYS_OF_HISTORY days."""
    return max(0, now - DAYS_OF_HISTORY * _DAY_SECONDS)


def tomorrow(region: str, now: int) -> date:
    """The day after today on the region's clock."""
    return datetime.fromtimestamp(now, time_zone(region)).date() + timedelta(days=1)


def simulate(
    offer: Offer, strategies: Sequence[str], seen: Sequence[MarketHour], now: int
) -> list[SimulatedHour]:
    """Tomorrow's prices: 24 hours, 23 or 25 where the region's clock changes.

    `seen` are hours of the region, in any order; of them the recent ones count. The level goes on
    from the newest of them under the forecast. The GPU is taken to stand idle since the day's
    midnight: each price is what the first booking of the day would pay, if it began in that hour.
    """
    seen = recent(seen, now)
    forecast = Forecast(offer.region, seen)
    midnight, day_end = _bounds(offer.region, tomorrow(offer.region, now))
    expected = _expected_hours(forecast, seen, now, day_end)
    hours = {hour.starts_at: hour for hour in (*seen, *expected)}
    found = []
    for starts_at in range(midnight, day_end, SECONDS_PER_HOUR):
        hour = hours[starts_at // SECONDS_PER_HOUR * SECONDS_PER_HOUR]
        prices = {
            strategy: price(
                PricingInputs(
                    strategy=strategy,
                    region=offer.region,
                    base_price=offer.base_price,
                    floor_price=offer.floor_price,
                    ceiling_price=offer.ceiling_price,
                    starts_at=starts_at,
                    ends_at=starts_at + SECONDS_PER_HOUR,
                    hour=hour,
                    idle_seconds=starts_at - midnight,
                )
            )
            for strategy in strategies
        }
        found.append(SimulatedHour(starts_at, hour.utilisation_bps, prices))
    return found


def _expected_hours(
    forecast: Forecast, seen: Sequence[MarketHour], now: int, until: int
) -> Iterator[MarketHour]:
    last = max(seen, key=lambda hour: hour.starts_at, default=NO_HOUR)
    level = last.level_bps
    this_hour = now // SECONDS_PER_HOUR * SECONDS_PER_HOUR
    first = last.starts_at + SECONDS_PER_HOUR if seen else this_hour
    for starts_at in range(first, until, SECONDS_PER_HOUR):
        # Of 10,000 GPUs, as many are booked as there are basis points in the utilisation.
        hour = MarketHour(
            starts_at=starts_at,
            listed=BPS,
            booked=forecast.utilisation_bps(starts_at),
            level_before_bps=level,
        )
        level = hour.level_bps
        yield hour


def _bounds(region: str, day: date) -> tuple[int, int]:
    midnights = (
        datetime.combine(day + timedelta(days=days), time(), time_zone(region)) for days in (0, 1)
    )
    start, end = (int(midnight.astimezone(UTC).timestamp()) for midnight in midnights)
    return start, end
