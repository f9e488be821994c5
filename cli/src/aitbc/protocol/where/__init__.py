"""The filter expression, by which GPUs are searched: its text, and which GPUs it means. Pure.

    memory>=24 cuda>=12.1 model~"A100" region in us-west,us-east price<0.8 reliability>0.98 verified

Conditions are separated by blanks, and all of them must hold. A value with blanks, commas or
operators in it stands in double quotes.
"""

from aitbc.protocol.where.conditions import (
    FIELD_NAMES,
    OPERATOR_NAMES,
    Condition,
    CudaVersion,
    Field,
    Operator,
    Value,
    Where,
    condition,
    operators_of,
    show,
    show_condition,
)
from aitbc.protocol.where.matching import (
    COMPARE,
    compare,
    fold_case,
    holds,
    matches,
    price_limit,
    unmet,
)
from aitbc.protocol.where.parser import (
    MAX_CHARS,
    MAX_CONDITIONS,
    MAX_ITEMS,
    WhereError,
    parse,
)

__all__ = [
    "COMPARE",
    "FIELD_NAMES",
    "MAX_CHARS",
    "MAX_CONDITIONS",
    "MAX_ITEMS",
    "OPERATOR_NAMES",
    "Condition",
    "CudaVersion",
    "Field",
    "Operator",
    "Value",
    "Where",
    "WhereError",
    "compare",
    "condition",
    "fold_case",
    "holds",
    "matches",
    "operators_of",
    "parse",
    "price_limit",
    "show",
    "show_condition",
    "unmet",
]
