"""Which lines and branches of the contracts the tests reach, from an LCOV report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

UNCOUNTED = ("contracts/test/", "contracts/interfaces/")


@dataclass
class Reached:
    """Lines or branches: how many there are, and where those are that no test reaches."""

    total: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, place: str, *, hit: bool) -> None:
        self.total += 1
        if not hit:
            self.missed.append(place)

    @property
    def percent(self) -> float:
        return 100 * (1 - len(self.missed) / self.total) if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.total - len(self.missed)}/{self.total}"


def read(report: Path) -> tuple[Reached, Reached]:
    """The lines and the branches of what is deployed."""
    lines, branches = Reached(), Reached()
    path = ""
    for record in report.read_text().splitlines():
        kind, _, data = record.partition(":")
        if kind == "SF":
            path = data
        if not path.startswith("contracts/") or path.startswith(UNCOUNTED):
            continue
        line, hits = data.partition(",")[0], data.rpartition(",")[2]
        if kind == "DA":
            lines.add(f"{path}:{line}", hit=hits != "0")
        if kind == "BRDA":
            branches.add(f"{path}:{line} (a branch)", hit=hits not in {"0", "-"})
    return lines, branches
