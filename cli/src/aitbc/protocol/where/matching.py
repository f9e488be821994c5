"""Which GPUs an expression means, going by what they are said to be."""

import operator
import string
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aitbc.protocol.ids import gpu_id
from aitbc.protocol.where.conditions import Condition, CudaVersion, Field, Operator, Where

if TYPE_CHECKING:
    from aitbc.protocol.messages import Listing
    from aitbc.protocol.wire import Gpu


def matches(where: Where, gpu: "Gpu") -> bool:
    """Whether all conditions hold of a GPU, going by what it is said to be."""
    return all(holds(one, gpu) for one in where)


def holds(one: Condition, gpu: "Gpu") -> bool:
    """Whether a condition holds of a GPU; none holds of a value that it does not have."""
    if one.field in _SAID:
        return compare(one, _SAID[one.field](gpu))
    return compare(one, _LISTED[one.field](gpu.listing))


def unmet(where: Where, listing: "Listing", price: int) -> Condition | None:
    """The first condition that does not hold of a listing at a price per hour (base units).

    None where all hold that can be told from these: what only a coordinator says is left out.
    """
    for one in where:
        if one.field is Field.PRICE:
            met = compare(one, price)
        elif one.field in _LISTED:
            met = compare(one, _LISTED[one.field](listing))
        else:
            met = True
        if not met:
            return one
    return None


def compare(one: Condition, actual: Any) -> bool:
    """Whether a condition holds of a value of its field; None is no value."""
    if actual is None:
        return False
    if one.operator is Operator.IN:
        return actual in one.values
    if one.operator is Operator.CONTAINS:
        return fold_case(str(one.values[0])) in fold_case(actual)
    return bool(COMPARE[one.operator](actual, one.values[0]))


def price_limit(where: Where) -> int | None:
    """The highest price, in base units per hour, that the conditions allow; None without one."""
    limits = [_LIMITS[c.operator](c.values) for c in _about_price(where) if c.operator in _LIMITS]
    return max(0, min(limits)) if limits else None


def fold_case(text: str) -> str:
    """The text with A to Z as a to z, and nothing else changed: the same in every database."""
    return text.translate(_FOLDED)


COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: operator.eq,
    Operator.UNEQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.MORE: operator.gt,
    Operator.AT_LEAST: operator.ge,
}

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_LIMITS: Mapping[Operator, Callable[[tuple[Any, ...]], int]] = {
    Operator.EQUAL: max,
    Operator.IN: max,
    Operator.AT_MOST: max,
    Operator.LESS: lambda values: int(max(values)) - 1,
}

_LISTED: Mapping[Field, Callable[["Listing"], Any]] = {
    Field.ID: lambda listing: gpu_id(listing.provider, listing.salt),
    Field.NAME: lambda listing: listing.name,
    Field.MODEL: lambda listing: listing.model,
    Field.MEMORY: lambda listing: listing.memory_gib,
    Field.CUDA: lambda listing: CudaVersion.of(listing.cuda_version),
    Field.REGION: lambda listing: listing.region,
    Field.PROVIDER: lambda listing: listing.provider,
    Field.STRATEGY: lambda listing: listing.strategy,
}
"""What a provider signed."""

_SAID: Mapping[Field, Callable[["Gpu"], Any]] = {
    Field.ID: lambda gpu: gpu.id,
    Field.PRICE: lambda gpu: gpu.current_price.per_hour,
    Field.RELIABILITY: lambda gpu: gpu.reliability_bps,
    Field.VERIFIED: lambda gpu: gpu.verified,
}
"""What a coordinator says."""


def _about_price(where: Where) -> Iterable[Condition]:
    return (one for one in where if one.field is Field.PRICE)
