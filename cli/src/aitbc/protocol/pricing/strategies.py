"""The strategies, each with its contract, and the price that they make."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

from pydantic import BaseModel

from aitbc.protocol.pricing.inputs import NO_HOUR, PricingInputs
from aitbc.protocol.pricing.level import TARGET_UTILISATION_BPS
from aitbc.protocol.regions import time_zone
from aitbc.protocol.types import Amount, AmountChange
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR, format_amount

DEFAULT_STRATEGY = "market-balance"

PEAK_FROM_HOUR, PEAK_UNTIL_HOUR = 9, 21
PEAK_SURCHARGE_BPS = 3_000
"""Of the base price, where the whole booking lies in peak hours."""
HEAT_SURCHARGE_BPS = 2_000
"""Of the base price, where the whole region is booked."""
GUARD_SECONDS = 24 * SECONDS_PER_HOUR
"""How long an idle GPU takes from its base price to its floor."""


class Step(NamedTuple):
    """A change of the base price in base units per hour; `why` is said only to who asks."""

    name: str
    change: int
    why: Callable[[], str]


class Factor(BaseModel):
    """One step from the base price to the price: base units per hour, and why."""

    name: str
    change: AmountChange
    reason: str


class Price(BaseModel):
    """Base units per hour, and the factors that led there: base price + changes = price."""

    per_hour: Amount
    factors: list[Factor]


def market_balance(inputs: PricingInputs) -> list[Step]:
    """The base price times the region's level, which follows demand.

    Contract: at the target utilisation the price stays. It never falls where more is booked, or
    where the level before was higher. From one hour to the next it moves by no more than
    LEVEL_STEP_BPS of the base price. Under constant utilisation above (below) the target, the
    level reaches LEVEL_MAX_BPS (LEVEL_MIN_BPS), and stays there.
    """
    base, hour = inputs.base_price, inputs.hour
    if hour == NO_HOUR:
        return [Step("demand", 0, lambda: _booked(inputs))]
    before = base * hour.level_before_bps // BPS
    after = base * hour.level_bps // BPS

    def why_demand() -> str:
        seen = _booked(inputs) if hour.listed else f"nothing was listed in {inputs.region}"
        return f"{seen}; the target is {_percent(TARGET_UTILISATION_BPS)}"

    def why_level() -> str:
        level = _percent(hour.level_before_bps)
        return f"{inputs.region} stood at {level} of base prices before {_clock(inputs)}"

    return [
        Step("level", before - base, why_level),
        Step("demand", after - before, why_demand),
    ]


def peak_maximizer(inputs: PricingInputs) -> list[Step]:
    """A surcharge for peak hours on the region's own clock, and one for the region's heat.

    Contract: the peak surcharge is PEAK_SURCHARGE_BPS of the base price times the share of the
    booking's seconds from 9:00 to 21:00 local, so that it can neither be dodged by an earlier
    start nor by cutting a booking in two. The heat surcharge is HEAT_SURCHARGE_BPS times the
    region's utilisation. The price never falls where either share is higher, and is never below
    the base price.
    """
    peak = peak_seconds(inputs.region, inputs.starts_at, inputs.ends_at)
    surcharge = inputs.base_price * PEAK_SURCHARGE_BPS * peak // (BPS * inputs.seconds)
    heat = inputs.base_price * HEAT_SURCHARGE_BPS * inputs.hour.utilisation_bps // (BPS * BPS)

    def why_peak() -> str:
        hours = f"{PEAK_FROM_HOUR}:00 to {PEAK_UNTIL_HOUR}:00"
        return f"{_span(peak)} of {_span(inputs.seconds)} lie from {hours} in {inputs.region}"

    return [Step("peak", surcharge, why_peak), Step("heat", heat, lambda: _booked(inputs))]


def utilization_guard(inputs: PricingInputs) -> list[Step]:
    """Falls from the base price to the floor while the GPU stands idle.

    Contract: it falls evenly, is the floor from GUARD_SECONDS of idleness on, and never rises
    with idleness. With no idleness, as after any booking, it is the base price.
    """
    idle = min(inputs.idle_seconds, GUARD_SECONDS)
    fall = (inputs.base_price - inputs.floor_price) * idle // GUARD_SECONDS

    def why() -> str:
        idle_for, all_of_it = _span(inputs.idle_seconds), _span(GUARD_SECONDS)
        return f"idle for {idle_for}; the floor is reached in {all_of_it}"

    return [Step("idle", -fall, why)]


STRATEGIES: dict[str, Callable[[PricingInputs], list[Step]]] = {
    "market-balance": market_balance,
    "peak-maximizer": peak_maximizer,
    "utilization-guard": utilization_guard,
}


@lru_cache(maxsize=256)
def parse_strategy(text: str) -> str:
    """The strategy that `text` names (`Market Balance`, `market_balance`, …).

    Raises ValueError, naming the known ones, when it names none.
    """
    name = "-".join(text.lower().replace("_", " ").replace("-", " ").split())
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy '{text}': choose one of {', '.join(STRATEGIES)}")
    return name


def price(inputs: PricingInputs) -> Price:
    """The price per hour within the provider's floor and ceiling.

    Raises ValueError for a strategy or a region that does not exist.
    """
    bounded, steps = _bounded(inputs)
    factors = [Factor(name=step.name, change=step.change, reason=step.why()) for step in steps]
    return Price(per_hour=bounded, factors=factors)


def price_per_hour(inputs: PricingInputs) -> int:
    """What `price` comes to, for those who need no reasons."""
    return _bounded(inputs)[0]


def _bounded(inputs: PricingInputs) -> tuple[int, list[Step]]:
    steps = STRATEGIES[parse_strategy(inputs.strategy)](inputs)
    wanted = inputs.base_price + sum(step.change for step in steps)
    bounded = max(inputs.floor_price, min(inputs.ceiling_price, wanted))
    if bounded != wanted:
        bound = "floor" if bounded > wanted else "ceiling"
        why = f"the provider's {bound} price holds"
        steps.append(Step(bound, bounded - wanted, lambda: why))
    return bounded, steps


def peak_seconds(region: str, starts_at: int, ends_at: int) -> int:
    """How many of the seconds in `[starts_at, ends_at)` are peak hours on the region's clock."""
    zone = time_zone(region)
    day = datetime.fromtimestamp(starts_at, UTC).astimezone(zone).date()
    seconds = 0
    while True:
        opens, closes = (
            int(datetime.combine(day, time(hour), zone).timestamp())
            for hour in (PEAK_FROM_HOUR, PEAK_UNTIL_HOUR)
        )
        if opens >= ends_at:
            return seconds
        seconds += max(0, min(closes, ends_at) - max(opens, starts_at))
        day += timedelta(days=1)


def _booked(inputs: PricingInputs) -> str:
    hour = inputs.hour
    share = _percent(hour.utilisation_bps)
    if hour == NO_HOUR:
        return f"{inputs.region} has no recorded hour yet"
    return f"{hour.booked} of {hour.listed} GPUs in {inputs.region} ({share}) were booked"


def _clock(inputs: PricingInputs) -> str:
    return datetime.fromtimestamp(inputs.hour.starts_at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _percent(bps: int) -> str:
    return f"{format_amount(bps, 2)} %"


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, SECONDS_PER_HOUR)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
