"""Reading a filter expression."""

import re
from collections.abc import Iterable
from typing import NoReturn

from aitbc.protocol.where.conditions import (
    BARE,
    Condition,
    Field,
    Operator,
    Value,
    Where,
    operators_of,
    read_value,
    unusable,
)

MAX_CHARS = 1_000
MAX_CONDITIONS = 32
MAX_ITEMS = 64
"""Values of one list."""


class WhereError(ValueError):
    """A text is no expression. `position` is the character, from 0, that `problem` is about."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        super().__init__(f"position {position}: {problem}")
        self.text = text
        self.position = position
        self.problem = problem


def parse(text: str, decimals: int) -> Where:
    """The expression of a text, whose prices are decimals of a coin with `decimals` decimals.

    Raises WhereError.
    """
    return _Parser(text, decimals).expression()


_BLANKS = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"<=|>=|!=|[=<>~]|in\b")
_QUOTED = re.compile(r'"([^"]*)"')


class _Parser:
    """Reads a text from left to right; `self._at` is the next character."""

    def __init__(self, text: str, decimals: int) -> None:
        self._text = text
        self._decimals = decimals
        self._at = 0

    def expression(self) -> Where:
        if len(self._text) > MAX_CHARS:
            self._fail(f"an expression has at most {MAX_CHARS} characters", MAX_CHARS)
        found: list[Condition] = []
        self._skip_blanks()
        while self._at < len(self._text):
            if len(found) == MAX_CONDITIONS:
                self._fail(f"an expression has at most {MAX_CONDITIONS} conditions")
            found.append(self._condition())
            if not self._skip_blanks() and self._at < len(self._text):
                self._fail("expected a blank between conditions")
        if not found:
            self._fail("expected a condition, such as memory>=24")
        return tuple(found)

    def _condition(self) -> Condition:
        start = self._at
        if self._text[start] == "!":
            self._at += 1
            if self._field() is not Field.VERIFIED:
                self._fail(f"only {Field.VERIFIED} can stand after !: write != between two", start)
            return Condition(Field.VERIFIED, Operator.EQUAL, (False,))
        field = self._field()
        after_field = self._at
        self._skip_blanks()
        op = self._operator(field)
        if op is None:
            self._at = after_field
            return Condition(field, Operator.EQUAL, (True,))
        self._skip_blanks()
        return Condition(field, op, self._values(field, op))

    def _field(self) -> Field:
        start, name = self._at, self._take(_NAME)
        if name is None:
            self._fail("expected a field")
        if name not in set(Field):
            self._fail(f"unknown field '{name}'", start)
        return Field(name)

    def _operator(self, field: Field) -> Operator | None:
        """The operator that follows; a flag may have none."""
        start, sign = self._at, self._take(_OPERATOR)
        usable = operators_of(field)
        if sign is None and field is Field.VERIFIED:
            return None
        if sign is None or sign not in usable:
            self._fail(f"expected {_either(usable)} after {field}", start)
        return Operator(sign)

    def _values(self, field: Field, op: Operator) -> tuple[Value, ...]:
        found = [self._value(field, op)]
        while op is Operator.IN and self._comma():
            if len(found) == MAX_ITEMS:
                self._fail(f"a list has at most {MAX_ITEMS} values")
            found.append(self._value(field, op))
        return tuple(found)

    def _comma(self) -> bool:
        """Whether a comma follows, which is then left behind with the blanks around it."""
        before = self._at
        self._skip_blanks()
        if not self._text.startswith(",", self._at):
            self._at = before
            return False
        self._at += 1
        self._skip_blanks()
        return True

    def _value(self, field: Field, op: Operator) -> Value:
        start = self._at
        if self._text.startswith('"', start):
            start += 1
            quoted = self._take(_QUOTED)
            if quoted is None:
                self._fail("this quote is not closed", start - 1)
            text = quoted[1:-1]
        else:
            bare = self._take(BARE)
            if bare is None:
                self._fail(f"expected a value for {field}")
            text = bare
        bad = unusable(text)
        if bad is not None:
            self._fail(f"a value cannot contain {text[bad]!r}", start + bad)
        try:
            return read_value(field, op, text, self._decimals)
        except ValueError as error:
            self._fail(str(error), start)

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _skip_blanks(self) -> bool:
        """Whether there were any."""
        return bool(self._take(_BLANKS))

    def _fail(self, problem: str, position: int | None = None) -> NoReturn:
        raise WhereError(self._text, self._at if position is None else position, problem)


def _either(operators: Iterable[Operator]) -> str:
    *others, last = operators
    return f"{', '.join(others)} or {last}" if others else last.value
