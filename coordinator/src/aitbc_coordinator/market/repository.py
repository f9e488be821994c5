"""All SQL of the market. Nothing here commits."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Text,
    bindparam,
    column,
    delete,
    func,
    literal,
    or_,
    tuple_,
    union_all,
    update,
)
from sqlalchemy import select as sql_select
from sqlmodel import Session, SQLModel, col, select

from aitbc_coordinator.database import ROWS, among, rows_as_json
from aitbc_coordinator.errors import Contended
from aitbc_coordinator.market.models import (
    Gpu,
    Listing,
    Quote,
    RegionHour,
    Reservation,
    Unlisting,
)


class Quoted(NamedTuple):
    """What was quoted for a booking: a GPU in `[starts_at, ends_at)`, to be paid by `fund_by`."""

    id: str
    """The quote's."""
    booking_id: str
    gpu_id: str
    starts_at: int
    ends_at: int
    fund_by: int


_ID = re.compile(r"[0-9a-z-]{1,16}")
_BOOKING_ID = re.compile(r"0x[0-9a-f]{64}")

# What every quote asks is built once: building costs more than asking.
_GPU_IDS: BindParameter[Any] = bindparam("gpu_ids", expanding=True)
_LISTINGS = select(Listing).where(col(Listing.digest).in_(bindparam("digests", expanding=True)))
_WITH_SALTS = (
    Quote.buyer == bindparam("buyer"),
    col(Quote.salt).in_(bindparam("salts", expanding=True)),
)
_ANY_WITH_SALTS = select(col(Quote.id)).where(*_WITH_SALTS).limit(1)
_QUOTES_WITH_SALTS = select(Quote).where(*_WITH_SALTS)
_DELETE_LAPSED = delete(Reservation).where(
    col(Reservation.gpu_id).in_(_GPU_IDS), col(Reservation.held_until) <= bindparam("chain_time")
)
# Reservations of a GPU do not overlap: the last to begin is the last to end.
_LAST_BEGUN = (
    select(Reservation.ends_at)
    .where(
        col(Reservation.gpu_id) == col(Gpu.id),
        col(Reservation.starts_at) <= bindparam("now"),
        col(Reservation.held_until).is_(None),
    )
    .order_by(col(Reservation.starts_at).desc())
    .limit(1)
    .scalar_subquery()
)
_QUOTED_COLUMNS: Any = [getattr(Quote, name) for name in Quoted._fields]
_QUOTED = sql_select(*_QUOTED_COLUMNS).where(among(col(Quote.booking_id), "booking_ids"))
_RESERVED = among(col(Reservation.quote_id), "quote_ids")
_GPUS = SQLModel.metadata.tables[str(Gpu.__tablename__)]
_IDLE_FROM = (
    update(_GPUS)
    .where(_GPUS.c.id == bindparam("gpu_id"), _GPUS.c.idle_since < bindparam("since"))
    .values(idle_since=bindparam("since"))
)
_IDLE = rows_as_json(column("gpu_id", Text), column("since", BigInteger))
_LOCKED_IDLE = (
    sql_select(_IDLE)
    .join(_GPUS, _GPUS.c.id == _IDLE.c.gpu_id)
    .where(_GPUS.c.idle_since < _IDLE.c.since)
    .order_by(_GPUS.c.id)
    .with_for_update(of=_GPUS)
    .subquery()
)
_ALL_IDLE_FROM = (
    update(_GPUS).where(_GPUS.c.id == _LOCKED_IDLE.c.gpu_id).values(idle_since=_LOCKED_IDLE.c.since)
)
"""The same at once, on PostgreSQL."""
_BUSY_UNTIL = select(Gpu.id, _LAST_BEGUN).where(col(Gpu.id).in_(_GPU_IDS))


def add(
    session: Session, *rows: Gpu | Listing | Quote | RegionHour | Reservation | Unlisting
) -> None:
    """Insert rows now, so that what the database refuses is raised here."""
    session.add_all(rows)
    session.flush()


def find_gpu(session: Session, gpu_id: str, *, lock: bool = False) -> Gpu | None:
    """A GPU by its id; with `lock`, nobody else changes it before this transaction ends."""
    if _ID.fullmatch(gpu_id) is None:
        return None
    return session.get(Gpu, gpu_id, with_for_update=lock)


def lock(session: Session, gpus: Sequence[Gpu], most: int, *, skip: bool = False) -> list[str]:
    """The ids of the first of these GPUs that are listed as they were read, which nobody else
    locks before this transaction ends.

    With `skip`, those are left out that somebody has locked; else this waits for them.
    """
    if session.get_bind().dialect.name != "postgresql":
        return [gpu.id for gpu in gpus[:most]]  # SQLite has one writer.
    rank = func.array_position(literal([gpu.id for gpu in gpus], ARRAY(Text)), col(Gpu.id))
    as_read = tuple_(col(Gpu.id), col(Gpu.digest)).in_([(gpu.id, gpu.digest) for gpu in gpus])
    query = select(Gpu.id).where(as_read, col(Gpu.listed)).order_by(rank).limit(most)
    return list(session.exec(query.with_for_update(key_share=True, skip_locked=skip)))


def ids_of_provider(session: Session, provider: str, gpu_ids: Iterable[str]) -> set[str]:
    """Those of these GPUs that a provider has listed, now or ever."""
    query = select(Gpu.id).where(Gpu.provider == provider, col(Gpu.id).in_(list(gpu_ids)))
    return set(session.exec(query))


def listed_with(session: Session, gpu_id: str, *conditions: ColumnElement[bool]) -> Gpu | None:
    """Some listed GPU other than `gpu_id` that meets the conditions."""
    query = select(Gpu).where(col(Gpu.listed), Gpu.id != gpu_id, *conditions)
    return session.exec(query.limit(1)).first()


def listed_under_name(session: Session, gpu_id: str, provider: str, name: str) -> Gpu | None:
    return listed_with(session, gpu_id, col(Gpu.provider) == provider, col(Gpu.name) == name)


def listed_with_uuid(session: Session, gpu_id: str, gpu_uuid: str) -> Gpu | None:
    return listed_with(session, gpu_id, col(Gpu.gpu_uuid) == gpu_uuid)


def listings(session: Session, digests: Iterable[str]) -> dict[str, Listing]:
    """Listings by digest."""
    rows = session.exec(_LISTINGS, params={"digests": list(digests)})
    return {row.digest: row for row in rows}


def find_listing(session: Session, digest: str) -> Listing | None:
    return session.get(Listing, digest)


def find_unlisting(session: Session, digest: str) -> Unlisting | None:
    return session.get(Unlisting, digest)


def find_quote(session: Session, quote_id: str) -> Quote | None:
    return session.get(Quote, quote_id) if _ID.fullmatch(quote_id) else None


def quote_of_booking(session: Session, booking_id: str) -> Quote | None:
    if _BOOKING_ID.fullmatch(booking_id) is None:
        return None
    return session.exec(select(Quote).where(Quote.booking_id == booking_id)).first()


def quotes_with_salts(session: Session, buyer: str, salts: Sequence[int]) -> dict[int, Quote]:
    """A buyer's quotes by salt, of those that there are."""
    values = {"buyer": buyer, "salts": salts}
    # Most often there are none: to ask whether costs half of asking for them.
    if session.connection().execute(_ANY_WITH_SALTS, values).first() is None:
        return {}
    return {quote.salt: quote for quote in session.exec(_QUOTES_WITH_SALTS, params=values)}


def quoted(session: Session, booking_ids: Iterable[str]) -> dict[str, Quoted]:
    """What was quoted, by booking id; of those ids that are of a quote."""
    usable = [booking_id for booking_id in booking_ids if _BOOKING_ID.fullmatch(booking_id)]
    rows: Any = session.connection().execute(_QUOTED, {"booking_ids": usable})
    return {row.booking_id: Quoted(*row) for row in rows}


def reserved(session: Session, quote_ids: Collection[str]) -> set[str]:
    """Those of some quotes that a GPU is reserved for."""
    query = select(col(Reservation.quote_id)).where(_RESERVED)
    return set(session.exec(query, params={"quote_ids": quote_ids}))


def hold_until(session: Session, seconds: Mapping[str, int | None]) -> None:
    """Let reservations last until these seconds, or for good, by the quotes they are for.

    Raises Contended where one of them is gone.
    """
    by_second: dict[int | None, list[str]] = {}
    for quote_id, second in seconds.items():
        by_second.setdefault(second, []).append(quote_id)
    for second, quote_ids in by_second.items():
        changed: Any = session.exec(
            update(Reservation)
            .where(_RESERVED)
            .values(held_until=second)
            .returning(col(Reservation.quote_id)),
            params={"quote_ids": quote_ids},
        )
        if len(changed.all()) != len(quote_ids):
            raise Contended


def delete_reservations(session: Session, quote_ids: Collection[str]) -> None:
    session.exec(delete(Reservation).where(_RESERVED), params={"quote_ids": quote_ids})


def delete_all_reservations(session: Session) -> None:
    session.exec(delete(Reservation))


def quotes_held(session: Session, chain_time: int, *, buyer: str | None = None) -> Sequence[Quote]:
    """The quotes that GPUs are held for and nobody has funded: a buyer's, or everybody's."""
    held = (col(Reservation.held_until).is_not(None), not_lapsed(chain_time))
    query = select(Quote).join(Reservation, col(Reservation.quote_id) == col(Quote.id))
    if buyer is not None:
        query = query.where(col(Quote.buyer) == buyer)
    return session.exec(query.where(*held)).all()


def delete_lapsed(session: Session, gpu_ids: Sequence[str], chain_time: int) -> None:
    """Free what was held for quotes that can never be funded any more."""
    session.connection().execute(_DELETE_LAPSED, {"gpu_ids": gpu_ids, "chain_time": chain_time})


def reservations(
    session: Session, gpu_ids: Iterable[str], ending_after: int, chain_time: int
) -> Sequence[Reservation]:
    """What takes these GPUs after a second, lapsed holds left out, in the order of time."""
    query = (
        select(Reservation)
        .where(
            col(Reservation.gpu_id).in_(list(gpu_ids)),
            col(Reservation.ends_at) > ending_after,
            not_lapsed(chain_time),
        )
        .order_by(col(Reservation.starts_at))
    )
    return session.exec(query).all()


def busy_until(session: Session, gpu_ids: Iterable[str], now: int) -> dict[str, int]:
    """End of the latest funded reservation that has begun, by GPU; of those that have one."""
    rows: Any = session.connection().execute(_BUSY_UNTIL, {"gpu_ids": list(gpu_ids), "now": now})
    return {gpu_id: ends_at for gpu_id, ends_at in rows if ends_at is not None}


def listed_and_booked(session: Session, at: int) -> dict[str, tuple[int, int]]:
    """By region: how many GPUs are on the market, and how many of them are booked at a second.

    Those that cannot be reached are not on it. Only what was funded counts: a quote costs nothing,
    and must not move anybody's price.
    """
    offered = (col(Gpu.listed), col(Gpu.reachable_until) > at)
    listed = select(Gpu.region, func.count()).where(*offered).group_by(col(Gpu.region))
    booked = listed.join(Reservation, col(Reservation.gpu_id) == col(Gpu.id)).where(
        col(Reservation.starts_at) <= at,
        col(Reservation.ends_at) > at,
        col(Reservation.held_until).is_(None),
    )
    taken = dict(session.exec(booked).all())
    return {region: (count, taken.get(region, 0)) for region, count in session.exec(listed)}


def newest_hours(session: Session, regions: Sequence[str]) -> Sequence[Any]:
    """The newest hour of each region that has one: the columns of `RegionHour`."""
    if not regions:
        return []
    values = {f"region_{number}": region for number, region in enumerate(regions)}
    return session.connection().execute(_newest_hours(len(regions)), values).all()


@lru_cache
def _newest_hours(regions: int) -> Any:
    each = (
        select(RegionHour)
        .where(col(RegionHour.region) == bindparam(f"region_{number}"))
        .order_by(col(RegionHour.starts_at).desc())
        .limit(1)
        .subquery()
        for number in range(regions)
    )
    return union_all(*(sql_select(one) for one in each))


def hours(
    session: Session, region: str, *, since: int = 0, until: int | None = None, limit: int
) -> Sequence[RegionHour]:
    """A region's hours that start from `since` until `until`, newest first."""
    starts_at = col(RegionHour.starts_at)
    query = select(RegionHour).where(RegionHour.region == region, starts_at >= since)
    if until is not None:
        query = query.where(starts_at <= until)
    return session.exec(query.order_by(starts_at.desc()).limit(limit)).all()


def idle_from(session: Session, seconds: Mapping[str, int]) -> None:
    """GPUs stand idle since these seconds, unless they already stood so from later ones."""
    if seconds:
        rows = [{"gpu_id": gpu_id, "since": seconds[gpu_id]} for gpu_id in sorted(seconds)]
        connection = session.connection()
        if connection.dialect.name == "sqlite":
            connection.execute(_IDLE_FROM, rows)
        else:
            connection.execute(_ALL_IDLE_FROM, {ROWS: json.dumps(rows)})


def not_lapsed(chain_time: int) -> ColumnElement[bool]:
    """SQL for a row of `Reservation`: whether it still takes its GPU."""
    held_until = col(Reservation.held_until)
    return or_(held_until.is_(None), held_until > chain_time)
