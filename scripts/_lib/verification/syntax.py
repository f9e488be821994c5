"""The compiler's syntax tree of a source file, as far as mutants are made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
SCOPES = ("ContractDefinition", "FunctionDefinition", "ModifierDefinition")


@dataclass(frozen=True)
class Node:
    """A node with the nodes above it, outermost first."""

    json: Json
    above: tuple[Node, ...] = field(repr=False)

    @property
    def kind(self) -> str:
        return str(self.json["nodeType"])

    @property
    def type(self) -> str:
        """The Solidity type of an expression, without where it is stored; empty if unknown."""
        text = str(self.json.get("typeDescriptions", {}).get("typeString") or "")
        return re.sub(r" (memory|calldata|storage)( ref| pointer)?$", "", text)

    @property
    def start(self) -> int:
        return self._source[0]

    @property
    def end(self) -> int:
        return sum(self._source)

    @property
    def parent(self) -> Node:
        return self.above[-1]

    @property
    def place(self) -> str:
        """Contract and function, as `EscrowCore.claim`."""
        names = [n.json.get("name") or n.json["kind"] for n in self.above if n.kind in SCOPES]
        return ".".join(names) or "(file)"

    @property
    def is_constant(self) -> bool:
        """Whether it is a literal, or a literal's own parts."""
        return self.type.startswith(("int_const", "rational_const", "literal_string"))

    def child(self, name: str) -> Node:
        return Node(self.json[name], (*self.above, self))

    def children(self, name: str) -> list[Node]:
        above = (*self.above, self)
        return [Node(item, above) for item in self.json.get(name) or () if item is not None]

    def is_child(self, name: str, kind: str) -> bool:
        """Whether it stands in that place below a node of that kind."""
        below = bool(self.above) and self.parent.kind == kind
        return below and self.parent.json.get(name) is self.json

    @property
    def _source(self) -> tuple[int, int]:
        start, length, _ = map(int, self.json["src"].split(":"))
        return start, length


def walk(json: Any, above: Sequence[Node] = ()) -> Iterator[Node]:
    """Every node below and including `json`, each before those below it."""
    if isinstance(json, list):
        for item in json:
            yield from walk(item, above)
    elif isinstance(json, dict):
        if "nodeType" in json and "src" in json:
            node = Node(json, tuple(above))
            yield node
            above = (*above, node)
        for value in json.values():
            if isinstance(value, dict | list):
                yield from walk(value, above)


class Source:
    """A source file and the names that the mutants of its nodes may use."""

    def __init__(self, path: str, text: bytes, tree: Json, declared: Mapping[int, Json]) -> None:
        self.path = path
        self.text = text
        self.nodes = list(walk(tree))
        self.declared = declared

    def code(self, node: Node) -> str:
        return self.text[node.start : node.end].decode()

    def same_kind(self, node: Node) -> Iterator[str]:
        """What else of the same type the contract has declared: a variable, a function."""
        own = self.declared.get(node.json.get("referencedDeclaration", 0))
        if own is None or own["nodeType"] not in {"VariableDeclaration", "FunctionDefinition"}:
            return
        for other in self.declared.values():
            if other is not own and _alike(own, other):
                yield other["name"]


def _alike(own: Json, other: Json) -> bool:
    keys = ("nodeType", "scope", "stateVariable", "mutability", "stateMutability", "scope_kind")
    same = all(own.get(key) == other.get(key) for key in keys) and _type(own) == _type(other)
    state = bool(own.get("stateVariable")) and own["scope_kind"] == "ContractDefinition"
    return same and (state or _is_inner_function(own, other))


def _is_inner_function(own: Json, other: Json) -> bool:
    inner = {"internal", "private"}
    return (
        own["nodeType"] == "FunctionDefinition"
        and own["visibility"] in inner
        and other["visibility"] in inner
        and len(own["parameters"]["parameters"]) > 0
    )


def _type(declaration: Json) -> object:
    if declaration["nodeType"] != "FunctionDefinition":
        return declaration.get("typeDescriptions", {}).get("typeString")
    return [
        [p["typeDescriptions"]["typeString"] for p in declaration[side]["parameters"]]
        for side in ("parameters", "returnParameters")
    ]
