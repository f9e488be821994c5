"""Amounts: exact in both directions, and refused where they cannot be exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.units import MAX_AMOUNT, format_amount, parse_amount, price_of


@given(amount=st.integers(0, MAX_AMOUNT), decimals=st.integers(0, 36))
def test_written_amounts_read_back(amount: int, decimals: int) -> None:
    assert parse_amount(format_amount(amount, decimals), decimals) == amount


@given(amount=st.integers(0, MAX_AMOUNT), decimals=st.integers(0, 36))
def test_negative_amounts_differ_by_the_sign(amount: int, decimals: int) -> None:
    sign = "-" if amount else ""
    assert format_amount(-amount, decimals) == sign + format_amount(amount, decimals)


@pytest.mark.parametrize(
    ("text", "decimals", "amount"),
    [("0.05", 6, 50_000), ("1", 18, 10**18), ("000.10", 2, 10), (" 7 ", 0, 7), ("1.500", 3, 1500)],
)
def test_read(text: str, decimals: int, amount: int) -> None:
    assert parse_amount(text, decimals) == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", "1.", ".5", "1,5", "0x1", "nan", "1 2", "0.0000001", "1_0"]
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_amount(text, 6)


def test_the_escrows_largest_amount_is_the_limit() -> None:
    assert parse_amount(str(MAX_AMOUNT), 0) == MAX_AMOUNT
    with pytest.raises(ValueError, match="more than an escrow can hold"):
        parse_amount(str(MAX_AMOUNT + 1), 0)


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [(0, 6, "0"), (50_000, 6, "0.05"), (5, 0, "5"), (1, 18, "0.000000000000000001")],
)
def test_written_without_trailing_zeros(amount: int, decimals: int, text: str) -> None:
    assert format_amount(amount, decimals) == text


@given(price=st.integers(0, MAX_AMOUNT), seconds=st.integers(0, 10**8))
def test_a_price_is_rounded_up_by_less_than_a_unit(price: int, seconds: int) -> None:
    assert 0 <= price_of(price, seconds) * 3600 - price * seconds < 3600
