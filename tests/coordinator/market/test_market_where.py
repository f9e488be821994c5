"""A search by SQL finds what the expression means by itself, on both databases."""

import itertools
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signed import NOW
from sqlalchemy import and_, delete
from sqlmodel import Session

import samples
from aitbc.protocol import wire
from aitbc.protocol.pricing import STRATEGIES
from aitbc.protocol.regions import REGIONS
from aitbc.protocol.where import Condition, Field, Where, holds, matches, price_limit, show
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import classes, rare, search, searches, views
from aitbc_coordinator.market.filters import SearchQuery
from aitbc_coordinator.market.models import CLASS_COLUMNS, Delivery, Gpu, GpuClass, Listing
from aitbc_coordinator.market.standing import WINDOW_SECONDS
from expressions import ADDRESSES, IDS, MODELS, NAMES, PRICES, wheres

SCOPE = searches.in_scope(None, NOW)
NOWHERE = dict.fromkeys(CLASS_COLUMNS, 0) | {"region": "", "model": "", "base_price": 1}
"""The class of what is not listed: it must not be looked at."""
_times = st.sampled_from((NOW - WINDOW_SECONDS, NOW - WINDOW_SECONDS + 1, NOW))


@dataclass(frozen=True)
class Sample:
    """A GPU: what was listed of it, what else its row has, and the bookings that were closed."""

    listed: dict[str, Any]
    row: dict[str, Any]
    deliveries: list[tuple[int, int, int]]


@st.composite
def samples_of(draw: st.DrawFn, gpu_id: str) -> Sample:
    floor, base, ceiling = sorted(draw(st.tuples(*[st.sampled_from(PRICES)] * 3)))
    uuids = st.sampled_from(("", "GPU-" + gpu_id, "GPU-other"))
    listed = {
        "provider": draw(st.sampled_from(ADDRESSES)),
        # Unique among the provider's, as the database asks.
        "name": draw(st.sampled_from(NAMES)) + gpu_id[2:4],
        "model": draw(st.sampled_from(MODELS)),
        "gpu_uuid": draw(st.sampled_from(("", "GPU-" + gpu_id))),
        "memory_gib": draw(st.sampled_from((8, 24, 80))),
        "region": draw(st.sampled_from(sorted(REGIONS)[:3])),
        "base_price": base,
        "floor_price": floor,
        "ceiling_price": ceiling,
        "strategy": draw(st.sampled_from(sorted(STRATEGIES))),
    }
    row = {
        "id": gpu_id,
        "cuda_major": draw(st.integers(9, 13)),
        "cuda_minor": draw(st.integers(0, 11)),
        "listed": draw(st.integers(0, 4)) > 0,
        "reported_uuid": draw(st.none() | uuids),
        "reported_at": draw(_times),
        "reachable_until": draw(st.sampled_from((NOW, NOW + 1))),
        "idle_since": draw(st.sampled_from((NOW, NOW - 40_000, NOW - 100_000))),
    }
    shares = st.tuples(_times, st.integers(1, 3), st.integers(0, 3))
    return Sample(listed, row, draw(st.lists(shares, max_size=3)))


markets = st.lists(st.sampled_from(IDS), min_size=1, unique=True).flatmap(
    lambda ids: st.tuples(*map(samples_of, ids))
)


def set_up(session: Session, market: tuple[Sample, ...]) -> None:
    """Let the database hold these GPUs and no others; nobody signed them."""
    for table in (Delivery, Listing, Gpu, GpuClass):
        session.exec(delete(table))
    unlisted = classes.enter(session, NOWHERE, 0)
    classes.leave(session, unlisted)
    hashes = (f"0x{number:064x}" for number in itertools.count())
    for gpu in market:
        cuda_version = f"{gpu.row['cuda_major']}.{gpu.row['cuda_minor']}"
        listing = samples.listing(**gpu.listed, cuda_version=cuda_version)
        gpu_id, digest = gpu.row["id"], next(hashes)
        class_id = unlisted
        if gpu.row["listed"]:
            columns = gpu.listed | gpu.row
            class_id = classes.enter(session, columns, gpu.row["reachable_until"])
        row = {"class_id": class_id, "salt": 1, "version": 1, "digest": digest}
        session.add(Gpu(**gpu.listed, **gpu.row, **row))
        session.flush()
        signed = {"payload": listing.model_dump_json(), "signature": "0x" + "00" * 65}
        session.add(Listing(digest=digest, gpu_id=gpu_id, version=1, **signed))
        for closed_at, booked, delivered in gpu.deliveries:
            session.add(
                Delivery(
                    booking_id=next(hashes),
                    gpu_id=gpu_id,
                    closed_at=closed_at,
                    booked_seconds=booked,
                    delivered_seconds=min(booked, delivered),
                )
            )
    session.flush()


def check_condition(session: Session, one: Condition, gpus: list[wire.Gpu]) -> None:
    rows = searches.find(session, and_(SCOPE, searches.condition(one, NOW)), len(IDS))
    found = {row.id for row in rows}
    expected = {gpu.id for gpu in gpus if holds(one, gpu)}
    # SQL knows the bounds of a price alone, and may let others pass.
    assert expected <= found if one.field is Field.PRICE else expected == found


def check_search(
    context: Context, session: Session, where: Where, gpus: list[wire.Gpu], limit: int
) -> None:
    text = show(where, context.market.decimals)
    pages = [search.search(context, session, SearchQuery(where=text, limit=limit))]
    while pages[-1].next_cursor is not None:
        query = SearchQuery(where=text, limit=limit, cursor=pages[-1].next_cursor)
        pages.append(search.search(context, session, query))
    found = [gpu for page in pages for gpu in page.items]
    assert found == [gpu for gpu in gpus if matches(where, gpu)]
    assert (pages[0].no_match is None) is bool(pages[0].items)
    if pages[0].no_match is not None:
        check_exclusions(pages[0].no_match, where, gpus)
    highest = price_limit(where)
    assert highest is None or all(gpu.current_price.per_hour <= highest for gpu in found)


def check_exclusions(why: wire.NoMatch, where: Where, gpus: list[wire.Gpu]) -> None:
    assert why.searched == len(gpus)
    for index, (one, counted) in enumerate(zip(where, why.conditions, strict=True)):
        failing = [gpu for gpu in gpus if not holds(one, gpu)]
        others = where[:index] + where[index + 1 :]
        assert counted.excluded == len(failing)
        assert counted.alone == sum(matches(others, gpu) for gpu in failing)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    market=markets,
    asked=st.lists(wheres(), min_size=4, max_size=8),
    limit=st.integers(1, 5),
    few=st.sampled_from((0, 2, rare.FEW)),
)
def test_sql_and_the_expression_agree(
    context: Context, market: tuple[Sample, ...], asked: list[Where], limit: int, few: int
) -> None:
    with patch.object(rare, "FEW", few), context.database.session() as session:
        set_up(session, market)
        listed = searches.find(session, SCOPE, len(IDS))
        offered = (gpu.row for gpu in market if gpu.row["listed"])
        reachable = {row["id"] for row in offered if row["reachable_until"] > NOW}
        assert {gpu.id for gpu in listed} == reachable
        gpus = views.gpu_views(context, session, listed)
        for where in asked:
            for one in where:
                check_condition(session, one, gpus)
            check_search(context, session, where, gpus, limit)
