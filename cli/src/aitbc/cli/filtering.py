"""What a person looks for: `--where`, the options that are short for it, and why nothing fits."""

from collections.abc import Iterable
from typing import Annotated

import typer

from aitbc.cli import arguments
from aitbc.cli.output import printable
from aitbc.client import Unmatched
from aitbc.errors import AitbcError, InvalidInput
from aitbc.protocol.where import (
    FIELD_NAMES,
    OPERATOR_NAMES,
    Condition,
    Field,
    Operator,
    Where,
    WhereError,
    condition,
    parse,
    show,
)
from aitbc.protocol.wire import Exclusion, Market, NoMatch

WHERE_EXAMPLE = (
    '\'memory>=24 cuda>=12.1 model~"A100" region in us-west,us-east price<0.8 '
    "reliability>0.98 verified'"
)

WhereOption = Annotated[
    str | None,
    typer.Option(help=f"Conditions, all of which hold: {WHERE_EXAMPLE}.", metavar="EXPRESSION"),
]
RegionOption = Annotated[str | None, typer.Option(help="Only this region.")]
MinMemoryOption = Annotated[
    int | None, typer.Option(help="At least so many GiB.", metavar="GIB", min=1)
]
CudaOption = Annotated[str | None, typer.Option(help="At least this CUDA version.")]
ModelOption = Annotated[str | None, typer.Option(help="Part of the model's name.")]
MaxPriceOption = Annotated[str | None, typer.Option(help="Most that you pay per hour.")]

_SHOWN_CHARS = 60
"""How much of an expression is shown on each side of what is wrong with it."""


class InvalidWhere(InvalidInput):
    """A text is no filter expression; it is shown with a mark under what is wrong."""

    code = "invalid-where"

    def __init__(self, error: WhereError) -> None:
        hint = f"fields: {FIELD_NAMES}; operators: {OPERATOR_NAMES}"
        super().__init__(f"--where: {error.problem}", hint=hint)
        self.excerpt = pointed(error.text, error.position)
        self.details = {"expression": error.text, "position": error.position}


class NothingFits(AitbcError):
    """Too few GPUs are what a person looks for; it is shown what excludes how many."""

    def __init__(self, refused: Unmatched) -> None:
        why, self.code = refused.why, refused.problem or "no-match"
        if why.taken != 0 or self.code != "no-match":
            super().__init__(str(refused), hint=refused.hint)
        else:
            super().__init__("no GPU fits", hint=advice(why))
        if why.conditions:
            self.excerpt = explanation(why)
            self.details = {"no_match": why.model_dump(mode="json")}


def read_filter(
    market: Market,
    where: str | None,
    *,
    region: str | None = None,
    min_memory: int | None = None,
    cuda: str | None = None,
    model: str | None = None,
    max_price: str | None = None,
) -> Where:
    """The conditions that somebody typed. Raises InvalidInput."""
    decimals = market.decimals
    short = [
        ("--region", Field.REGION, Operator.EQUAL, region),
        ("--min-memory", Field.MEMORY, Operator.AT_LEAST, min_memory),
        ("--cuda", Field.CUDA, Operator.AT_LEAST, cuda),
        ("--model", Field.MODEL, Operator.CONTAINS, model),
        ("--max-price", Field.PRICE, Operator.AT_MOST, max_price),
    ]
    found = tuple(
        _condition(option, field, operator, str(value), decimals)
        for option, field, operator, value in short
        if value is not None
    )
    try:
        expression = () if where is None else parse(where, decimals)
        # Together they must be an expression too: it has its bounds.
        return parse(show((*expression, *found), decimals), decimals) if found else expression
    except WhereError as error:
        raise InvalidWhere(error) from error


def pointed(text: str, position: int) -> str:
    """The text around a character, and below it a mark under the character."""
    from rich.cells import cell_len

    line = printable("".join(" " if char.isspace() else char for char in text))
    start, end = max(0, position - _SHOWN_CHARS), position + _SHOWN_CHARS
    before = ("…" if start else "") + line[start:position]
    after = line[position:end] + ("…" if end < len(line) else "")
    return f"  {before}{after}\n  {' ' * cell_len(before)}^"


def explanation(why: NoMatch) -> str:
    """Which condition excludes how many GPUs, as a table."""
    heading = ("CONDITION", "EXCLUDES", "ALONE")
    rows = [heading, *((one.condition, *_counts(one)) for one in why.conditions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"  {first:<{widths[0]}}  {second:>{widths[1]}}  {third:>{widths[2]}}"
        for first, second, third in rows
    )


def advice(why: NoMatch | None) -> str:
    """What to do where nothing is found."""
    if why is None or not why.conditions:
        return "see what there is: aitbc marketplace gpu list"
    if not why.searched:
        return "no GPU is listed on this market yet"
    nearest = max(why.conditions, key=lambda one: one.alone or 0)
    if nearest.alone:
        return f"without {nearest.condition}, {nearest.alone} of {why.searched} GPUs would match"
    return f"each of the {why.searched} GPUs fails more than one condition: ask for less"


def _condition(
    option: str, field: Field, operator: Operator, text: str, decimals: int
) -> Condition:
    return arguments.checked(
        option, lambda given: condition(field, operator, given, decimals), text
    )


def _counts(one: Exclusion) -> Iterable[str]:
    return ("not counted" if count is None else str(count) for count in (one.excluded, one.alone))
