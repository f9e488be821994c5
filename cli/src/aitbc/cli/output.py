"""The one sink of the program: data on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self, TextIO

import typer

from aitbc.cli.failures import Cancelled, Failure

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Row = Mapping[str, Any]
"""JSON-ready values under stable snake_case keys: amounts are decimal strings of the coin, times
are `Moment`s."""

_UNWRAPPED_WIDTH = 100_000
_FULL_BPS = 10_000


class Format(StrEnum):
    """Tables for people, JSON for programs."""

    TABLE = "table"
    JSON = "json"


class Moment(int):
    """UTC seconds: a number in JSON, an ISO time for people."""

    def __str__(self) -> str:
        return datetime.fromtimestamp(int(self), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @classmethod
    def of(cls, seconds: int | None) -> "Moment | None":
        return None if seconds is None else cls(seconds)


class Measured(str):
    """A decimal, which people see with a bar of `width` characters, `bps` of it filled."""

    bps: int
    width: int

    def __new__(cls, text: str, bps: int, width: int) -> Self:
        made = super().__new__(cls, text)
        made.bps, made.width = bps, width
        return made


class Output:
    """Where commands put what they have to say. With JSON, stdout carries JSON and nothing else."""

    def __init__(self, output_format: Format = Format.TABLE, *, assume_yes: bool = False) -> None:
        self.format = output_format
        self.assume_yes = assume_yes

    def table(
        self, rows: Sequence[Row], columns: Mapping[str, str], *, empty: str = "nothing found"
    ) -> None:
        """Rows under the headings of `columns` (key → heading); JSON carries every key."""
        if self.format is Format.JSON:
            self.data(list(rows))
        elif rows:
            _print_table(rows, columns)
        else:
            self.note(empty)

    def record(self, values: Row) -> None:
        """One thing. A value that is a mapping or a list of rows gets a section of its own."""
        if self.format is Format.JSON:
            self.data(values)
            return
        nested = {key: value for key, value in values.items() if _is_nested(value)}
        _print_lines({key: value for key, value in values.items() if key not in nested})
        for key, value in nested.items():
            if value:
                typer.echo(f"\n{_label(key)}")
            if isinstance(value, Mapping):
                _print_lines(value, indent="  ")
            elif value:
                _print_table(value, {name: _label(name) for name in value[0]})

    def data(self, value: Any) -> None:
        """A JSON document, in either format."""
        typer.echo(json.dumps(value, indent=2))

    def event(self, values: Row, line: str) -> None:
        """One step of something that goes on: a line for people, a one-line JSON object else."""
        typer.echo(json.dumps(values) if self.format is Format.JSON else printable(line))

    def note(self, message: str) -> None:
        """Tell the person; never part of the data."""
        typer.echo(printable(message), err=True)

    def hint(self, message: str) -> None:
        """Name the next step."""
        self.note(f"hint: {message}")

    def summary(self, title: str, values: Row) -> None:
        """What a question is about, before it is asked: labelled lines on stderr."""
        self.note(title)
        _print_lines(values, indent="  ", err=True)

    def confirm(self, question: str) -> None:
        """Ask; raises Cancelled on anything but a yes. `--yes` answers yes."""
        if self.assume_yes:
            return
        # Not typer.confirm, which prompts on stdout in part.
        typer.echo(f"{printable(question)} [y/N]: ", nl=False, err=True)
        answer = sys.stdin.readline()
        if not answer:
            typer.echo(err=True)
            raise Cancelled("cancelled: nobody answered", hint="pass --yes to agree")
        if answer.strip().lower() not in {"y", "yes"}:
            raise Cancelled("cancelled: nothing was done")

    @contextmanager
    def progress(self, message: str) -> Iterator[Callable[[str], None]]:
        """Show on a terminal that something takes time; yields what changes the message."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.text import Text

        with _console(sys.stderr).status(Text(message)) as status:
            yield lambda text: status.update(Text(text))

    def failure(self, failure: Failure) -> None:
        """Tell why the program fails, on stderr: a line, an excerpt, a hint; or a JSON object."""
        if self.format is Format.JSON:
            report = {"error": failure.message, "code": failure.code, "hint": failure.hint}
            typer.echo(json.dumps(report | dict(failure.details)), err=True)
            return
        self.note(f"error: {failure.message}")
        if failure.excerpt:
            self.note(failure.excerpt)
        if failure.hint:
            self.hint(failure.hint)


def printable(text: str) -> str:
    """The text without control characters: what others wrote must not drive a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def _print_lines(values: Row, *, indent: str = "", err: bool = False) -> None:
    width = max((len(key) for key in values), default=0) + 2
    for key, value in values.items():
        typer.echo(f"{indent}{_label(key):<{width}}{_cell(value)}".rstrip(), err=err)


def _print_table(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_rich_cell(row.get(key)) for key in columns))
    _console(sys.stdout).print(table)


def _rich_cell(value: Any) -> "RenderableType":
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    if not isinstance(value, Measured):
        return Text(_cell(value))
    cell = Table.grid(padding=(0, 1))
    cell.add_row(Bar(_FULL_BPS, 0, value.bps, width=value.width), Text(value))
    return cell


def _console(file: TextIO) -> "Console":
    from rich.console import Console

    width = None if file.isatty() else _UNWRAPPED_WIDTH
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def _is_nested(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _label(key: str) -> str:
    return key.replace("_", " ")


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{_label(key)} {_cell(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(_cell(item) for item in value) or "-"
    return printable(str(value))
