"""The three strategies obey their definitions; no price leaves the provider's bounds."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.pricing import (
    STRATEGIES,
    PricingInputs,
    market_balance,
    parse_strategy,
    peak_maximizer,
    price,
    utilization_guard,
)
from aitbc.protocol.regions import REGIONS, check_region, time_zone

NOON_UTC = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())


@st.composite
def inputs(draw: st.DrawFn) -> PricingInputs:
    floor, base, ceiling = sorted(draw(st.integers(1, 2**88 - 1)) for _ in range(3))
    return PricingInputs(
        strategy=draw(st.sampled_from(sorted(STRATEGIES))),
        region=draw(st.sampled_from(sorted(REGIONS))),
        base_price=base,
        floor_price=floor,
        ceiling_price=ceiling,
        starts_at=draw(st.integers(0, 2**32 - 1)),
        utilisation_bps=draw(st.integers(0, 10_000)),
        idle_seconds=draw(st.integers(0, 10**9)),
    )


def given_inputs(strategy: str, **changes: object) -> PricingInputs:
    fields: dict[str, object] = {
        "strategy": strategy,
        "region": "global",
        "base_price": 10_000,
        "floor_price": 1,
        "ceiling_price": 10**9,
        "starts_at": NOON_UTC,
        "utilisation_bps": 0,
        "idle_seconds": 0,
    }
    return PricingInputs.model_validate(fields | changes)


@given(inputs=inputs())
def test_every_price_is_bounded_repeatable_and_explained(inputs: PricingInputs) -> None:
    result = price(inputs)
    assert inputs.floor_price <= result.per_hour <= inputs.ceiling_price
    assert price(inputs) == result
    assert result.factors
    assert all(factor.reason for factor in result.factors)
    free = inputs.model_copy(update={"floor_price": 1, "ceiling_price": 2**88 - 1})
    change = sum(factor.change_bps for factor in STRATEGIES[inputs.strategy](inputs))
    wanted = inputs.base_price * (10_000 + change) // 10_000
    assert price(free).per_hour == max(1, min(2**88 - 1, wanted))


@given(inputs=inputs())
def test_factors_name_the_bound_that_holds(inputs: PricingInputs) -> None:
    result = price(inputs)
    named = {factor.name for factor in result.factors} & {"floor", "ceiling"}
    change = sum(factor.change_bps for factor in STRATEGIES[inputs.strategy](inputs))
    wanted = inputs.base_price * (10_000 + change) // 10_000
    if wanted < inputs.floor_price:
        assert named == {"floor"}
    elif wanted > inputs.ceiling_price:
        assert named == {"ceiling"}
    else:
        assert named == set()


@given(low=st.integers(0, 10_000), high=st.integers(0, 10_000))
def test_market_balance_is_monotone_in_demand_and_caps_its_step(low: int, high: int) -> None:
    low, high = sorted((low, high))
    cheap, dear = (
        market_balance(given_inputs("market-balance", utilisation_bps=bps))[0].change_bps
        for bps in (low, high)
    )
    assert -2_000 <= cheap <= dear <= 2_000


def test_market_balance_leaves_the_base_price_at_its_target() -> None:
    assert price(given_inputs("market-balance", utilisation_bps=7_000)).per_hour == 10_000
    assert price(given_inputs("market-balance", utilisation_bps=10_000)).per_hour == 11_500
    assert price(given_inputs("market-balance", utilisation_bps=0)).per_hour == 8_000


@pytest.mark.parametrize("region", sorted(REGIONS))
@pytest.mark.parametrize(
    ("hour", "minute", "peak"),
    [(8, 59, False), (9, 0, True), (12, 0, True), (20, 59, True), (21, 0, False), (0, 0, False)],
)
def test_peak_is_nine_to_twenty_one_local(region: str, hour: int, minute: int, peak: bool) -> None:
    # One date in summer and one in winter: clocks that change are followed.
    for month in (1, 7):
        local = datetime(2026, month, 15, hour, minute, tzinfo=ZoneInfo(REGIONS[region]))
        moment = int(local.timestamp())
        factors = peak_maximizer(given_inputs("peak-maximizer", region=region, starts_at=moment))
        assert factors[0].change_bps == (3_000 if peak else -1_000)


def test_peak_maximizer_charges_more_where_the_region_is_busy() -> None:
    quiet, busy = (
        price(given_inputs("peak-maximizer", utilisation_bps=bps)).per_hour for bps in (0, 10_000)
    )
    assert (quiet, busy) == (13_000, 15_000)


def test_utilization_guard_falls_hour_by_hour_to_the_floor() -> None:
    hours = [
        price(given_inputs("utilization-guard", idle_seconds=h * 3600, floor_price=4_000)).per_hour
        for h in range(30)
    ]
    assert hours[:3] == [10_000, 9_500, 9_000]
    assert hours == sorted(hours, reverse=True)
    assert hours[-1] == 4_000
    assert (
        utilization_guard(given_inputs("utilization-guard", idle_seconds=3599))[0].change_bps == 0
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Market Balance", "market-balance"),
        ("peak_maximizer", "peak-maximizer"),
        ("  UTILIZATION--guard ", "utilization-guard"),
    ],
)
def test_strategies_go_by_any_spelling(text: str, name: str) -> None:
    assert parse_strategy(text) == name


@pytest.mark.parametrize("text", ["", "market", "market-balance!", "marketbalance"])
def test_unknown_strategies_name_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="market-balance, peak-maximizer, utilization-guard"):
        parse_strategy(text)


def test_unknown_regions_name_the_known_ones() -> None:
    assert check_region("us-west") == "us-west"
    for region in ("", "US-WEST", "mars"):
        with pytest.raises(ValueError, match="us-west"):
            check_region(region)


def test_every_region_has_a_clock() -> None:
    offsets = {time_zone(region).utcoffset(datetime(2026, 1, 1)) for region in REGIONS}  # noqa: DTZ001 a wall clock is asked
    assert timedelta(0) in offsets
    assert len(offsets) > 5


@given(a=inputs(), b=inputs())
def test_the_digest_commits_to_every_input(a: PricingInputs, b: PricingInputs) -> None:
    assert (a == b) == (a.digest() == b.digest())
    for name in PricingInputs.model_fields:
        mixed = a.model_copy(update={name: getattr(b, name)})
        assert (mixed == a) == (mixed.digest() == a.digest())
