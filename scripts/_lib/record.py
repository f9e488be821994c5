"""A record of what took long to find out: each finding, when it was made, and at which commit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What a check found. `holds` says whether the goal is reached and nothing failed."""

    value: float
    unit: str
    goal: float
    holds: bool
    tools: str
    note: str


@dataclass(frozen=True)
class Row:
    """A finding of one check, and when and on what it was made."""

    id: str
    value: float
    unit: str
    goal: float
    holds: bool
    seconds: int
    date: str
    commit: str
    tools: str
    note: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def cells(self) -> list[str]:
        shown = {"value": number(self.value), "goal": number(self.goal)}
        shown["holds"] = "yes" if self.holds else "NO"
        return [shown.get(name, str(value)) for name, value in asdict(self).items()]


COLUMNS = tuple(field.name for field in fields(Row))


def number(value: float) -> str:
    """`100000.0` → `100,000`; at most two places."""
    return f"{value:,.2f}".removesuffix(".00")


def read(path: Path) -> list[Row]:
    """The rows of a record; none if there is no such file."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    named = (dict(zip(COLUMNS, row, strict=True)) for row in cells)
    return [_row(row) for row in named if row["id"] != "id"]


def write(path: Path, head: str, rows: Iterable[Row]) -> None:
    """Write a record: `head`, and a table of its rows."""
    table = [COLUMNS, ["---"] * len(COLUMNS), *(row.cells() for row in rows)]
    lines = ("|".join(["", *(f" {_plain(cell)} " for cell in cells), ""]) for cells in table)
    path.write_text(head + "\n".join(lines).replace(" --- ", "---") + "\n")


def _row(cells: dict[str, str]) -> Row:
    numbers = {name: float(cells[name].replace(",", "")) for name in ("value", "goal")}
    holds, seconds = cells["holds"] == "yes", int(cells["seconds"])
    texts: dict[str, Any] = cells
    return Row(**texts | numbers | {"holds": holds, "seconds": seconds})


def _plain(cell: str) -> str:
    return " ".join(cell.replace("|", "/").split())
