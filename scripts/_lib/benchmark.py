"""What a benchmark is: rows of measured values, each beside its goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One measured value.

    `goal` is the most (or the least, as `bound` says) that is accepted: of `ratio` in a row that
    has a goal for it (`goal_of` says which), else of `value`. `holds` is None without a goal.
    """

    id: str
    what: str
    value: float
    unit: str
    goal: float | None = None
    floor: int | None = None
    """The same work by the least contract that can do it."""
    goal_of: str = "value"
    bound: Literal["most", "least"] = "most"

    @property
    def ratio(self) -> float | None:
        return None if self.floor is None else self.value / self.floor

    @property
    def holds(self) -> bool | None:
        measured = self.ratio if self.goal_of == "ratio" else self.value
        if self.goal is None or measured is None:
            return None
        return measured <= self.goal if self.bound == "most" else measured >= self.goal

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "floor": self.floor,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "goal": self.goal,
            "goal_of": None if self.goal is None else self.goal_of,
            "bound": None if self.goal is None else self.bound,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Measured:
    """Rows, and what they depend on besides the commit."""

    setting: dict[str, Any]
    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**self.setting, "rows": [row.as_dict() for row in self.rows]}


@dataclass(frozen=True)
class Benchmark:
    """A benchmark by name.

    `snapshot` is where its result is kept if it is always the same; `small` measures so little
    that it shows only whether it works.
    """

    name: str
    what: str
    measure: Callable[[], Measured]
    snapshot: Path | None = None
    small: Callable[[], Measured] | None = None
