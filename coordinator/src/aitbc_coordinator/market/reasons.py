"""Why nothing is found: how many GPUs each condition excludes."""

from collections import Counter
from typing import NamedTuple

from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.where import Condition, Field, Where, holds, show_condition
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import classes, searches
from aitbc_coordinator.market.models import GpuClass
from aitbc_coordinator.market.views import Span, gpu_views

MAX_PRICED = 500
"""Among how many GPUs at most those that cost too much are counted."""
MAX_COUNTED = 5_000
"""How many listed GPUs are looked at one by one for what no class has."""


class Reasons(NamedTuple):
    """What keeps the GPUs of a scope from being found."""

    counted: Where
    """The conditions that could be counted."""
    failed: Counter[int]
    """How many GPUs fail which of them: bit i of a key is condition i's."""
    one_by_one: bool
    """Classes count the GPUs whose machines are not heard too."""

    @property
    def searched(self) -> int:
        return self.failed.total()

    def matching(self, where: Where) -> int | None:
        """How many GPUs meet all conditions; None where that was not counted."""
        known = not self.failed[0] or (self.one_by_one and len(self.counted) == len(where))
        return self.failed[0] if known else None


def count(
    context: Context,
    session: Session,
    where: Where,
    *,
    provider: str | None = None,
    span: Span | None = None,
) -> Reasons:
    """Count, at the prices of a span (default: of an hour that starts as soon as possible).

    Where more GPUs are listed than are looked at one by one, their classes alone are.
    """
    if provider is None and classes.listed(session) > MAX_COUNTED:
        common, _ = classes.divide(where)
        conditions = searches.conditions(common, context.now(), GpuClass)
        return Reasons(common, classes.failures(session, conditions), one_by_one=False)
    scope = searches.in_scope(provider, context.now())
    of_price = [one for one in where if one.field is Field.PRICE]
    if of_price:
        rows = searches.find(session, scope, MAX_PRICED + 1)
        if len(rows) <= MAX_PRICED:
            views = gpu_views(context, session, rows, span)
            return Reasons(
                where, Counter(_failures(where, view) for view in views), one_by_one=True
            )
    counted = tuple(one for one in where if one not in of_price)
    conditions = searches.conditions(counted, context.now())
    failed = searches.failures(session, scope, conditions)
    return Reasons(counted, failed, one_by_one=True)


def shown(
    reasons: Reasons, where: Where, decimals: int, *, taken: int | None = 0, complete: bool
) -> wire.NoMatch:
    """The reasons for people. `complete` says that no GPU of the scope matches."""
    counted, failed = reasons.counted, reasons.failed

    def exclusion(one: Condition) -> wire.Exclusion:
        text = show_condition(one, decimals)
        if one in counted:
            bit = 1 << counted.index(one)
            excluded = sum(gpus for mask, gpus in failed.items() if mask & bit)
            return wire.Exclusion(condition=text, excluded=excluded, alone=failed[bit])
        # Whoever fails nothing that was counted fails the one condition that was not.
        alone = failed[0] if complete and len(where) == len(counted) + 1 else None
        return wire.Exclusion(condition=text, excluded=None, alone=alone)

    exclusions = [exclusion(one) for one in where]
    return wire.NoMatch(searched=reasons.searched, conditions=exclusions, taken=taken)


def _failures(where: Where, gpu: wire.Gpu) -> int:
    return sum(1 << i for i, one in enumerate(where) if not holds(one, gpu))
