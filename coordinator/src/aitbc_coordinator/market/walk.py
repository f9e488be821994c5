"""The first GPUs by base price that can be had and meet an expression, however many there are.

Statements are built once for an expression: that takes longer than to run them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Integer, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel import Session, col, select

from aitbc.protocol.where import Where
from aitbc_coordinator.market import classes, rare, searches
from aitbc_coordinator.market.filters import Position
from aitbc_coordinator.market.models import Gpu, GpuClass
from aitbc_coordinator.market.searches import NOW
from aitbc_coordinator.market.views import Span

KEPT = 256
"""Statements of so many expressions."""
LIMIT: Any = bindparam("size", type_=Integer)


@dataclass(frozen=True, slots=True)
class Slot:
    """The time in which GPUs must be free (UTC seconds), by the clock of the chain."""

    starts_at: int
    ends_at: int
    chain_time: int

    @property
    def span(self) -> Span:
        return Span(self.starts_at, self.ends_at)


@dataclass(frozen=True, slots=True)
class Walk:
    """What is looked for among the listed GPUs, or a provider's, at a time (UTC seconds).

    Where the expression is about classes it looks only at those that match, the one with the
    lowest price first, until the others can hold none of what it finds.
    """

    session: Session
    where: Where
    now: int
    slot: Slot | None = None
    provider: str | None = None
    """Whose GPUs alone, also those not listed."""

    def find(self, after: Position | None, limit: int) -> Sequence[Gpu]:
        """The first GPUs by base price and id, from the one that follows `after`."""
        common, own = classes.divide(self.where)
        shape = (self.slot is not None, after is not None)
        values = self._values(after, limit)
        few = None if self.provider is not None else rare.find(self.session, own, self.now)
        if few is not None:
            query = _among(self.where, *shape)
            del values["size"]
            rows = self.session.exec(query, params=values | {"gpu_ids": few})
            return sorted(rows, key=_place)[:limit]
        if self.provider is not None or not common:
            query = _by_price(self.where, self.provider, *shape)
            return list(self.session.exec(query, params=values))
        found: list[Gpu] = []
        query = _by_class(own, *shape)
        for page in classes.pages(self.session, common, self.now):
            values["class_ids"] = page.class_ids
            found += self.session.exec(query, params=values)
            found = sorted(found, key=_place)[:limit]
            if settled([gpu.base_price for gpu in found], page.next_price, limit):
                break
        return found

    def _values(self, after: Position | None, limit: int) -> dict[str, Any]:
        values: dict[str, Any] = {"now": self.now, "size": limit}
        if self.slot is not None:
            values |= {
                "starts_at": self.slot.starts_at,
                "ends_at": self.slot.ends_at,
                "chain_time": self.slot.chain_time,
            }
        return values if after is None else values | after._asdict()


def _place(gpu: Gpu) -> tuple[int, str]:
    return gpu.base_price, gpu.id


def settled(prices: Sequence[int], next_price: int | None, limit: int) -> bool:
    """Whether GPUs from a base price on can change nothing of what was found at these prices.

    Of the same price, the id would decide.
    """
    return next_price is None or (len(prices) == limit and prices[-1] < next_price)


@lru_cache(KEPT)
def _by_price(where: Where, provider: str | None, in_slot: bool, onwards: bool) -> Any:  # noqa: FBT001
    scope = searches.in_scope(provider, NOW)
    return _first(select(Gpu).where(scope), where, in_slot, onwards)


@lru_cache(KEPT)
def _among(where: Where, in_slot: bool, onwards: bool) -> Any:  # noqa: FBT001
    """Of few GPUs, in any order: by price, a database might look at all GPUs for them."""
    few = col(Gpu.id).in_(bindparam("gpu_ids", expanding=True))
    return _which(select(Gpu).where(few, searches.in_scope(None, NOW)), where, in_slot, onwards)


@lru_cache(KEPT)
def _by_class(where: Where, in_slot: bool, onwards: bool) -> Any:  # noqa: FBT001
    """From the index of each class, only so many rows are read."""
    each, rows = aliased(GpuClass), aliased(Gpu)
    of_class = select(col(Gpu.id)).where(col(Gpu.class_id) == each.id, searches.in_scope(None, NOW))
    first = _first(of_class, where, in_slot, onwards)
    return (
        select(rows)
        .join(each, is_any_of(rows.id, first.correlate(each).scalar_subquery()))
        .where(col(each.id).in_(bindparam("class_ids", expanding=True)))
        .order_by(col(rows.base_price), col(rows.id))
        .limit(LIMIT)
    )


def _first(query: Any, where: Where, in_slot: bool, onwards: bool) -> Any:  # noqa: FBT001
    ordered = _which(query, where, in_slot, onwards).order_by(col(Gpu.base_price), col(Gpu.id))
    return ordered.limit(LIMIT)


def _which(query: Any, where: Where, in_slot: bool, onwards: bool) -> Any:  # noqa: FBT001
    query = query.where(*searches.conditions(where, NOW))
    if in_slot:
        names = ("starts_at", "ends_at", "chain_time")
        slot: list[Any] = [bindparam(name, type_=BigInteger) for name in names]
        query = query.where(searches.is_free(*slot))
    if onwards:
        query = query.where(searches.follows(bindparam("base_price"), bindparam("gpu_id")))
    return query


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
