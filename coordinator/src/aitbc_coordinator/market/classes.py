"""Classes of GPUs that are alike, so that a search looks at few rows however many GPUs there are.

A class counts its listed GPUs in the transactions that list and unlist them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, bindparam, case, func, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from aitbc.protocol.where import Field, Where
from aitbc_coordinator.database import AmountColumn
from aitbc_coordinator.market import searches
from aitbc_coordinator.market.models import CLASS_COLUMNS, GpuClass

_FIELDS = frozenset({Field.REGION, Field.MODEL, Field.MEMORY, Field.CUDA})
PAGE = 8
"""How many classes are looked at together."""


class Page(NamedTuple):
    """Classes that may hold what is looked for."""

    class_ids: list[int]
    next_price: int | None
    """No GPU of the classes on later pages has a lower base price; None on the last page."""


def divide(where: Where) -> tuple[Where, Where]:
    """The conditions on what all GPUs of a class have in common, and the others."""
    common = tuple(one for one in where if one.field in _FIELDS)
    return common, tuple(one for one in where if one.field not in _FIELDS)


def enter(session: Session, columns: dict[str, Any], reachable_until: int) -> int:
    """A GPU with these columns is listed from now on. The id of its class."""
    fields = {name: columns[name] for name in CLASS_COLUMNS}
    price, until = col(GpuClass.cheapest), col(GpuClass.reachable_until)
    insert: Any = postgresql.insert if _is_postgresql(session) else sqlite.insert
    made = insert(GpuClass).values(
        **fields, listed=1, cheapest=columns["base_price"], reachable_until=reachable_until
    )
    new = made.excluded
    is_cheaper, is_later = new.cheapest < price, new.reachable_until > until
    changed = made.on_conflict_do_update(
        index_elements=CLASS_COLUMNS,
        set_={
            "listed": col(GpuClass.listed) + 1,
            "cheapest": case((is_cheaper, new.cheapest), else_=price),
            "reachable_until": case((is_later, new.reachable_until), else_=until),
        },
    )
    return int(session.execute(changed.returning(col(GpuClass.id))).scalar_one())


def leave(session: Session, class_id: int) -> None:
    """One of its GPUs is not listed any more."""
    # What is cheapest then stays a bound: others that are listed meanwhile cannot be seen here.
    fewer = {"listed": col(GpuClass.listed) - 1}
    session.exec(update(GpuClass).where(col(GpuClass.id) == class_id).values(fewer))


def pages(session: Session, where: Where, now: int) -> Iterator[Page]:
    """Classes with GPUs on the market that meet conditions on classes, the lowest prices first."""
    query, onwards = _classes(where)
    ask: Any = session.connection().execute
    rows = ask(query, {"now": now}).all()
    while len(rows) > PAGE:
        following_id, following = rows[PAGE]
        yield Page([class_id for class_id, _ in rows[:PAGE]], following)
        place = {"price": following, "number": following_id, "now": now}
        rows = ask(onwards, place).all()
    if rows:
        yield Page([class_id for class_id, _ in rows], None)


@lru_cache(256)
def _classes(where: Where) -> tuple[Any, Any]:
    """The query of a first page, and that of another."""
    price, number = col(GpuClass.cheapest), col(GpuClass.id)
    wanted = select(number, price).where(
        col(GpuClass.listed) > 0,
        col(GpuClass.reachable_until) > searches.NOW,
        *searches.conditions(where, 0, GpuClass),
    )
    first = wanted.order_by(price, number).limit(PAGE + 1)
    reached = tuple_(bindparam("price", type_=AmountColumn), bindparam("number", type_=Integer))
    return first, first.where(tuple_(price, number) >= reached)


def listed(session: Session) -> int:
    """How many GPUs are listed in all."""
    return int(session.exec(select(func.coalesce(func.sum(col(GpuClass.listed)), 0))).one())


def failures(session: Session, conditions: Sequence[ColumnElement[bool]]) -> Counter[int]:
    """How many listed GPUs fail which conditions on `GpuClass`: see `searches.failures`."""
    masks = select(searches.mask_of(conditions).label("failed"), col(GpuClass.listed)).subquery()
    query = select(masks.c.failed, func.sum(masks.c.listed)).group_by(masks.c.failed)
    return Counter({mask: int(gpus) for mask, gpus in session.exec(query) if gpus})


def _is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
