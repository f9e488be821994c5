"""The conditions of a filter expression: fields, operators, values, and their text."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from aitbc.protocol.pricing import parse_strategy
from aitbc.protocol.regions import check_region
from aitbc.protocol.types import parse_address
from aitbc.protocol.units import format_amount, parse_amount

BARE = re.compile(r'[^\s",=!<>~]+')
"""A value that needs no quotes."""

_VERSION = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,2}))?")
_SHARE = re.compile(r"0(\.[0-9]{1,4})?|1(\.0{1,4})?")
_SHARE_DECIMALS = 4


class Operator(StrEnum):
    """How a field is compared. `~` is "contains", in any case of the letters A to Z."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = "~"
    IN = "in"


class Field(StrEnum):
    """What a GPU is searched by."""

    ID = "id"
    NAME = "name"
    MODEL = "model"
    MEMORY = "memory"
    CUDA = "cuda"
    REGION = "region"
    PRICE = "price"
    RELIABILITY = "reliability"
    PROVIDER = "provider"
    STRATEGY = "strategy"
    VERIFIED = "verified"


FIELD_NAMES = ", ".join(Field)
OPERATOR_NAMES = " ".join(Operator)


class CudaVersion(NamedTuple):
    """Compared by number: 12.10 is newer than 12.9, and 12 is 12.0."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" if self.minor else str(self.major)

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError, with a message for people, where the text is no version."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not a version: write one such as 12.1")
        return cls(int(match[1]), int(match[2] or "0"))


Value = str | int | bool | CudaVersion
"""GiB of memory, base units of a price per hour, basis points of a reliability are integers."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. There is one value, or with `in` the several of a list."""

    field: Field
    operator: Operator
    values: tuple[Value, ...]


Where = tuple[Condition, ...]
"""An expression: all of its conditions must hold."""

_TEXT_OPERATORS = (Operator.EQUAL, Operator.UNEQUAL, Operator.CONTAINS, Operator.IN)
_NUMBER_OPERATORS = tuple(op for op in Operator if op is not Operator.CONTAINS)
_NUMBERS = (Field.MEMORY, Field.CUDA, Field.PRICE, Field.RELIABILITY)


def operators_of(field: Field) -> tuple[Operator, ...]:
    """The operators that a field can be compared with."""
    if field is Field.VERIFIED:
        return (Operator.EQUAL,)
    return _NUMBER_OPERATORS if field in _NUMBERS else _TEXT_OPERATORS


def condition(field: Field, op: Operator, text: str, decimals: int) -> Condition:
    """The condition with one value, given as text. Raises ValueError, with words for people."""
    bad = unusable(text)
    if bad is not None:
        raise ValueError(f"'{text}' contains {text[bad]!r}, which is in no value")
    return Condition(field, op, (read_value(field, op, text, decimals),))


def show(where: Where, decimals: int) -> str:
    """The text that `parse` reads as this expression."""
    return " ".join(show_condition(one, decimals) for one in where)


def show_condition(one: Condition, decimals: int) -> str:
    """One condition as text."""
    if one.field is Field.VERIFIED:
        return one.field.value if one.values[0] else f"!{one.field}"
    values = ",".join(_quoted(_show_value(one, value, decimals)) for value in one.values)
    sign = f" {one.operator} " if one.operator is Operator.IN else one.operator.value
    return f"{one.field}{sign}{values}"


def read_value(field: Field, op: Operator, text: str, decimals: int) -> Value:
    """What a value's text means to a field. Raises ValueError, with words for people."""
    if op is Operator.CONTAINS:
        return text
    if field is Field.PRICE:
        return parse_amount(text, decimals)
    read = _READERS.get(field)
    return text if read is None else read(text)


def _read_gib(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError(f"'{text}' is not an amount of memory: write whole GiB, such as 24")
    return int(text)


def _read_share(text: str) -> int:
    if _SHARE.fullmatch(text) is None:
        raise ValueError(
            f"'{text}' is not a share: write 0 to 1 with up to {_SHARE_DECIMALS} decimals, "
            "such as 0.98"
        )
    return parse_amount(text, _SHARE_DECIMALS)


def _read_flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"'{text}' is neither true nor false")
    return text == "true"


_READERS: Mapping[Field, Callable[[str], Value]] = {
    Field.MEMORY: _read_gib,
    Field.CUDA: CudaVersion.of,
    Field.REGION: check_region,
    Field.RELIABILITY: _read_share,
    Field.PROVIDER: parse_address,
    Field.STRATEGY: parse_strategy,
    Field.VERIFIED: _read_flag,
}


def _show_value(one: Condition, value: Value, decimals: int) -> str:
    if isinstance(value, int):
        if one.field is Field.PRICE:
            return format_amount(value, decimals)
        if one.field is Field.RELIABILITY:
            return format_amount(value, _SHARE_DECIMALS)
    return str(value)


def _quoted(text: str) -> str:
    return text if BARE.fullmatch(text) else f'"{text}"'


def unusable(text: str) -> int | None:
    """Where the first character stands that no value can contain, if there is one."""
    return next((i for i, c in enumerate(text) if c == '"' or not c.isprintable()), None)
