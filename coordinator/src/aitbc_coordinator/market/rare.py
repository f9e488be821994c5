"""Conditions that few GPUs meet are looked up by an index of their own.

To walk GPUs by price until some of them are found would take the longer the more GPUs there are.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from aitbc.protocol.where import Condition, Field, Operator, Where
from aitbc_coordinator.market import searches, standing
from aitbc_coordinator.market.models import Delivery, Gpu
from aitbc_coordinator.market.searches import NOW

FEW = 500
KEPT = 256
"""Statements of so many conditions."""


def find(session: Session, where: Where, now: int) -> Sequence[str] | None:
    """The ids of all listed GPUs that may meet one of the conditions, where they are few.

    None where each condition may be met by many.
    """
    for one in where:
        is_met_by_many = _beyond_few(one)
        if is_met_by_many is None:
            continue
        values = {"now": now} if one.field in _OF_TIME else {}
        if session.exec(is_met_by_many, params=values | {"few": FEW}).first() is None:
            return list(session.exec(_candidates(one), params=values))
    return None


_UPPER = frozenset({Operator.LESS, Operator.AT_MOST, Operator.EQUAL, Operator.IN})
_EXACT = frozenset({Operator.EQUAL, Operator.IN})
_OF_TIME = frozenset({Field.VERIFIED, Field.RELIABILITY})


@lru_cache(KEPT)
def _beyond_few(one: Condition) -> Any:
    candidates = _candidates(one)
    return None if candidates is None else candidates.offset(bindparam("few")).limit(1)


@lru_cache(KEPT)
def _candidates(one: Condition) -> Any:
    """The ids of the GPUs that may meet a condition; None where no index has them."""
    if one.field is Field.RELIABILITY:
        recent = col(Delivery.closed_at) > NOW - standing.WINDOW_SECONDS
        return select(col(Delivery.gpu_id)).where(recent).distinct()
    has_index = (
        (one.field is Field.PRICE and one.operator in _UPPER)
        or (one.field in {Field.ID, Field.PROVIDER} and one.operator in _EXACT)
        or (one.field is Field.VERIFIED and one.values[0])
    )
    if not has_index:
        return None
    return select(col(Gpu.id)).where(searches.is_listed(), searches.condition(one, NOW))
