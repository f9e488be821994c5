"""From a market of a thousand GPUs to one of a million, straight in the database.

Each further GPU is a copy of a registered one with another id, name, UUID and listing; the copy of
its listing says what the first one's does, and is signed with its signature.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    String,
    cast,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlmodel import SQLModel, col

from aitbc_coordinator.database import Database
from aitbc_coordinator.market.models import Gpu, GpuClass, Listing

SUFFIX_DIGITS = 6
SQLITE_CACHE = -1_000_000
"""In KiB, while GPUs are copied: indexes grow in no order."""


def grow(database: Database, times: int) -> None:
    """Copy every GPU until there are so many times as many."""
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA cache_size = {SQLITE_CACHE}")
        copies = _numbers(times - 1)
        suffix = func.substr(cast(copies.c.number + 10**SUFFIX_DIGITS, String), 2)
        digest_chars = 66 - SUFFIX_DIGITS
        gpus = {
            "id": col(Gpu.id) + suffix,
            "name": col(Gpu.name) + "-" + suffix,
            "gpu_uuid": col(Gpu.gpu_uuid) + "-" + suffix,
            "digest": func.substr(col(Gpu.digest), 1, digest_chars).concat(suffix),
        }
        listings = {
            "gpu_id": col(Listing.gpu_id) + suffix,
            "digest": func.substr(col(Listing.digest), 1, digest_chars).concat(suffix),
        }
        _copy(connection, Gpu, copies, gpus)
        connection.execute(update(GpuClass).values(listed=col(GpuClass.listed) * times))
        _copy(connection, Listing, copies, listings)


def _numbers(most: int) -> CTE:
    """A table of the numbers from 1 to `most`."""
    numbers = select(literal(1).label("number")).cte(recursive=True)
    return numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < most))


def _copy(
    connection: Connection,
    model: type[SQLModel],
    copies: CTE,
    changed: Mapping[str, ColumnElement[str]],
) -> None:
    """Insert every row once for each copy, with some columns changed."""
    columns = SQLModel.metadata.tables[str(model.__tablename__)].columns
    values = [changed.get(column.name, column) for column in columns]
    rows = select(*values).select_from(model).join(copies, text("true"))
    connection.execute(insert(model).from_select([column.name for column in columns], rows))
