"""The trace as it was recorded: see `data/README.md`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True, slots=True)
class Task:
    """Work that asked for GPUs of one node. Times are seconds from the trace's first."""

    name: str
    gpus: int
    created_at: int
    deleted_at: int

    @property
    def seconds(self) -> int:
        return self.deleted_at - self.created_at


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    gpus: int
    model: str


def tasks() -> list[Task]:
    """In the order of their names."""
    return [
        Task(row["name"], int(row["num_gpu"]), int(row["creation_time"]), int(row["deletion_time"]))
        for row in _rows("tasks.csv")
    ]


def nodes() -> list[Node]:
    return [Node(row["name"], int(row["gpu"]), row["model"]) for row in _rows("nodes.csv")]


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
