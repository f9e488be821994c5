"""The small faults that mutants have, one operator at a time.

Relations at and around their bounds, arithmetic, logic, constants, deleted statements and
modifiers, swapped arguments, and names in place of others of the same type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from verification.syntax import Json, Node, Source

RELATIONS = {
    "<": ("<=", "!="),
    "<=": ("<", "=="),
    ">": (">=", "!="),
    ">=": (">", "=="),
    "==": ("<=", ">="),
    "!=": ("<", ">"),
}
"""What a relation of numbers becomes, beside a constant: enough to imply every other relation."""
SAME_AT_ZERO = {("==", "<="), ("!=", ">"), (">", "!=")}
"""Of a number without sign and 0, these say the same."""
EXTREMES = {"<": "false", "<=": "true", ">": "false", ">=": "true", "==": "false", "!=": "true"}
OPPOSITES = {"==": "!=", "!=": "=="}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "&": "|", "|": "&", "<<": ">>", ">>": "<<"}
ASSIGNMENTS = {"+=": ("-=", "="), "-=": ("+=", "=")}
STATEMENTS = (
    *("ExpressionStatement", "EmitStatement", "RevertStatement", "Return", "Continue", "Break"),
    *("TryStatement", "YulAssignment", "YulExpressionStatement"),
)
TWINS = {"min": "max", "max": "min"}
COMMUTATIVE = {"min", "max", "add", "mul"}
ENCODERS = {"abi.encode", "abi.encodePacked"}
"""They take values of any type, in any order."""

DELETED = "{}"
"""What stands for a deleted statement."""

Changes = Iterator[tuple[Node, str]]


def relations(source: Source, node: Node) -> Changes:
    operator = node.json.get("operator")
    if node.kind != "BinaryOperation" or operator not in RELATIONS:
        return
    left, right = _operands(source, node)
    if node.child("leftExpression").type.startswith(("uint", "int")):
        for other in RELATIONS[operator]:
            at_zero = right == "0" and (operator, other) in SAME_AT_ZERO
            counts_up = other == "!=" and node.is_child("condition", "ForStatement")
            if not at_zero and not counts_up:
                yield node, f"{left} {other} {right}"
    else:
        yield node, f"{left} {OPPOSITES.get(operator, operator)} {right}"
    yield node, EXTREMES[operator]


def arithmetic(source: Source, node: Node) -> Changes:
    operator = node.json.get("operator")
    if node.kind != "BinaryOperation" or operator not in ARITHMETIC or node.is_constant:
        return
    left, right = _operands(source, node)
    yield node, f"{left} {ARITHMETIC[operator]} {right}"
    yield node, left
    yield node, right
    if operator in {"-", "/"}:
        yield node, f"{right} {operator} {left}"


def logic(source: Source, node: Node) -> Changes:
    operator = node.json.get("operator")
    if node.kind == "BinaryOperation" and operator in {"&&", "||"}:
        left, right = _operands(source, node)
        yield node, f"{left} {'||' if operator == '&&' else '&&'} {right}"
        yield node, left
        yield node, right
    if node.kind == "IfStatement":
        yield node.child("condition"), "true"
        yield node.child("condition"), "false"
    if node.kind == "Conditional":
        yield node, source.code(node.child("trueExpression"))
        yield node, source.code(node.child("falseExpression"))


def negations(source: Source, node: Node) -> Changes:
    """What is true or false by itself: a call, a name. Relations have their own mutants."""
    if node.kind in {"FunctionCall", "Identifier"} and node.type == "bool":
        yield node, f"!{source.code(node)}"
    if node.kind == "Literal" and node.type == "bool":
        yield node, "false" if node.json["value"] == "true" else "true"


def unary(source: Source, node: Node) -> Changes:
    if node.kind != "UnaryOperation":
        return
    operand, operator = source.code(node.child("subExpression")), node.json["operator"]
    if operator in {"!", "~", "-"}:
        yield node, operand
    if operator in {"++", "--"}:
        other = "--" if operator == "++" else "++"
        prefix = node.json["prefix"]
        yield node, f"{other}{operand}" if prefix else f"{operand}{other}"
        if node.parent.kind != "ExpressionStatement":
            yield node, f"{operand}{operator}" if prefix else f"{operator}{operand}"


def assignments(source: Source, node: Node) -> Changes:
    if node.kind == "Assignment":
        left, right = (source.code(node.child(side)) for side in ("leftHandSide", "rightHandSide"))
        for operator in ASSIGNMENTS.get(node.json["operator"], ()):
            yield node, f"{left} {operator} {right}"
    if node.kind == "VariableDeclarationStatement" and node.json.get("initialValue"):
        declarations = node.children("declarations")
        if len(declarations) == 1:
            yield node, source.code(declarations[0])


def deletions(_source: Source, node: Node) -> Changes:
    loop_step = node.is_child("loopExpression", "ForStatement")
    if node.kind in STATEMENTS and not loop_step:
        yield node, "" if node.kind.startswith("Yul") else DELETED
    if node.kind == "ModifierInvocation" and not node.children("arguments"):
        yield node, ""


def constants(source: Source, node: Node) -> Changes:
    code = source.code(node)
    if node.kind == "YulLiteral":
        value = int(node.json["value"], 0)
        yield node, str(value + 1)
        if value > 0:
            yield node, "0"
    elif node.kind != "Literal":
        return
    elif node.json["kind"] == "string":
        yield node, f'{code[:-1]}_"'
    elif node.type.startswith("address"):
        yield node, "address(1)"
    elif node.json["kind"] == "number":
        yield node, f"({code} + 1)"
        if int(node.json["value"].replace("_", ""), 0) > 0:
            yield node, f"({code} - 1)"


def swaps(source: Source, node: Node) -> Changes:
    """Two neighbours among the arguments change places, where the compiler may allow it."""
    if node.kind not in {"FunctionCall", "ModifierInvocation", "YulFunctionCall"}:
        return
    called = source.code(node).partition("(")[0]
    if called.rpartition(".")[2] in COMMUTATIVE:
        return
    untyped = called in ENCODERS or node.kind.startswith("Yul")
    for left, right in pairwise(node.children("arguments")):
        if untyped or _exchangeable(left.type, right.type):
            between = source.text[left.end : right.start].decode()
            swapped = f"{source.code(right)}{between}{source.code(left)}"
            yield _span(left, right), swapped


def names(source: Source, node: Node) -> Changes:
    """Another name of the same type: a member, a state variable, a function."""
    if node.kind == "MemberAccess":
        member, base = node.json["memberName"], source.code(node.child("expression"))
        owner = source.declared.get(_declaration_of(source, node.child("expression")), {})
        if member in TWINS:
            yield node, f"{base}.{TWINS[member]}"
        for other in owner.get("members", ()):
            if other["name"] != member and _member_type(other) in {None, node.type}:
                yield node, f"{base}.{other['name']}"
    if node.kind == "Identifier":
        for name in source.same_kind(node):
            yield node, name


def casts(source: Source, node: Node) -> Changes:
    """A number keeps the bits that it would lose."""
    if node.kind == "FunctionCall" and node.json["kind"] == "typeConversion":
        [argument] = node.children("arguments")
        if 0 < _bits(node.type) < _bits(argument.type):
            yield node, source.code(argument)


CHANGES: tuple[Callable[[Source, Node], Changes], ...] = (
    *(relations, arithmetic, logic, negations, unary, assignments),
    *(deletions, constants, swaps, names, casts),
)


def _operands(source: Source, node: Node) -> tuple[str, str]:
    return (
        source.code(node.child("leftExpression")),
        source.code(node.child("rightExpression")),
    )


def _exchangeable(left: str, right: str) -> bool:
    numbers = all(type_.startswith(("uint", "int_const")) for type_ in (left, right))
    return left == right or numbers


def _bits(type_: str) -> int:
    """The width of an unsigned number; 0 of anything else."""
    width = type_.removeprefix("uint")
    return int(width) if width.isdigit() else 0


def _span(first: Node, last: Node) -> Node:
    return Node(first.json | {"src": f"{first.start}:{last.end - first.start}:0"}, first.above)


def _declaration_of(source: Source, expression: Node) -> int:
    """The id of the struct or enum that an expression's members belong to, or 0."""
    found = expression.json.get("referencedDeclaration")
    declared = source.declared.get(found, {}) if found else {}
    if declared.get("nodeType") == "EnumDefinition":
        return int(declared["id"])
    if not expression.type.startswith("struct "):
        return 0
    name = expression.type.removeprefix("struct ").rpartition(".")[2]
    structs = (d for d in source.declared.values() if d["nodeType"] == "StructDefinition")
    return next((int(d["id"]) for d in structs if d["name"] == name), 0)


def _member_type(member: Json) -> str | None:
    """The type of a struct's member; None for a value of an enum, which has no other type."""
    if member["nodeType"] == "EnumValue":
        return None
    return str(member["typeDescriptions"]["typeString"])
