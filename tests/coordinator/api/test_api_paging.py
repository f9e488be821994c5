"""Lists page by page while others add to them: what was there is shown once, and nothing twice."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
from databases import sqlite
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, SQLModel, delete

import samples
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.models import Gpu, GpuClass, Listing, RegionHour
from aitbc_coordinator.settlement.models import Booking, BookingState

HOUR = 3_600
ADDRESS = "0x" + "aB" * 20
ALIKE: dict[str, Any] = {
    "id": 1,
    "region": "us-west",
    "model": "",
    "memory_gib": 24,
    "cuda_major": 12,
    "cuda_minor": 1,
    "listed": 0,
    "cheapest": 0,
    "reachable_until": 2**32 - 1,
}
"""The class of all GPUs here."""


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    with sqlite(sqlite_template, tmp_path) as made:
        with made.session() as session:
            session.add(GpuClass(**ALIKE))
        yield made


def booking(number: int, place: int) -> list[SQLModel]:
    """One that was funded at a second that many others share."""
    row = Booking(
        id=f"0x{number:064x}",
        short_id=f"b-{number:010d}",
        buyer=ADDRESS,
        provider=ADDRESS,
        amount=1,
        fund_by=1,
        starts_at=1,
        ends_at=2,
        listing="0x" + "00" * 32,
        salt=number,
        refused=False,
        funded_at=1_000 + place,
        state=BookingState.OPEN,
        paid=0,
        fee=0,
        refunded=0,
        remaining=1,
    )
    return [row]


def gpu(number: int, place: int) -> list[SQLModel]:
    """One of a price that many others share, with its listing."""
    message = samples.listing(ADDRESS, name=f"gpu {number}", base_price=36_000 + place)
    digest = f"0x{number:064x}"
    fields = message.model_dump(exclude={"cuda_version", "signed_at"})
    row = Gpu(
        id=f"g-{number:06d}",
        class_id=ALIKE["id"],
        cuda_major=ALIKE["cuda_major"],
        cuda_minor=ALIKE["cuda_minor"],
        listed=True,
        idle_since=0,
        reachable_until=2**32 - 1,
        digest=digest,
        **fields,
    )
    kept = Listing(
        digest=digest,
        gpu_id=row.id,
        version=1,
        payload=message.model_dump_json(),
        signature="0x" + "00" * 65,
    )
    return [row, kept]


def hour(number: int, place: int) -> list[SQLModel]:
    row = RegionHour(
        region="us-west",
        starts_at=number * HOUR,
        listed=place,
        booked=0,
        level_before_bps=10_000,
    )
    return [row]


LISTS: dict[
    str, tuple[type[SQLModel], Callable[[int, int], list[SQLModel]], str, dict[str, Any]]
] = {
    "/v1/bookings": (Booking, booking, "id", {}),
    "/v1/market/hours": (RegionHour, hour, "starts_at", {"region": "us-west"}),
    "/v1/gpus": (Gpu, gpu, "id", {}),
}
"""By path: rows, how one is made of its number and a place that others may share, and its key."""
numbers = st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=30)


def insert(session: Session, made: list[list[SQLModel]]) -> None:
    for row in chain.from_iterable(made):
        session.add(row)
        session.flush()


@pytest.mark.parametrize("path", LISTS)
def test_a_walk_shows_what_was_there_once_while_others_add(
    path: str, client: TestClient, context: Context, document: dict[str, Any]
) -> None:
    table, make, key, query = LISTS[path]

    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(numbers=numbers, places=st.randoms(use_true_random=False), limit=st.integers(1, 7))
    def walk(numbers: list[int], places: Random, limit: int) -> None:
        rows = [make(number, places.randrange(3)) for number in numbers]
        split = places.randrange(1, len(rows) + 1)
        there, added = rows[:split], rows[split:]
        expected = {getattr(row[0], key) for row in there}
        with context.database.session() as session:
            for kind in (Listing, table):
                session.exec(delete(kind))
            insert(session, there)
        seen: list[Any] = []
        cursor: str | None = None
        while True:
            asked = query | {"limit": limit} | ({"cursor": cursor} if cursor else {})
            page = client.get(path, params=asked).json()
            assert len(page["items"]) <= limit
            seen += [item[key] for item in page["items"]]
            assert len(seen) <= len(rows), "the walk has no end"
            cursor = page["next_cursor"]
            if cursor is None:
                break
            with context.database.session() as session:
                insert(session, [added.pop() for _ in range(min(2, len(added)))])
        assert len(seen) == len(set(seen))
        assert expected <= set(seen)

    walk()


def test_every_list_is_walked(document: dict[str, Any]) -> None:
    def has_cursor(operation: dict[str, Any]) -> bool:
        return any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ()))

    def is_page(operation: dict[str, Any]) -> bool:
        schema = operation["responses"].get("200", {}).get("content", {})
        name = schema.get("application/json", {}).get("schema", {}).get("$ref", "")
        return name.endswith("Page")

    reads = {
        path: methods["get"] for path, methods in document["paths"].items() if "get" in methods
    }
    paged = {path for path, operation in reads.items() if has_cursor(operation)}
    assert paged == set(LISTS) == {path for path, operation in reads.items() if is_page(operation)}
