"""The market's hours: what was listed and booked in each region, and the price level from then on.

Prices rest on the newest hour, so that a quote reads one row however many GPUs there are, and
anybody can check each level against the hour before.
"""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.pricing import NO_HOUR, MarketHour
from aitbc.protocol.regions import DEFAULT_REGION, REGIONS
from aitbc.protocol.types import Timestamp
from aitbc.protocol.units import SECONDS_PER_HOUR
from aitbc_coordinator import paging
from aitbc_coordinator.context import Context
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.market import repository
from aitbc_coordinator.market.models import RegionHour
from aitbc_coordinator.market.regions import require_region

MOST_MISSED = 24
"""How many hours are made up for after a pause; earlier ones stay unrecorded."""

_CURSOR = re.compile(r"([0-9]{1,10})")


class HoursQuery(BaseModel):
    """The query string of a list of hours."""

    model_config = ConfigDict(extra="forbid")

    region: str = Field(max_length=32)
    from_: Annotated[
        Timestamp, Field(alias="from", description="No hour that starts before", strict=False)
    ] = 0
    until: Annotated[Timestamp, Field(description="No hour that starts after", strict=False)] = (
        2**32 - 1
    )
    limit: int = Field(168, ge=1, le=200)
    cursor: str | None = Field(None, max_length=128, description="`next_cursor` of a page")


def record(context: Context) -> None:
    """Record the hour that has begun, in every region, unless somebody has already.

    Hours that were missed repeat what was last seen. Any number of replicas may do this at once.
    """
    starts_at = context.now() // SECONDS_PER_HOUR * SECONDS_PER_HOUR
    with context.database.read() as session:
        if newest(session, {DEFAULT_REGION})[DEFAULT_REGION].starts_at >= starts_at:
            return
        counts = repository.listed_and_booked(session, starts_at)

    def work(session: Session) -> None:
        # Read again: whoever was quicker makes the insertion fail, and this begin anew.
        for region, last in newest(session, set(REGIONS)).items():
            _record(session, region, last, starts_at, counts.get(region, (0, 0)))
        reach(FaultPoint.HOUR_WRITING)

    context.database.transact(work)
    reach(FaultPoint.HOUR_WRITTEN)


def newest(session: Session, regions: set[str]) -> dict[str, MarketHour]:
    """The newest hour of each region, NO_HOUR where none was recorded."""
    found = {row.region: _hour(row) for row in repository.newest_hours(session, list(regions))}
    return {region: found.get(region, NO_HOUR) for region in regions}


def page(session: Session, query: HoursQuery) -> wire.RegionHourPage:
    """Hours of a region, from the newest to the oldest. Raises Invalid for an unknown region."""
    require_region(query.region)
    until = query.until
    if query.cursor is not None:
        (last_shown,) = paging.decode(query.cursor, _CURSOR)
        until = min(until, int(last_shown) - 1)
    limit = query.limit + 1
    rows = repository.hours(session, query.region, since=query.from_, until=until, limit=limit)
    shown = rows[: query.limit]
    cursor = paging.encode(shown[-1].starts_at) if len(rows) > query.limit else None
    return wire.RegionHourPage(items=[_view(row) for row in shown], next_cursor=cursor)


def _record(
    session: Session, region: str, last: MarketHour, starts_at: int, counts: tuple[int, int]
) -> None:
    first = starts_at
    if last != NO_HOUR:
        first = max(last.starts_at + SECONDS_PER_HOUR, starts_at - MOST_MISSED * SECONDS_PER_HOUR)
    for hour_start in range(first, starts_at + 1, SECONDS_PER_HOUR):
        listed, booked = counts if hour_start == starts_at else (last.listed, last.booked)
        last = MarketHour(
            starts_at=hour_start, listed=listed, booked=booked, level_before_bps=last.level_bps
        )
        row = RegionHour(region=region, **last.model_dump())
        repository.add(session, row)


def _hour(row: Any) -> MarketHour:
    return MarketHour(**{name: getattr(row, name) for name in MarketHour.model_fields})


def _view(row: RegionHour) -> wire.RegionHour:
    hour = _hour(row)
    return wire.RegionHour(
        **row.model_dump(), utilisation_bps=hour.utilisation_bps, level_bps=hour.level_bps
    )
