"""Inputs of prices: ordinary ones to vary, and any that are valid."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from aitbc.protocol.pricing import STRATEGIES, MarketHour, PricingInputs
from aitbc.protocol.pricing.level import LEVEL_MAX_BPS, LEVEL_MIN_BPS
from aitbc.protocol.regions import REGIONS

NOON_UTC = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())
MOST = 2**88 - 1
levels = st.integers(LEVEL_MIN_BPS, LEVEL_MAX_BPS)
"""Price levels of a region."""


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    """Listed GPUs, and those of them that are booked."""
    listed = draw(st.integers(0, 2**32 - 1) | st.integers(0, 20))
    return listed, draw(st.integers(0, listed))


@st.composite
def hours(draw: st.DrawFn) -> MarketHour:
    listed, booked = draw(counts())
    return MarketHour(
        starts_at=draw(st.integers(0, 2**32 // 3600 - 1)) * 3600,
        listed=listed,
        booked=booked,
        level_before_bps=draw(levels),
    )


@st.composite
def bookings(draw: st.DrawFn) -> tuple[int, int]:
    """Start and end of a booking."""
    starts_at = draw(st.integers(0, 2**32 - 60 * 86_400))
    return starts_at, starts_at + draw(st.integers(1, 30 * 86_400))


@st.composite
def inputs(draw: st.DrawFn, strategy: str | None = None) -> PricingInputs:
    floor, base, ceiling = sorted(draw(st.integers(1, MOST)) for _ in range(3))
    starts_at, ends_at = draw(bookings())
    return PricingInputs(
        strategy=strategy or draw(st.sampled_from(sorted(STRATEGIES))),
        region=draw(st.sampled_from(sorted(REGIONS))),
        base_price=base,
        floor_price=floor,
        ceiling_price=ceiling,
        starts_at=starts_at,
        ends_at=ends_at,
        hour=draw(hours()),
        idle_seconds=draw(st.integers(0, 2**32 - 1) | st.integers(0, 100_000)),
    )


def given_inputs(strategy: str, **changes: Any) -> PricingInputs:
    """An hour from noon in UTC, nothing listed, at a base price of 10,000 within wide bounds."""
    fields: dict[str, Any] = {
        "strategy": strategy,
        "region": "global",
        "base_price": 10_000,
        "floor_price": 1,
        "ceiling_price": 10**9,
        "starts_at": NOON_UTC,
        "ends_at": NOON_UTC + 3_600,
        "hour": market_hour(0, 0),
        "idle_seconds": 0,
    }
    return PricingInputs.model_validate(fields | changes)


def market_hour(listed: int, booked: int, level_before_bps: int = 10_000) -> MarketHour:
    return MarketHour(
        starts_at=NOON_UTC, listed=listed, booked=booked, level_before_bps=level_before_bps
    )
