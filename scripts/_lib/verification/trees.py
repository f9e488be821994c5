"""Compares the Given/When trees beside the contract tests with the tests themselves.

`cancel.tree` says which tests `cancel.t.sol` has, in order, in which nested conditions, and what
each of them shows. `CONTRIBUTING.md` has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KEYWORDS = ("given", "when")
BRANCHES = ("├── ", "└── ")
STEMS = ("│   ", "    ")
STEP = 4
REVERTS = ["it should revert"]


@dataclass(frozen=True)
class Problem:
    """One difference, where it is seen."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class TreeError(Exception):
    """A file of trees that cannot be read; carries the problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass
class Node:
    """A line of a tree: its root, a condition or a leaf."""

    text: str
    line: int
    children: list[Node] = field(default_factory=list)

    @property
    def is_leaf(self) -> bool:
        return self.text.startswith("it should ")

    @property
    def is_condition(self) -> bool:
        return self.text.partition(" ")[0] in KEYWORDS

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Case:
    """A test function: what the tree asks for, or what the source has."""

    name: str
    modifiers: list[str]
    leaves: list[str]
    line: int


@dataclass(frozen=True)
class Comparison:
    """What was compared, and what differs."""

    trees: int
    tests: int
    problems: list[Problem]


def compare(folder: Path) -> Comparison:
    """Compare every tree below a folder with the tests beside it."""
    problems: list[Problem] = []
    tests = 0
    trees = sorted(folder.rglob("*.tree"))
    for path in trees:
        source = path.with_suffix(".t.sol")
        try:
            roots = read_trees(path)
        except TreeError as error:
            problems += error.problems
            continue
        if not source.exists():
            problems.append(Problem(path, 1, f"{source.name} is missing beside it"))
            continue
        for root in roots:
            wanted = list(wanted_tests(root))
            tests += len(wanted)
            problems += differences(path, root, wanted, source)
    for source in sorted(folder.rglob("*.t.sol")):
        tree = source.with_name(source.name.removesuffix(".t.sol") + ".tree")
        if not tree.exists():
            problems.append(Problem(source, 1, f"{tree.name} is missing beside it"))
    return Comparison(len(trees), tests, problems)


def read_trees(path: Path) -> list[Node]:
    """Read the trees of a file, which are set apart by blank lines.

    Raises:
        TreeError: a line is not drawn as a tree, or is none of root, condition and leaf.
    """
    roots: list[Node] = []
    open_nodes: list[Node] = []
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        if not text.strip():
            open_nodes = []
            continue
        depth, node = _read_line(path, line, text)
        if depth > len(open_nodes) or (depth == 0 and open_nodes):
            raise TreeError(Problem(path, line, "is not drawn below a line of its own branch"))
        if depth == 0:
            roots.append(node)
        else:
            open_nodes[depth - 1].children.append(node)
        open_nodes[depth:] = [node]
    if not roots:
        raise TreeError(Problem(path, 1, "has no tree"))
    if faults := list(_faults(path, roots)):
        raise TreeError(*faults)
    return roots


def _read_line(path: Path, line: int, text: str) -> tuple[int, Node]:
    stems = 0
    while text[stems : stems + STEP] in STEMS:
        stems += STEP
    if text[stems : stems + STEP] in BRANCHES:
        return stems // STEP + 1, Node(text[stems + STEP :].strip(), line)
    if stems == 0 and re.fullmatch(r"\w+", text):
        return 0, Node(text, line)
    raise TreeError(Problem(path, line, "expected the contract's name, or a branch ├── or └──"))


def _faults(path: Path, roots: Sequence[Node]) -> Iterator[Problem]:
    seen: set[str] = set()
    for root in roots:
        for node in root.walk():
            if reason := _fault(node, root, seen):
                yield Problem(path, node.line, reason)
            if node.is_condition:
                seen.add(node.text)


def _fault(node: Node, root: Node, seen: set[str]) -> str | None:
    if node.is_leaf:
        return "a leaf has nothing below it" if node.children else None
    if node is not root and not node.is_condition:
        return f"'{node.text}' starts with none of: given, when, it should"
    if node.is_condition and node.text in seen:
        return f"the condition '{node.text}' stands twice: word them differently"
    if not node.children:
        return f"'{node.text}' has nothing below it: say what it should do"
    if node is not root and len({child.is_leaf for child in node.children}) > 1:
        return f"'{node.text}' has both conditions and leaves below it"
    return None


def wanted_tests(root: Node) -> Iterator[Case]:
    """The tests that a tree asks for, in its order."""
    yield from _wanted(root, [])


def _wanted(node: Node, ancestors: list[str]) -> Iterator[Case]:
    leaves = [child.text for child in node.children if child.is_leaf]
    if leaves and node.is_condition:
        yield Case(_name(node.text, reverts=leaves == REVERTS), ancestors, leaves, node.line)
        return
    below = [*ancestors, _modifier(node.text)] if node.is_condition else ancestors
    for child in node.children:
        if child.is_leaf:
            words = camel_case(child.text.removeprefix("it "))
            yield Case(f"test_{words}", [], [child.text], child.line)
        else:
            yield from _wanted(child, below)


def _name(condition: str, *, reverts: bool) -> str:
    keyword, _, rest = condition.partition(" ")
    stem, words = keyword.capitalize(), camel_case(rest)
    return f"test_Revert{stem}_{words}" if reverts else f"test_{stem}{words}"


def _modifier(condition: str) -> str:
    keyword, _, rest = condition.partition(" ")
    return keyword + camel_case(rest)


def camel_case(words: str) -> str:
    """`the sender is the buyer` → `TheSenderIsTheBuyer`; what is no letter or digit is dropped."""
    kept = (re.sub(r"[^0-9A-Za-z]", "", word) for word in words.split())
    return "".join(word[:1].upper() + word[1:] for word in kept)


def written_tests(source: Path, contract: str) -> list[Case] | None:
    """The tests of one contract in a formatted source file; None if the contract is not there."""
    text = source.read_text()
    body = re.search(rf"^(?:abstract )?contract {contract}\b.*?^}}|\Z", text, re.M | re.S)
    if body is None or not body[0]:
        return None
    functions = re.finditer(
        r"^    function (?P<name>test\w*)\(.*?\)(?P<header>[^{;]*)\{(?P<body>\}|.*?^    \})",
        body[0],
        re.M | re.S,
    )
    return [
        Case(
            function["name"],
            re.findall(r"\b(?:given|when)[A-Z0-9]\w*", function["header"]),
            [found.strip() for found in re.findall(r"//\s*(it should .*)", function["body"])],
            text.count("\n", 0, body.start() + function.start()) + 1,
        )
        for function in functions
    ]


def differences(tree: Path, root: Node, wanted: Sequence[Case], source: Path) -> Iterator[Problem]:
    """What a contract's tests lack, have too much, or have otherwise than its tree says."""
    written = written_tests(source, root.text)
    if written is None:
        yield Problem(tree, root.line, f"{source.name} has no contract {root.text}")
        return
    by_name = {test.name: test for test in written}
    names = {test.name for test in wanted}
    for test in wanted:
        if test.name not in by_name:
            yield Problem(tree, test.line, f"{source.name} has no test {test.name}")
    for test in written:
        if test.name not in names:
            yield Problem(source, test.line, f"{test.name} is not in {tree.name}")
    both = [test for test in wanted if test.name in by_name]
    for test in both:
        yield from _difference(source, test, by_name[test.name])
    in_tree = [test.name for test in both]
    in_source = [test.name for test in written if test.name in names]
    for expected, name in zip(in_tree, in_source, strict=False):
        if expected != name:
            line = by_name[name].line
            yield Problem(source, line, f"{name} stands where {tree.name} has {expected}")
            return


def _difference(source: Path, wanted: Case, written: Case) -> Iterator[Problem]:
    for what, asked, found in (
        ("modifiers", wanted.modifiers, written.modifiers),
        ("comments", wanted.leaves, written.leaves),
    ):
        if asked != found:
            text = f"{wanted.name} has the {what} {_list(found)}; its tree says {_list(asked)}"
            yield Problem(source, written.line, text)


def _list(items: Sequence[str]) -> str:
    return ", ".join(items) or "(none)"
