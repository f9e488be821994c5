"""Each clause of each strategy's contract, as `docs/pricing.md` states it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from priced import bookings, counts, given_inputs, inputs, levels, market_hour

from aitbc.protocol.pricing import NO_HOUR, PricingInputs, next_level, price
from aitbc.protocol.pricing.level import LEVEL_MAX_BPS, LEVEL_MIN_BPS, LEVEL_STEP_BPS
from aitbc.protocol.pricing.strategies import (
    GUARD_SECONDS,
    market_balance,
    peak_maximizer,
    peak_seconds,
    utilization_guard,
)
from aitbc.protocol.regions import REGIONS
from aitbc.protocol.units import price_of

regions = st.sampled_from(sorted(REGIONS))
Counts = tuple[int, int]


def per_hour(inputs: PricingInputs, **changes: object) -> int:
    return price(inputs.model_copy(update=changes)).per_hour


# Market Balance


@given(level=levels, listed=st.integers(1, 10**6))
def test_balance_rests_at_its_target(level: int, listed: int) -> None:
    assert next_level(level, 10 * listed, 7 * listed) == level
    assert next_level(level, 0, 0) == level


@given(level=levels, seen=counts())
def test_balance_moves_by_one_step_at_most_and_within_its_range(level: int, seen: Counts) -> None:
    moved = next_level(level, *seen)
    assert abs(moved - level) <= LEVEL_STEP_BPS
    assert LEVEL_MIN_BPS <= moved <= LEVEL_MAX_BPS


@given(level=levels, listed=st.integers(1, 10**6), booked=st.tuples(*[st.integers(0, 10**6)] * 2))
def test_balance_is_monotone_in_demand(level: int, listed: int, booked: tuple[int, int]) -> None:
    low, high = sorted(min(listed, b) for b in booked)
    assert next_level(level, listed, low) <= next_level(level, listed, high)


@given(pair=st.tuples(levels, levels), seen=counts())
def test_balance_is_monotone_in_the_level(pair: tuple[int, int], seen: Counts) -> None:
    low, high = sorted(pair)
    assert next_level(low, *seen) <= next_level(high, *seen)


@settings(max_examples=30)
@given(level=levels, seen=counts().filter(lambda c: c[0] > 0))
@example(level=10_000, seen=(10_000, 7_001))
@example(level=10_000, seen=(10_000, 6_999))
def test_balance_reaches_its_bound_under_constant_demand(level: int, seen: Counts) -> None:
    listed, booked = seen
    share = booked * 10_000 // listed
    bound = LEVEL_MAX_BPS if share > 7_000 else LEVEL_MIN_BPS if share < 7_000 else level
    for _ in range(LEVEL_MAX_BPS - LEVEL_MIN_BPS):
        if level == bound:
            break
        level = next_level(level, listed, booked)
    assert level == next_level(level, listed, booked) == bound


@given(inputs=inputs("market-balance"), other=counts())
def test_balance_never_charges_less_for_more_demand(inputs: PricingInputs, other: Counts) -> None:
    changed = inputs.hour.model_copy(update={"listed": other[0], "booked": other[1]})
    if not inputs.hour.listed or not other[0]:
        return
    low, high = sorted((inputs.hour, changed), key=lambda hour: hour.utilisation_bps)
    assert per_hour(inputs, hour=low) <= per_hour(inputs, hour=high)


@given(inputs=inputs("market-balance"), next_counts=counts())
def test_balance_moves_the_price_by_one_step_an_hour(
    inputs: PricingInputs, next_counts: Counts
) -> None:
    listed, booked = next_counts
    changes = {"listed": listed, "booked": booked, "level_before_bps": inputs.hour.level_bps}
    changes["starts_at"] = inputs.hour.starts_at + 3_600
    later = inputs.hour.model_copy(update=changes)
    moved = abs(per_hour(inputs, hour=later) - per_hour(inputs))
    assert moved <= inputs.base_price * LEVEL_STEP_BPS // 10_000 + 1


def test_balance_by_example() -> None:
    for listed, booked, before, factors in (
        (10, 7, 10_000, [0, 0]),
        (10, 10, 10_000, [0, 300]),
        (10, 9, 10_000, [0, 200]),
        (10, 0, 10_000, [0, -300]),
        (10, 10, 12_000, [2_000, 300]),
        (0, 0, 12_000, [2_000, 0]),
    ):
        hour = market_hour(listed, booked, before)
        found = market_balance(given_inputs("market-balance", hour=hour))
        assert [factor.change for factor in found] == factors


def test_without_a_recorded_hour_the_base_price_holds_and_says_why() -> None:
    (factor,) = price(given_inputs("market-balance", hour=NO_HOUR)).factors
    assert (factor.change, factor.reason) == (0, "global has no recorded hour yet")


# Peak Maximizer


@given(region=regions, booking=bookings(), cut=st.floats(0, 1))
def test_a_booking_cut_in_two_has_the_same_peak_seconds(
    region: str, booking: tuple[int, int], cut: float
) -> None:
    starts_at, ends_at = booking
    middle = starts_at + int((ends_at - starts_at) * cut)
    parts = peak_seconds(region, starts_at, middle) + peak_seconds(region, middle, ends_at)
    assert parts == peak_seconds(region, starts_at, ends_at)


@settings(max_examples=60)
@given(region=regions, start=st.integers(0, 2**32 // 60 - 5_000), minutes=st.integers(1, 4_500))
def test_peak_seconds_are_those_of_the_wall_clock(region: str, start: int, minutes: int) -> None:
    zone = ZoneInfo(REGIONS[region])
    clocks = (
        datetime.fromtimestamp(m * 60, UTC).astimezone(zone) for m in range(start, start + minutes)
    )
    expected = 60 * sum(9 <= clock.hour < 21 for clock in clocks)
    assert peak_seconds(region, start * 60, (start + minutes) * 60) == expected


# Where clocks change: the day before, the day itself, and what it has of 24 hours.
CLOCK_CHANGES = [
    ("us-west", (2026, 3, 8), 23),
    ("us-west", (2026, 11, 1), 25),
    ("eu-central", (2026, 3, 29), 23),
    ("eu-central", (2026, 10, 25), 25),
    ("au-southeast", (2026, 10, 4), 23),
    ("au-southeast", (2026, 4, 5), 25),
    ("ap-south", (2026, 3, 29), 24),
]


@pytest.mark.parametrize(("region", "date", "hours"), CLOCK_CHANGES, ids=str)
def test_peak_follows_the_clock_on_days_when_it_changes(
    region: str, date: tuple[int, int, int], hours: int
) -> None:
    midnight = datetime(*date, tzinfo=ZoneInfo(REGIONS[region]))
    start, end = (int((midnight + timedelta(days=d)).timestamp()) for d in (0, 1))
    assert end - start == hours * 3_600
    assert peak_seconds(region, start, end) == 12 * 3_600
    opens = int(midnight.replace(hour=9).timestamp())
    assert opens - start == (9 - 24 + hours) * 3_600
    assert peak_seconds(region, start, opens) == 0
    assert peak_seconds(region, opens - 60, opens + 60) == 60
    assert peak_seconds(region, opens + 12 * 3_600, end) == 0


@given(inputs=inputs("peak-maximizer"), booking=bookings())
def test_peak_is_monotone_in_the_share_of_peak_hours(
    inputs: PricingInputs, booking: tuple[int, int]
) -> None:
    def share(times: tuple[int, int]) -> tuple[int, int]:
        return peak_seconds(inputs.region, *times), times[1] - times[0]

    present = (inputs.starts_at, inputs.ends_at)
    (a, whole_a), (b, whole_b) = share(present), share(booking)
    first, second = (present, booking) if a * whole_b <= b * whole_a else (booking, present)
    low, high = (per_hour(inputs, starts_at=t[0], ends_at=t[1]) for t in (first, second))
    assert low <= high


@given(inputs=inputs("peak-maximizer"), other=counts())
def test_peak_is_monotone_in_heat_and_never_below_the_base_price(
    inputs: PricingInputs, other: Counts
) -> None:
    changed = inputs.hour.model_copy(update={"listed": other[0], "booked": other[1]})
    low, high = sorted((inputs.hour, changed), key=lambda hour: hour.utilisation_bps)
    assert inputs.base_price <= per_hour(inputs, hour=low) <= per_hour(inputs, hour=high)


@given(region=regions, booking=bookings(), cut=st.floats(0.001, 0.999))
def test_nobody_dodges_the_peak_by_cutting_a_booking(
    region: str, booking: tuple[int, int], cut: float
) -> None:
    starts_at, ends_at = booking
    middle = starts_at + int((ends_at - starts_at) * cut)
    if not starts_at < middle < ends_at:
        return

    def amount(start: int, end: int) -> int:
        fields = {"region": region, "starts_at": start, "ends_at": end, "base_price": 10**8}
        return price_of(price(given_inputs("peak-maximizer", **fields)).per_hour, end - start)

    whole, parts = amount(starts_at, ends_at), amount(starts_at, middle) + amount(middle, ends_at)
    # Prices are rounded down to a base unit per hour, amounts up to a base unit.
    assert abs(parts - whole) <= 2 + 2 * -(-(ends_at - starts_at) // 3_600)


def test_peak_by_example() -> None:
    def changes(starts: str, ends: str, booked: int = 0) -> list[int]:
        zone = ZoneInfo("America/Los_Angeles")
        times = (
            datetime.fromisoformat(f"2026-07-{t}").replace(tzinfo=zone) for t in (starts, ends)
        )
        start, end = (int(t.timestamp()) for t in times)
        fields = {"region": "us-west", "starts_at": start, "ends_at": end}
        hour = market_hour(10, booked)
        factors = peak_maximizer(given_inputs("peak-maximizer", hour=hour, **fields))
        return [factor.change for factor in factors]

    assert changes("01T08:00", "01T09:00") == [0, 0]
    assert changes("01T08:59", "01T09:59") == [2_950, 0]
    assert changes("01T09:00", "01T21:00", booked=10) == [3_000, 2_000]
    assert changes("01T21:00", "02T09:00", booked=5) == [0, 1_000]
    assert changes("01T00:00", "03T00:00") == [1_500, 0]


# Utilization Guard


@given(inputs=inputs("utilization-guard"), more=st.integers(0, 10**6))
def test_guard_never_rises_with_idleness(inputs: PricingInputs, more: int) -> None:
    later = min(2**32 - 1, inputs.idle_seconds + more)
    assert per_hour(inputs, idle_seconds=later) <= per_hour(inputs)


@given(inputs=inputs("utilization-guard"), more=st.integers(0, 10**6))
def test_guard_is_the_floor_from_its_stated_time_on(inputs: PricingInputs, more: int) -> None:
    assert per_hour(inputs, idle_seconds=GUARD_SECONDS + more) == inputs.floor_price


@given(inputs=inputs("utilization-guard"))
def test_guard_recovers_with_a_booking(inputs: PricingInputs) -> None:
    assert per_hour(inputs, idle_seconds=0) == inputs.base_price


@given(inputs=inputs("utilization-guard"), idle=st.integers(0, GUARD_SECONDS))
def test_guard_falls_evenly(inputs: PricingInputs, idle: int) -> None:
    whole = inputs.base_price - inputs.floor_price
    fallen = inputs.base_price - per_hour(inputs, idle_seconds=idle)
    assert 0 <= whole * idle - fallen * GUARD_SECONDS < GUARD_SECONDS


def test_guard_by_example() -> None:
    hours = (0, 6, 12, 23, 24, 1_000)
    found = [
        utilization_guard(given_inputs("x", idle_seconds=h * 3_600, floor_price=4_000))[0].change
        for h in hours
    ]
    assert found == [0, -1_500, -3_000, -5_750, -6_000, -6_000]
