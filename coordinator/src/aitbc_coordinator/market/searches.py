"""SQL that finds GPUs, and tells what keeps others from being found."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    true,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlmodel import Session, col, select

from aitbc.protocol.where import COMPARE, Condition, Field, Operator, Where, fold_case
from aitbc_coordinator.database import AmountColumn
from aitbc_coordinator.market import repository, standing
from aitbc_coordinator.market.models import Gpu, GpuClass, Reservation

NOW: Any = bindparam("now", type_=BigInteger)
"""The place of the time (UTC seconds) in a statement that is built once."""
Rows = type[Gpu] | type[GpuClass]


def find(session: Session, scope: ColumnElement[bool], limit: int) -> Sequence[Gpu]:
    """The first GPUs of a scope by base price and id."""
    query = select(Gpu).where(scope).order_by(col(Gpu.base_price), col(Gpu.id))
    return session.exec(query.limit(limit)).all()


def follows(base_price: Any, gpu_id: Any) -> ColumnElement[bool]:
    """Whether a row of `Gpu` comes after a place in the order of base prices and ids."""
    place = tuple_(type_coerce(base_price, AmountColumn), type_coerce(gpu_id, String))
    return tuple_(col(Gpu.base_price), col(Gpu.id)) > place


def failures(
    session: Session, scope: ColumnElement[bool], conditions: Sequence[ColumnElement[bool]]
) -> Counter[int]:
    """How many GPUs of the scope fail which conditions: bit i of a key is condition i's.

    A condition that is NULL fails.
    """
    masks = select(mask_of(conditions).label("failed")).where(scope).subquery()
    query = select(masks.c.failed, func.count()).group_by(masks.c.failed)
    return Counter(dict(session.exec(query).all()))


def mask_of(conditions: Sequence[ColumnElement[bool]]) -> ColumnElement[int]:
    """SQL for the conditions that a row fails: bit i is condition i's. One that is NULL fails."""
    bits: Iterator[ColumnElement[int]] = (
        case((condition, literal(0, BigInteger)), else_=literal(1 << i, BigInteger))
        for i, condition in enumerate(conditions)
    )
    return reduce(add, bits, literal(0, BigInteger))


def in_scope(provider: str | None, now: int) -> ColumnElement[bool]:
    """What a search looks at: what can be had now, or all that a provider has ever listed."""
    if provider is not None:
        return col(Gpu.provider) == provider
    return and_(is_listed(), standing.is_reachable(now))


def is_listed() -> ColumnElement[bool]:
    """Whether a row of `Gpu` is on the market; written as the indexes of those that are."""
    return col(Gpu.listed) == true()


def is_free(starts_at: int, ends_at: int, chain_time: int) -> ColumnElement[bool]:
    """Whether nothing takes a row of `Gpu` in `[starts_at, ends_at)`."""
    taken = select(Reservation.id).where(
        col(Reservation.gpu_id) == col(Gpu.id),
        col(Reservation.starts_at) < ends_at,
        col(Reservation.ends_at) > starts_at,
        repository.not_lapsed(chain_time),
    )
    return ~taken.correlate(Gpu).exists()


def conditions(where: Where, now: int, of: Rows = Gpu) -> list[ColumnElement[bool]]:
    """The conditions of an expression: see `condition`."""
    return [condition(one, now, of) for one in where]


def condition(one: Condition, now: int, of: Rows = Gpu) -> ColumnElement[bool]:
    """A condition of a search on a row of `Gpu`; of a price, whether its bounds allow it.

    What GPUs of a class have in common can be asked of `GpuClass` too.
    """
    if one.field is Field.PRICE:
        return _may_cost(one.operator, one.values)
    if one.field is Field.VERIFIED:
        verified = standing.is_verified(now)
        return verified if one.values[0] else not_(verified)
    column, value = _column(one.field, now, of), one.values[0]
    if one.operator is Operator.IN:
        found = column.in_(one.values)
    elif one.operator is Operator.CONTAINS:
        found = ascii_lower(column).contains(fold_case(str(value)), autoescape=True)
    else:
        other = tuple_(*value) if isinstance(value, tuple) else value
        found = COMPARE[one.operator](column, other)
    return cast("ColumnElement[bool]", found)


class ascii_lower(GenericFunction[str]):  # noqa: N801  (the name of a function in SQL)
    """A to Z as a to z, and nothing else changed."""

    inherit_cache = True


@compiles(ascii_lower)
def _lower(element: ascii_lower, compiler: Any, **options: Any) -> str:
    # SQLite's `lower` knows no other letters.
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(ascii_lower, "postgresql")
def _lower_postgresql(element: ascii_lower, compiler: Any, **options: Any) -> str:
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "C")'


def _column(field: Field, now: int, of: Rows) -> Any:
    match field:
        case Field.CUDA:
            return tuple_(col(of.cuda_major), col(of.cuda_minor))
        case Field.MEMORY:
            return col(of.memory_gib)
        case Field.RELIABILITY:
            return standing.reliability_bps(now)
    return col(getattr(of, field.value))


def _may_cost(operator: Operator, values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether the bounds of a price allow it; of what is next to a bound, the price decides."""
    at_most: ColumnElement[bool] = col(Gpu.floor_price) <= max(values)
    at_least: ColumnElement[bool] = col(Gpu.ceiling_price) >= min(values)
    match operator:
        case Operator.LESS | Operator.AT_MOST:
            return at_most
        case Operator.MORE | Operator.AT_LEAST:
            return at_least
        case Operator.UNEQUAL:
            return true()
    return and_(at_most, at_least)
