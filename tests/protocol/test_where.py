"""The filter expression: what is read, what is refused and where, and what is bounded."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aitbc.protocol.where import (
    MAX_CHARS,
    MAX_CONDITIONS,
    MAX_ITEMS,
    Condition,
    CudaVersion,
    Field,
    Operator,
    Where,
    WhereError,
    condition,
    operators_of,
    parse,
    price_limit,
    show,
)
from expressions import ADDRESSES, DECIMALS, MARKS, wheres

EXAMPLE = (
    'memory>=24 cuda>=12.1 model~"A100" region in us-west,us-east price<0.8 '
    "reliability>0.98 verified"
)


def test_the_example() -> None:
    assert parse(EXAMPLE, DECIMALS) == (
        Condition(Field.MEMORY, Operator.AT_LEAST, (24,)),
        Condition(Field.CUDA, Operator.AT_LEAST, (CudaVersion(12, 1),)),
        Condition(Field.MODEL, Operator.CONTAINS, ("A100",)),
        Condition(Field.REGION, Operator.IN, ("us-west", "us-east")),
        Condition(Field.PRICE, Operator.LESS, (800_000,)),
        Condition(Field.RELIABILITY, Operator.MORE, (9_800,)),
        Condition(Field.VERIFIED, Operator.EQUAL, (True,)),
    )


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  memory  >=\n24\t", "memory>=24"),
        ("region in us-west , us-east", "region in us-west,us-east"),
        ('model="RTX 4090"', 'model="RTX 4090"'),
        ('model~"A100"', "model~A100"),
        ('model="" id!=g-1', 'model="" id!=g-1'),
        ("verified=true", "verified"),
        ("verified = false memory<9", "!verified memory<9"),
        ("verified memory<9", "verified memory<9"),
        ("cuda=12.0 cuda<13.10", "cuda=12 cuda<13.10"),
        ("price=0.50 price in 1,2.5", "price=0.5 price in 1,2.5"),
        ("reliability<=1.0 reliability!=0.9800", "reliability<=1 reliability!=0.98"),
        ('strategy="Market Balance"', "strategy=market-balance"),
        (f"provider={ADDRESSES[0].lower()}", f"provider={ADDRESSES[0]}"),
        ("provider~0xA1", "provider~0xA1"),
        ('name="in" id~in', "name=in id~in"),
    ],
)
def test_ways_to_write_the_same(text: str, same: str) -> None:
    assert show(parse(text, DECIMALS), DECIMALS) == same


@pytest.mark.parametrize(
    ("text", "mark", "problem"),
    [
        ("", "^", "expected a condition"),
        ("  ", "  ^", "expected a condition"),
        ("memory>=24 vram>1", "           ^", "unknown field 'vram'"),
        ("memory>=24, cuda>12", "          ^", "expected a blank"),
        ("memory", "      ^", "expected =, !=, <, <=, >, >= or in after memory"),
        ("memory ~ 24", "       ^", "expected =, !=, <, <=, >, >= or in after memory"),
        ("model>A", "     ^", "expected =, !=, ~ or in after model"),
        ("model inside", "      ^", "expected =, !=, ~ or in after model"),
        ("model==A", "      ^", "expected a value for model"),
        ("memory>=", "        ^", "expected a value for memory"),
        ("memory>=24cuda>1", "        ^", "'24cuda' is not an amount of memory"),
        ("memory<1000000000", "       ^", "not an amount of memory"),
        ("memory>=24.5", "        ^", "whole GiB"),
        ("cuda>=12.1.1", "      ^", "'12.1.1' is not a version"),
        ("region in us-west,moon", "                  ^", "unknown region 'moon'"),
        ("region in us-west,", "                  ^", "expected a value for region"),
        ("region in ,", "          ^", "expected a value for region"),
        ("price<0.0000001", "      ^", "has 7 decimals"),
        ("price<-1", "      ^", "not an amount"),
        ("reliability>98", "            ^", "'98' is not a share"),
        ("reliability>0.98765", "            ^", "up to 4 decimals"),
        ("provider=0x12", "         ^", "not an address"),
        ("strategy=greed", "         ^", "unknown strategy"),
        ('model="A100', "      ^", "not closed"),
        ('model="A"100', "         ^", "expected a blank"),
        ('model="a\0b"', "        ^", "cannot contain"),
        ("model=a\u202eb", "       ^", "cannot contain"),
        ("verified<1", "        ^", "expected = after verified"),
        ("verified=yes", "         ^", "neither true nor false"),
        ("verified!verified", "        ^", "expected a blank"),
        ("!memory", "^", "only verified"),
        ("! verified", " ^", "expected a field"),
        ("(memory>1)", "^", "expected a field"),
    ],
)
def test_an_error_points_at_the_character(text: str, mark: str, problem: str) -> None:
    with pytest.raises(WhereError) as caught:
        parse(text, DECIMALS)
    assert problem in caught.value.problem
    assert caught.value.position == mark.index("^")
    assert caught.value.text == text


@pytest.mark.parametrize(
    ("most", "more", "position"),
    [
        ("memory>1".ljust(MAX_CHARS), "memory>1".ljust(MAX_CHARS + 1), MAX_CHARS),
        ("verified " * MAX_CONDITIONS, "verified " * (MAX_CONDITIONS + 1), 9 * MAX_CONDITIONS),
        ("memory in 1" + ",1" * (MAX_ITEMS - 1), "memory in 1" + ",1" * MAX_ITEMS, 10 + 128),
    ],
)
def test_bounds(most: str, more: str, position: int) -> None:
    parse(most, DECIMALS)
    with pytest.raises(WhereError, match="at most") as caught:
        parse(more, DECIMALS)
    assert caught.value.position == position


@given(wheres())
def test_what_is_shown_is_read_back(where: Where) -> None:
    assert parse(show(where, DECIMALS), DECIMALS) == where


def check_read_or_refused(text: str) -> None:
    refused = None
    try:
        where = parse(text, DECIMALS)
    except WhereError as error:
        refused = error
    if refused is not None:
        assert 0 <= refused.position <= len(text)
        assert refused.problem
        return
    shown = show(where, DECIMALS)
    assert parse(shown, DECIMALS) == where
    # So that what was read within the bounds is within them when it is sent.
    assert len(shown) <= len(text)


@given(st.text(st.sampled_from(MARKS)) | st.text())
@example('price="٣"')
@example("memory=" + "9" * 993)
@example("price=" + "9" * 994)
@example("\udc80")
def test_any_text_is_read_or_refused(text: str) -> None:
    check_read_or_refused(text)


@given(wheres(), st.data())
def test_whatever_is_done_to_an_expression_it_is_read_or_refused(
    where: Where, data: st.DataObject
) -> None:
    text = show(where, DECIMALS)
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 3)))
        text = text[:begin] + data.draw(st.text(st.sampled_from(MARKS), max_size=3)) + text[end:]
    check_read_or_refused(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("price<0.8", 799_999),
        ("price<=0.8", 800_000),
        ("price=0.8", 800_000),
        ("price in 0.2,0.8,0.5", 800_000),
        ("price<0.8 price in 1,2", 799_999),
        ("price<=2 price<=1 price>0.5", 1_000_000),
        ("price<0", 0),
        ("price>1", None),
        ("price>=1 price!=2", None),
        ("memory<=24", None),
    ],
)
def test_the_highest_price_that_is_allowed(text: str, limit: int | None) -> None:
    assert price_limit(parse(text, DECIMALS)) == limit


def test_every_field_has_operators() -> None:
    for field in Field:
        for op in operators_of(field):
            assert op in Operator
    assert {op for field in Field for op in operators_of(field)} == set(Operator)


def test_a_condition_of_one_value() -> None:
    made = condition(Field.MODEL, Operator.CONTAINS, "a, b", DECIMALS)
    assert parse(show((made,), DECIMALS), DECIMALS) == (made,)
    for text in ('"', "\n", "a\0"):
        with pytest.raises(ValueError, match="in no value"):
            condition(Field.MODEL, Operator.CONTAINS, text, DECIMALS)
    with pytest.raises(ValueError, match="not a version"):
        condition(Field.CUDA, Operator.AT_LEAST, "twelve", DECIMALS)
