"""Finding a GPU, by what it is and what it costs now; and why there is none."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.where import Condition, Field, Where, holds, matches, show_condition
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import searches
from aitbc_coordinator.market.filters import Position, SearchQuery, read_where
from aitbc_coordinator.market.views import gpu_views

MAX_BATCHES = 20
"""How far one search looks past GPUs that cost too much; its cursor leads further."""
MAX_PRICED = 500
"""Among how many GPUs at most those that cost too much are counted."""


def search(context: Context, session: Session, query: SearchQuery) -> wire.GpuPage:
    """GPUs by base price and id. `next_cursor` is None on the last page only. Raises Invalid."""
    where = read_where(query.where, context.market.decimals)
    after = None if query.cursor is None else Position.of(query.cursor)
    asked = _Search(context, session, searches.in_scope(query.provider), where)
    page = asked.page(after, query.limit)
    if page.items or after is not None:
        return page
    why = asked.why_none(complete=page.next_cursor is None)
    return page.model_copy(update={"no_match": why})


@dataclass(frozen=True, slots=True)
class _Search:
    context: Context
    session: Session
    scope: ColumnElement[bool]
    where: Where

    def page(self, after: Position | None, limit: int) -> wire.GpuPage:
        conditions = [self.scope, *self._in_sql(self.where)]
        found: list[wire.Gpu] = []
        for _ in range(MAX_BATCHES):
            wanted = limit - len(found)
            rows = searches.find(self.session, conditions, after, wanted + 1)
            page, more = rows[:wanted], len(rows) > wanted
            views = gpu_views(self.context, self.session, page)
            found += [view for view in views if matches(self.where, view)]
            if not more:
                return wire.GpuPage(items=found, next_cursor=None)
            after = Position(page[-1].base_price, page[-1].id)
            if len(found) == limit:
                break
        return wire.GpuPage(items=found, next_cursor=after.cursor() if after else None)

    def why_none(self, *, complete: bool) -> wire.NoMatch:
        """What each condition excludes. `complete` says that no GPU of the scope matches."""
        of_price = [one for one in self.where if one.field is Field.PRICE]
        priced = self._all_views() if of_price else None
        if priced is None:
            counted = tuple(one for one in self.where if one not in of_price)
            failed = searches.failures(self.session, self.scope, self._in_sql(counted))
        else:
            counted = self.where
            failed = Counter(_failures(counted, view) for view in priced)

        def exclusion(one: Condition) -> wire.Exclusion:
            shown = show_condition(one, self.context.market.decimals)
            if one in counted:
                bit = 1 << counted.index(one)
                excluded = sum(gpus for mask, gpus in failed.items() if mask & bit)
                return wire.Exclusion(condition=shown, excluded=excluded, alone=failed[bit])
            # Whoever fails nothing that was counted fails the one condition that was not.
            alone = failed[0] if complete and len(of_price) == 1 else None
            return wire.Exclusion(condition=shown, excluded=None, alone=alone)

        exclusions = [exclusion(one) for one in self.where]
        return wire.NoMatch(searched=failed.total(), conditions=exclusions)

    def _in_sql(self, where: Where) -> list[ColumnElement[bool]]:
        now = self.context.now()
        return [searches.condition(one, now) for one in where]

    def _all_views(self) -> list[wire.Gpu] | None:
        """The GPUs of the scope at their prices; None where they are too many."""
        rows = searches.find(self.session, [self.scope], None, MAX_PRICED + 1)
        return gpu_views(self.context, self.session, rows) if len(rows) <= MAX_PRICED else None


def _failures(where: Where, gpu: wire.Gpu) -> int:
    """Which conditions a GPU fails, as bits: see `searches.failures`."""
    return sum(1 << i for i, one in enumerate(where) if not holds(one, gpu))
