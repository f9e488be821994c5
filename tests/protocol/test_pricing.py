"""Whatever the strategy: a price lies within its bounds, and its factors add up to it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from priced import given_inputs, inputs, market_hour
from pydantic import ValidationError

from aitbc.protocol.pricing import (
    STRATEGIES,
    MarketHour,
    Price,
    PricingInputs,
    parse_strategy,
    price,
    price_per_hour,
)
from aitbc.protocol.regions import REGIONS, check_region, time_zone


@given(inputs=inputs())
def test_every_price_is_bounded_repeatable_and_the_sum_of_its_factors(
    inputs: PricingInputs,
) -> None:
    result = price(inputs)
    assert inputs.floor_price <= result.per_hour <= inputs.ceiling_price
    assert price_per_hour(inputs) == result.per_hour
    assert inputs.base_price + sum(f.change for f in result.factors) == result.per_hour
    assert price(PricingInputs.model_validate_json(inputs.model_dump_json())) == result
    assert Price.model_validate_json(result.model_dump_json()) == result
    assert all(factor.reason for factor in result.factors)


@given(inputs=inputs())
def test_factors_name_the_bound_that_holds(inputs: PricingInputs) -> None:
    named = {factor.name for factor in price(inputs).factors} & {"floor", "ceiling"}
    wanted = inputs.base_price + sum(f.change for f in STRATEGIES[inputs.strategy](inputs))
    if wanted < inputs.floor_price:
        assert named == {"floor"}
    elif wanted > inputs.ceiling_price:
        assert named == {"ceiling"}
    else:
        assert named == set()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"floor_price": 10_001}, "floor ≤ base ≤ ceiling"),
        ({"ceiling_price": 9_999}, "floor ≤ base ≤ ceiling"),
        ({"floor_price": 0}, "greater than 0"),
        ({"base_price": 0}, "greater than 0"),
        ({"ends_at": given_inputs("").starts_at}, "ends before it starts"),
        ({"idle_seconds": -1}, "greater than or equal to 0"),
        ({"more": 1}, "not permitted"),
    ],
    ids=str,
)
def test_inputs_out_of_range_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        given_inputs("market-balance", **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"booked": 3}, "more GPUs are booked than listed"),
        ({"booked": -1}, "greater than or equal"),
        ({"starts_at": 3_601}, "multiple of 3600"),
        ({"level_before_bps": 7_499}, "greater than or equal to 7500"),
        ({"level_before_bps": 20_001}, "less than or equal to 20000"),
    ],
    ids=str,
)
def test_hours_out_of_range_are_refused(changes: dict[str, Any], says: str) -> None:
    fields = market_hour(2, 1).model_dump() | changes
    with pytest.raises(ValidationError, match=says):
        MarketHour.model_validate(fields)


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
