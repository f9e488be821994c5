"""How a GPU stands: what it delivered of what was booked, and whether its machine was heard."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    or_,
    update,
)
from sqlmodel import Session, col, select

from aitbc.protocol.units import BPS
from aitbc_coordinator.database import among, insert_rows
from aitbc_coordinator.market.models import Delivery, Gpu, GpuClass

WINDOW_SECONDS = 30 * 86_400
"""What happened longer ago does not count."""


Moment = int | ColumnElement[int]
"""UTC seconds, or the place of them in a statement."""


_DELIVERED = tuple(name for name in Delivery.model_fields if name != "booking_id")


class Standing(NamedTuple):
    reliability_bps: int | None
    verified: bool


class Telemetry(BaseModel):
    """What is read of a heartbeat's telemetry."""

    gpu_uuid: str = Field("", max_length=64, pattern=r"^[A-Za-z0-9-]*$")


def reliability_bps(now: Moment) -> ColumnElement[int | None]:
    """SQL for a row of `Gpu`: the delivered share of what was booked; NULL without a booking."""
    delivered, booked = (
        cast(func.sum(col(seconds)), BigInteger)
        for seconds in (Delivery.delivered_seconds, Delivery.booked_seconds)
    )
    closed = (col(Delivery.gpu_id) == col(Gpu.id), col(Delivery.closed_at) > now - WINDOW_SECONDS)
    return select(delivered * BPS // booked).where(*closed).correlate(Gpu).scalar_subquery()


def is_verified(now: Moment) -> ColumnElement[bool]:
    """SQL for a row of `Gpu`: its provider's machine last reported the UUID that is listed.

    No machine reports an empty one: see `heard`.
    """
    return and_(
        col(Gpu.reported_uuid).is_not_distinct_from(col(Gpu.gpu_uuid)),
        col(Gpu.reported_at) > now - WINDOW_SECONDS,
    )


_NOW = bindparam("now", type_=BigInteger)
_OF_GPUS = select(col(Gpu.id), reliability_bps(_NOW), is_verified(_NOW)).where(
    col(Gpu.id).in_(bindparam("gpu_ids", expanding=True))
)
"""Built once: building costs more than asking."""


def of_gpus(session: Session, gpu_ids: Iterable[str], now: int) -> dict[str, Standing]:
    rows = session.connection().execute(_OF_GPUS, {"gpu_ids": list(gpu_ids), "now": now})
    return {gpu_id: Standing(reliability, verified) for gpu_id, reliability, verified in rows}


def is_reachable(now: int) -> ColumnElement[bool]:
    """SQL for a row of `Gpu`: its machine was heard lately, or it is still new."""
    return col(Gpu.reachable_until) > now


def is_news(session: Session, uuids: Mapping[str, str], at: int) -> bool:
    """Whether there is anything in a report that `heard` would keep."""
    news = [_is_unseen(uuids, at)]
    if named := _named(uuids):
        news.append(_is_unreported(named, at))
    return session.exec(select(Gpu.id).where(or_(*news)).limit(1)).first() is not None


def heard(session: Session, uuids: Mapping[str, str], at: int, *, allowed: int) -> None:
    """The provider's machine was heard at a second, with the UUIDs of GPUs by their ids.

    They stay on the market for `allowed` seconds from then; an empty UUID is none. What is older
    than what was heard already changes nothing.
    """
    seen = {"last_seen": at, "reachable_until": at + allowed}
    session.exec(update(Gpu).where(_is_unseen(uuids, at)).values(seen))
    if named := _named(uuids):
        reported = {"reported_uuid": case(named, value=col(Gpu.id)), "reported_at": at}
        session.exec(update(Gpu).where(_is_unreported(named, at)).values(reported))
    # A class is told of twice as long, so that few of those who are heard have to write to it.
    theirs = select(col(Gpu.class_id)).where(col(Gpu.id).in_(list(uuids)))
    ending = (col(GpuClass.id).in_(theirs), col(GpuClass.reachable_until) < at + allowed)
    session.exec(update(GpuClass).where(*ending).values(reachable_until=at + 2 * allowed))


def _named(uuids: Mapping[str, str]) -> dict[str, str]:
    return {gpu_id: uuid for gpu_id, uuid in uuids.items() if uuid}


def _is_unseen(uuids: Mapping[str, str], at: int) -> ColumnElement[bool]:
    """SQL for a row of `Gpu`: it is one of these, and was not heard at a second or later."""
    earlier = or_(col(Gpu.last_seen).is_(None), col(Gpu.last_seen) < at)
    return and_(col(Gpu.id).in_(list(uuids)), earlier)


def _is_unreported(named: Mapping[str, str], at: int) -> ColumnElement[bool]:
    """SQL for a row of `Gpu`: it is one of these, and what is said of it now is not known yet.

    Of two reports in one second, the later to arrive counts.
    """
    earlier = or_(col(Gpu.reported_at).is_(None), col(Gpu.reported_at) < at)
    otherwise = col(Gpu.reported_uuid) != case(named, value=col(Gpu.id))
    return and_(
        col(Gpu.id).in_(list(named)), or_(earlier, and_(col(Gpu.reported_at) == at, otherwise))
    )


def record(session: Session, deliveries: Sequence[Mapping[str, Any]]) -> None:
    """Bookings are closed: rows of `Delivery`. Harmless to repeat."""
    insert_rows(session, Delivery, deliveries, changing=_DELIVERED)


def forget(session: Session, booking_ids: Collection[str]) -> None:
    """Bookings are not closed, or no more; or what became of them was their buyers' wish."""
    theirs = among(col(Delivery.booking_id), "booking_ids")
    session.exec(delete(Delivery).where(theirs), params={"booking_ids": booking_ids})


def forget_all(session: Session) -> None:
    session.exec(delete(Delivery))


def reported_uuid(telemetry: str) -> str:
    """The UUID in a heartbeat's telemetry; empty where there is none."""
    try:
        return Telemetry.model_validate_json(telemetry).gpu_uuid
    except ValidationError:
        return ""
