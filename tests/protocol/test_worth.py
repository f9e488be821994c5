"""What a booking must bring: beside what a search of every amount finds."""

from fractions import Fraction
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol import worth
from aitbc.protocol.units import MAX_AMOUNT, price_of

GWEI = 10**9
MAX_FEE_BPS = 1_000


def fee_of(amount: int, fee_bps: int) -> int:
    """As the escrow takes it."""
    return amount * fee_bps // 10_000


@given(
    gas=st.integers(0, 10**7),
    gas_price=st.integers(0, 10**15),
    coin_price=st.integers(0, MAX_AMOUNT),
)
def test_the_cost_is_the_next_whole_base_unit(gas: int, gas_price: int, coin_price: int) -> None:
    exact = Fraction(gas * gas_price, 10**18) * coin_price

    cost = worth.settle_cost(gas, gas_price, coin_price)

    assert cost - 1 < exact <= cost


@given(cost=st.integers(0, 30), fee_bps=st.integers(1, MAX_FEE_BPS))
def test_the_minimum_is_the_first_amount_that_a_search_finds(cost: int, fee_bps: int) -> None:
    found = next(amount for amount in count() if fee_of(amount, fee_bps) >= cost)

    assert worth.minimum_amount(cost, fee_bps) == found


@given(cost=st.integers(1, MAX_AMOUNT), fee_bps=st.integers(1, MAX_FEE_BPS))
def test_no_smaller_amount_bears_the_cost(cost: int, fee_bps: int) -> None:
    minimum = worth.minimum_amount(cost, fee_bps)

    assert fee_of(minimum - 1, fee_bps) < cost <= fee_of(minimum, fee_bps)


@given(cost=st.integers(0, MAX_AMOUNT))
def test_without_a_fee_nothing_is_asked_for(cost: int) -> None:
    assert worth.minimum_amount(cost, 0) == 0


@given(price=st.integers(1, 10_000), amount=st.integers(0, 1_000))
def test_the_shortest_time_is_the_first_that_a_search_finds(price: int, amount: int) -> None:
    found = next(seconds for seconds in count() if price_of(price, seconds) >= amount)

    assert worth.shortest_seconds(price, amount) == found


def test_a_dollar_token_on_a_cheap_chain() -> None:
    """0.02 gwei, 3,000 dollars for a coin, a fee of 1 %: settled from a third of a dollar on."""
    cost = worth.settle_cost(55_270, GWEI // 50, 3_000 * 10**6)

    assert cost == 3_317
    assert worth.minimum_amount(cost, 100) == 331_700
