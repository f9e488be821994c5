"""The first GPUs by base price that can be had and meet an expression, however many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel import Session, col, select

from aitbc.protocol.where import Where
from aitbc_coordinator.market import classes, searches
from aitbc_coordinator.market.filters import Position
from aitbc_coordinator.market.models import Gpu, GpuClass


@dataclass(frozen=True, slots=True)
class Walk:
    """What is looked for among the listed GPUs, or a provider's, at a time (UTC seconds).

    Where the expression is about classes it looks only at those that match, the one with the
    lowest price first, until the others can hold none of what it finds.
    """

    session: Session
    where: Where
    now: int
    more: tuple[ColumnElement[bool], ...] = ()
    """What else a row of `Gpu` must meet."""
    provider: str | None = None
    """Whose GPUs alone, also those not listed."""

    def find(self, after: Position | None, limit: int) -> Sequence[Gpu]:
        """The first GPUs by base price and id, from the one that follows `after`."""
        common, own = classes.divide(self.where)
        if self.provider is not None or not common:
            return searches.find(self.session, self._conditions(self.where), after, limit)
        found: list[Gpu] = []
        conditions = searches.conditions(common, self.now, GpuClass)
        for page in classes.pages(self.session, conditions):
            found += self._find_of(page.class_ids, self._conditions(own), after, limit)
            found = sorted(found, key=lambda gpu: (gpu.base_price, gpu.id))[:limit]
            if settled([gpu.base_price for gpu in found], page.next_price, limit):
                break
        return found

    def _conditions(self, where: Where) -> list[ColumnElement[bool]]:
        scope = searches.in_scope(self.provider, self.now)
        return [scope, *searches.conditions(where, self.now), *self.more]

    def _find_of(
        self,
        class_ids: Sequence[int],
        conditions: Sequence[ColumnElement[bool]],
        after: Position | None,
        limit: int,
    ) -> Sequence[Gpu]:
        each, rows = aliased(GpuClass), aliased(Gpu)
        of_class = select(col(Gpu.id)).where(col(Gpu.class_id) == each.id)
        first = searches.ordered(of_class, conditions, after, limit)
        query = (
            select(rows)
            .join(each, is_any_of(rows.id, first.correlate(each).scalar_subquery()))
            .where(col(each.id).in_(class_ids))
            .order_by(rows.base_price, rows.id)
            .limit(limit)
        )
        return self.session.exec(query).all()


def settled(prices: Sequence[int], next_price: int | None, limit: int) -> bool:
    """Whether GPUs from a base price on can change nothing of what was found at these prices.

    Of the same price, the id would decide.
    """
    return next_price is None or (len(prices) == limit and prices[-1] < next_price)


class is_any_of(GenericFunction[bool]):  # noqa: N801  (the name of a function in SQL)
    """Whether a value is among the rows of a subquery, which is read first, for each outer row."""

    inherit_cache = True


@compiles(is_any_of)
def _any_of(element: is_any_of, compiler: Any, **options: Any) -> str:
    value, rows = (compiler.process(one, **options) for one in element.clauses)
    return f"{value} IN {rows}"


@compiles(is_any_of, "postgresql")
def _any_of_postgresql(element: is_any_of, compiler: Any, **options: Any) -> str:
    # PostgreSQL looks only arrays up in an index.
    value, rows = (compiler.process(one, **options) for one in element.clauses)
    return f"{value} = ANY (ARRAY{rows})"
