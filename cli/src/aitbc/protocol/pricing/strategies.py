"""The strategies, each with its contract, and the price that they make."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

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


class Factor(BaseModel):
    """One step from the base price to the price: base units per hour, and why."""

    name: str
    change: AmountChange
    reason: str


class Price(BaseModel):
    """Base units per hour, and the factors that led there: base price + changes = price."""

    per_hour: Amount
    factors: list[Factor]


def market_balance(inputs: PricingInputs) -> list[Factor]:
    """The base price times the region's level, which follows demand.

    Contract: at the target utilisation the price stays. It never falls where more is booked, or
    where the level before was higher. From one hour to the next it moves by no more than
    LEVEL_STEP_BPS of the base price. Under constant utilisation above (below) the target, the
    level reaches LEVEL_MAX_BPS (LEVEL_MIN_BPS), and stays there.
    """
    base, hour = inputs.base_price, inputs.hour
    if hour == NO_HOUR:
        return [Factor(name="demand", change=0, reason=f"{inputs.region} has no recorded hour yet")]
    before = base * hour.level_before_bps // BPS
    after = base * hour.level_bps // BPS
    level = _percent(hour.level_before_bps)
    target = f"the target is {_percent(TARGET_UTILISATION_BPS)}"
    seen = _booked(inputs) if hour.listed else f"nothing was listed in {inputs.region}"
    return [
        Factor(
            name="level",
            change=before - base,
            reason=f"{inputs.region} stood at {level} of base prices before {_clock(inputs)}",
        ),
        Factor(name="demand", change=after - before, reason=f"{seen}; {target}"),
    ]


def peak_maximizer(inputs: PricingInputs) -> list[Factor]:
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
    hours = f"{PEAK_FROM_HOUR}:00 to {PEAK_UNTIL_HOUR}:00"
    return [
        Factor(
            name="peak",
            change=surcharge,
            reason=f"{_span(peak)} of {_span(inputs.seconds)} lie from {hours} in {inputs.region}",
        ),
        Factor(name="heat", change=heat, reason=_booked(inputs)),
    ]


def utilization_guard(inputs: PricingInputs) -> list[Factor]:
    """Falls from the base price to the floor while the GPU stands idle.

    Contract: it falls evenly, is the floor from GUARD_SECONDS of idleness on, and never rises
    with idleness. With no idleness, as after any booking, it is the base price.
    """
    idle = min(inputs.idle_seconds, GUARD_SECONDS)
    fall = (inputs.base_price - inputs.floor_price) * idle // GUARD_SECONDS
    reason = (
        f"idle for {_span(inputs.idle_seconds)}; the floor is reached in {_span(GUARD_SECONDS)}"
    )
    return [Factor(name="idle", change=-fall, reason=reason)]


STRATEGIES: dict[str, Callable[[PricingInputs], list[Factor]]] = {
    "market-balance": market_balance,
    "peak-maximizer": peak_maximizer,
    "utilization-guard": utilization_guard,
}


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
    factors = STRATEGIES[parse_strategy(inputs.strategy)](inputs)
    wanted = inputs.base_price + sum(factor.change for factor in factors)
    bounded = max(inputs.floor_price, min(inputs.ceiling_price, wanted))
    if bounded != wanted:
        bound = "floor" if bounded > wanted else "ceiling"
        reason = f"the provider's {bound} price holds"
        factors.append(Factor(name=bound, change=bounded - wanted, reason=reason))
    return Price(per_hour=bounded, factors=factors)


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
