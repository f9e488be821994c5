"""What strategies would have earned, against the arithmetic by hand and against each other."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.pricing import STRATEGIES
from aitbc.protocol.pricing.backtest import (
    FIXED,
    Demand,
    Result,
    Sale,
    backtest,
    variation_bps,
    volatility_bps,
)
from aitbc.protocol.pricing.simulation import Offer

OFFER = Offer("us-west", 10_000, 5_000, 20_000)
MIDNIGHT = int(datetime(2026, 1, 5, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp())
HOUR = 3_600


def wanted(hour: int, hours: int = 1, most: int = 10_000) -> Demand:
    return Demand(MIDNIGHT + hour * HOUR, hours * HOUR, most)


def run(strategy: str, *demand: Demand) -> Result:
    (result,) = backtest(OFFER, demand, [strategy])
    return result


demands = st.lists(
    st.builds(wanted, st.integers(0, 200), st.integers(1, 30), st.integers(1, 30_000)), max_size=30
)


def test_a_fixed_price_by_hand() -> None:
    result = run(FIXED, wanted(5), wanted(0, 2), wanted(1), wanted(2, most=9_999), wanted(3, 2))
    assert result.sales == [
        Sale(MIDNIGHT, 2 * HOUR, 10_000),
        Sale(MIDNIGHT + 3 * HOUR, 2 * HOUR, 10_000),
        Sale(MIDNIGHT + 5 * HOUR, HOUR, 10_000),
    ]
    assert (result.taken, result.too_dear) == (1, 1)
    assert (result.revenue, result.booked_seconds, result.mean_price) == (50_000, 5 * HOUR, 10_000)


def test_the_guard_falls_until_somebody_books() -> None:
    result = run("utilization-guard", wanted(0, most=1), wanted(12), wanted(13), wanted(14, most=1))
    assert [sale.price for sale in result.sales] == [7_500, 10_000]
    assert result.prices[:2] == [10_000, 9_792]
    assert result.too_dear == 2


def test_peak_hours_are_those_of_the_region_and_heat_is_the_gpu_s_own() -> None:
    result = run("peak-maximizer", *(wanted(h, most=20_000) for h in (8, 9)), wanted(10, most=1))
    assert [sale.price for sale in result.sales] == [10_000, 13_000]
    busy = run("peak-maximizer", wanted(8, 3, most=20_000), wanted(10, most=1))
    assert busy.prices == [10_000, 15_000, 15_000]


def test_the_level_follows_the_gpu_s_own_bookings() -> None:
    result = run("market-balance", wanted(0, 3), wanted(6, most=1))
    assert result.prices == [9_700, 10_000, 10_300, 10_000, 9_700, 9_400, 9_100]


def test_demand_that_nobody_has() -> None:
    for result in backtest(OFFER, []):
        assert (result.revenue, result.mean_price, result.prices) == (0, 0, [])


@given(demands)
def test_every_buyer_is_answered_once_and_none_overlaps(demand: list[Demand]) -> None:
    results = backtest(OFFER, demand)
    assert [result.strategy for result in results] == [FIXED, *STRATEGIES]
    for result in results:
        assert len(result.sales) + result.taken + result.too_dear == len(demand)
        for before, after in zip(result.sales, result.sales[1:], strict=False):
            assert before.ends_at <= after.starts_at
        most = {(one.starts_at, one.seconds, one.most) for one in demand}
        for sale in result.sales:
            assert OFFER.floor_price <= sale.price <= OFFER.ceiling_price
            paid = [
                m for start, length, m in most if (start, length) == (sale.starts_at, sale.seconds)
            ]
            assert sale.price <= max(paid)


@given(demands, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(demand: list[Demand], random: object) -> None:
    shuffled = list(demand)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert backtest(OFFER, shuffled) == backtest(OFFER, demand)


@pytest.mark.parametrize(
    ("prices", "expected"),
    [([], 0), ([5], 0), ([5, 5, 5], 0), ([100, 200, 100], 10_000), ([100, 130, 170], 3_535)],
)
def test_volatility_by_hand(prices: list[int], expected: int) -> None:
    """The square root of (30² + 40²) / 2, of 100, is 35.35 %."""
    assert volatility_bps(prices, 100) == expected


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [([], 0), ([0, 0], 0), ([7, 7], 0), ([0, 10], 10_000), ([1, 2, 3], 4_082)],
)
def test_variation_by_hand(amounts: list[int], expected: int) -> None:
    """Of 1, 2 and 3 it is the square root of 2/3, divided by 2."""
    assert variation_bps(amounts) == expected
