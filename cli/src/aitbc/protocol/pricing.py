"""Price of a GPU hour: base price, strategy, market state and time in; price and reasons out.

Pure and integer: multipliers are basis points (10,000 = unchanged), so that anyone who has a
quote's inputs recomputes its price to the unit. Every result lies within the floor and the
ceiling that the provider signed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aitbc.protocol.digests import canonical_digest
from aitbc.protocol.regions import time_zone
from aitbc.protocol.types import Amount, Timestamp
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR

PRICING_VERSION = 1
DEFAULT_STRATEGY = "market-balance"

TARGET_UTILISATION_BPS = 7_000
BALANCE_SLOPE_BPS = 5_000
BALANCE_STEP_BPS = 2_000
PEAK_FROM_HOUR, PEAK_UNTIL_HOUR = 9, 21
PEAK_HOURS_BPS = 3_000
OFF_PEAK_BPS = -1_000
REGION_HEAT_BPS = 2_000
IDLE_STEP_BPS = 500

Bps = Annotated[int, Field(ge=0, le=BPS)]


class PricingInputs(BaseModel):
    """All that a price depends on. Prices are base units per hour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = PRICING_VERSION
    strategy: str
    region: str
    base_price: Amount
    floor_price: Amount
    ceiling_price: Amount
    starts_at: Timestamp
    utilisation_bps: Bps
    """Share of the region's listed GPUs that are booked when the booking starts."""
    idle_seconds: Annotated[int, Field(ge=0)]
    """How long this GPU has stood without a booking."""

    def digest(self) -> str:
        """keccak-256 of the inputs as canonical JSON, as 0x-hex: what a signed quote commits to."""
        return canonical_digest(self)


class Factor(BaseModel):
    """One step of a price: its change in basis points of the base price, and why."""

    name: str
    change_bps: int
    reason: str


class Price(BaseModel):
    """Base units per hour, and the factors that led from the base price to it."""

    per_hour: Amount
    factors: list[Factor]


def market_balance(inputs: PricingInputs) -> list[Factor]:
    """Moves with demand around a target utilisation, by a capped step; monotone in demand."""
    distance = inputs.utilisation_bps - TARGET_UTILISATION_BPS
    change = distance * BALANCE_SLOPE_BPS // BPS
    change = max(-BALANCE_STEP_BPS, min(BALANCE_STEP_BPS, change))
    reason = f"{_percent(inputs.utilisation_bps)} of {inputs.region} booked, target 70 %"
    return [Factor(name="demand", change_bps=change, reason=reason)]


def peak_maximizer(inputs: PricingInputs) -> list[Factor]:
    """Higher from 9:00 to 21:00 on the region's own clock, and in busy regions."""
    hour = datetime.fromtimestamp(inputs.starts_at, UTC).astimezone(time_zone(inputs.region)).hour
    peak = PEAK_FROM_HOUR <= hour < PEAK_UNTIL_HOUR
    heat = REGION_HEAT_BPS * inputs.utilisation_bps // BPS
    return [
        Factor(
            name="hour",
            change_bps=PEAK_HOURS_BPS if peak else OFF_PEAK_BPS,
            reason=f"{hour:02d}h in {inputs.region} is {'peak' if peak else 'off-peak'}",
        ),
        Factor(
            name="region",
            change_bps=heat,
            reason=f"{_percent(inputs.utilisation_bps)} of {inputs.region} booked",
        ),
    ]


def utilization_guard(inputs: PricingInputs) -> list[Factor]:
    """Falls with every idle hour until the floor; back at the base price once booked."""
    hours = inputs.idle_seconds // SECONDS_PER_HOUR
    change = max(-BPS, -IDLE_STEP_BPS * hours)
    return [Factor(name="idle", change_bps=change, reason=f"idle for {hours} h")]


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
    """The price per hour, rounded down, within the provider's floor and ceiling."""
    factors = STRATEGIES[parse_strategy(inputs.strategy)](inputs)
    change = sum(factor.change_bps for factor in factors)
    wanted = inputs.base_price * (BPS + change) // BPS
    bounded = max(inputs.floor_price, min(inputs.ceiling_price, wanted))
    if bounded != wanted:
        bound = "floor" if bounded > wanted else "ceiling"
        step = (bounded - wanted) * BPS // inputs.base_price
        factors.append(
            Factor(name=bound, change_bps=step, reason=f"the provider's {bound} price holds")
        )
    return Price(per_hour=bounded, factors=factors)


def _percent(bps: int) -> str:
    return f"{bps // 100} %"
