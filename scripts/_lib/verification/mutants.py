"""Mutants of the contracts: each has one small fault, which the tests should notice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from verification.operators import CHANGES, DELETED
from verification.syntax import Json, Node, Source, walk


@dataclass(frozen=True)
class Mutant:
    """One changed piece of one source file."""

    path: str
    place: str
    start: int
    end: int
    replacement: str
    was: str
    becomes: str

    @property
    def id(self) -> str:
        """The same for as long as the changed lines stay."""
        return f"{self.place}: {self.was} → {self.becomes}"

    @property
    def verb(self) -> str:
        """The function that it is in."""
        return self.place.rpartition(".")[2]

    @property
    def drops_guard(self) -> bool:
        return self.was.startswith("require(") and self.becomes == DELETED

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.replacement.encode() + source[self.end :]


def all_mutants(trees: Mapping[str, Json], sources: Mapping[str, bytes]) -> list[Mutant]:
    """Every mutant of the given files; two that read the same are told apart by a number.

    Args:
        trees: the syntax tree of each file, by path.
        sources: the text of each file that is to be changed, by path.
    """
    declared = {
        node.json["id"]: node.json | {"scope_kind": node.parent.kind if node.above else ""}
        for tree in trees.values()
        for node in walk(tree)
        if "id" in node.json
    }
    found = [
        mutant
        for path, text in sorted(sources.items())
        for mutant in _mutants(Source(path, text, trees[path], declared))
    ]
    return list(_numbered(found))


def _numbered(mutants: Sequence[Mutant]) -> Iterator[Mutant]:
    count: dict[str, int] = {}
    for mutant in mutants:
        count[mutant.id] = nth = count.get(mutant.id, 0) + 1
        fields: dict[str, Any] = vars(mutant)
        yield mutant if nth == 1 else Mutant(**fields | {"becomes": f"{mutant.becomes} ({nth})"})


def _mutants(source: Source) -> Iterator[Mutant]:
    seen: set[tuple[int, int, str]] = set()
    for node in source.nodes:
        for change in CHANGES:
            for changed, replacement in change(source, node):
                mutant = _mutant(source, changed, replacement)
                key = (mutant.start, mutant.end, replacement)
                if mutant.was != mutant.becomes and key not in seen:
                    seen.add(key)
                    yield mutant


def _mutant(source: Source, node: Node, replacement: str) -> Mutant:
    start, end = node.start, _end(source, node, replacement)
    first = source.text.rfind(b"\n", 0, start) + 1
    last = source.text.find(b"\n", end)
    before, after = source.text[first:start].decode(), source.text[end:last].decode()
    was = _one_line(source.text[first:last].decode())
    becomes = _one_line(before + replacement + after)
    return Mutant(source.path, node.place, start, end, replacement, was, becomes)


def _end(source: Source, node: Node, replacement: str) -> int:
    """A statement is deleted with its semicolon."""
    alone = replacement == DELETED and source.text[node.end : node.end + 1] == b";"
    return node.end + alone


def _one_line(code: str) -> str:
    return " ".join(line.strip() for line in code.splitlines()).strip()
