"""Search: every field, the order, pages, and why nothing is found."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing
from sqlalchemy import text

from aitbc.protocol import wire
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market import reasons, search, standing

GPUS: list[dict[str, Any]] = [
    {"name": "a", "region": "us-west", "memory_gib": 24, "cuda_version": "12.1"},
    {"name": "b", "region": "us-west", "memory_gib": 80, "cuda_version": "12.10"},
    {"name": "c", "region": "eu-west", "memory_gib": 48, "cuda_version": "13.0"},
    {"name": "d", "region": "eu-west", "memory_gib": 8, "cuda_version": "9.2"},
]
PRICES = {"a": 300, "b": 2**70, "c": 100, "d": 100}
MODELS = {"a": "NVIDIA RTX 4090", "b": "NVIDIA A100-80G", "c": "RTX_6000", "d": "RTX 6000"}


def wei(amount: int) -> str:
    """Base units as the decimal that a price is written as."""
    return f"0.{amount:018d}"


@pytest.fixture
def provider(client: TestClient, wallet: Callable[[], Wallet]) -> Wallet:
    """Somebody who lists all of GPUS, at the base price."""
    made = wallet()
    for salt, gpu in enumerate(GPUS):
        base = PRICES[gpu["name"]]
        signed = listing(
            made,
            salt=salt,
            model=MODELS[gpu["name"]],
            strategy="utilization-guard",
            base_price=base,
            floor_price=base // 2,
            ceiling_price=base * 2,
            **gpu,
        )
        answer = client.post("/v1/gpus", json=signed.model_dump(mode="json"))
        assert answer.status_code == 201, answer.text
    return made


def find(client: TestClient, where: str | None = None, **query: Any) -> wire.GpuPage:
    query |= {} if where is None else {"where": where}
    answer = client.get("/v1/gpus", params=query)
    assert answer.status_code == 200, answer.text
    return wire.GpuPage.model_validate(answer.json())


def names(client: TestClient, where: str | None = None, **query: Any) -> set[str]:
    return {gpu.listing.name for gpu in find(client, where, **query).items}


CONDITIONS: list[tuple[str | None, str]] = [
    (None, "abcd"),
    ("region=us-west", "ab"),
    ("region=us-east", ""),
    ("region in us-east,eu-west", "cd"),
    ("region!=us-west", "cd"),
    ("memory>=48", "bc"),
    ("memory in 8,24", "ad"),
    ("cuda>=12.2", "bc"),
    ("cuda>=12.1", "abc"),
    ("cuda>12.1 cuda<13", "b"),
    ("cuda>=13", "c"),
    ("cuda in 9.2,13.0", "cd"),
    ("cuda!=12.10", "acd"),
    ("model~rtx", "acd"),
    ("model~6000", "cd"),
    ("model~X_6", "c"),
    ("model~%", ""),
    ('model="RTX 6000"', "d"),
    ('model="rtx 6000"', ""),
    ("name=b", "b"),
    (f"price<={wei(300)}", "acd"),
    (f"price<{wei(300)}", "cd"),
    (f"price={wei(100)}", "cd"),
    (f"price in {wei(100)},{wei(300)}", "acd"),
    (f"price!={wei(100)} price<{wei(1000)}", "a"),
    (f"price<{wei(100)}", ""),
    (f"price>={wei(100)} price<={wei(299)}", "cd"),
    ("strategy=utilization-guard", "abcd"),
    ("strategy=market-balance", ""),
    ("region=eu-west memory>=24 cuda>=12.0", "c"),
]


def test_conditions(client: TestClient, provider: Wallet) -> None:
    found = {where: names(client, where) for where, _ in CONDITIONS}
    assert found == {where: set(expected) for where, expected in CONDITIONS}


def test_only_the_case_of_a_to_z_is_ignored_whatever_the_database_calls_a_letter(
    client: TestClient, database: Database, wallet: Callable[[], Wallet]
) -> None:
    if database.engine.dialect.name == "postgresql":
        with database.session() as session:
            named = "SELECT collname FROM pg_collation WHERE lower(collname) LIKE '%utf%8' LIMIT 1"
            other = session.execute(text(named)).scalar_one()
            assert session.execute(text(f"SELECT lower('É' COLLATE \"{other}\")")).scalar() == "é"
            session.execute(text(f'ALTER TABLE gpu ALTER model TYPE text COLLATE "{other}"'))
    signed = listing(wallet(), model="ÉCOLE é")
    client.post("/v1/gpus", json=signed.model_dump(mode="json"))
    for where, found in (("model~Écol", 1), ("model~éCOL", 0), ('model~"e é"', 1)):
        assert len(find(client, where).items) == found


def test_provider(client: TestClient, provider: Wallet, wallet: Callable[[], Wallet]) -> None:
    assert names(client, provider=provider.address.lower()) == set("abcd")
    assert names(client, f"provider={provider.address.lower()} memory=8") == {"d"}
    assert names(client, provider=wallet().address) == set()


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 200])
@pytest.mark.parametrize("query", [{}, {"where": f"price<={wei(300)}"}])
def test_pages_hold_each_gpu_once_in_order(
    client: TestClient, provider: Wallet, limit: int, query: dict[str, Any]
) -> None:
    found: list[tuple[int, str]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = client.get("/v1/gpus", params={"limit": limit, **query, **cursor}).json()
        assert len(page["items"]) <= limit
        found += [(int(gpu["listing"]["base_price"]), gpu["id"]) for gpu in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == sorted(set(found))
    assert len(found) == (3 if query else 4)


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "nonsense"},
        {"cursor": "é"},
        {"limit": 0},
        {"limit": 201},
        {"provider": "0x12"},
        {"region": "us-west"},
    ],
)
def test_a_query_that_makes_no_sense(client: TestClient, query: dict[str, Any]) -> None:
    answer = client.get("/v1/gpus", params=query)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid"
    assert problem["detail"].startswith(next(iter(query)) + ": ")


@pytest.mark.parametrize(
    ("where", "position"),
    [("", 0), ("memory>=24 vram>1", 11), ("name=a\0", 6), ("x" * 1001, 1000), ("price<1e3", 6)],
)
def test_what_is_no_expression_is_refused_with_its_position(
    client: TestClient, where: str, position: int
) -> None:
    answer = client.get("/v1/gpus", params={"where": where})
    problem = wire.Problem.model_validate(answer.json())
    assert (answer.status_code, problem.code) == (422, "invalid-where")
    assert problem.detail.startswith(f"where: position {position}: ")
    assert "reliability" in (problem.hint or "")


def excluded(page: wire.GpuPage) -> dict[str, tuple[int | None, int | None]]:
    assert page.items == []
    assert page.no_match is not None
    assert page.no_match.searched == len(GPUS)
    return {one.condition: (one.excluded, one.alone) for one in page.no_match.conditions}


def test_no_match_counts_what_each_condition_excludes(client: TestClient, provider: Wallet) -> None:
    page = find(client, "memory>=24 region=eu-west cuda<13")
    assert excluded(page) == {
        "memory>=24": (1, 1),
        "region=eu-west": (2, 2),
        "cuda<13": (1, 1),
    }
    page = find(client, "memory>=100 region=eu-west reliability>0.5 !verified")
    assert excluded(page) == {
        "memory>=100": (4, 0),
        "region=eu-west": (2, 0),
        "reliability>0.5": (4, 0),
        "!verified": (0, 0),
    }
    assert excluded(find(client, "name=x name=x")) == {"name=x": (4, 0)}


@pytest.mark.parametrize("limit", [1, 50])
def test_no_match_counts_prices_where_they_are_few(
    client: TestClient, provider: Wallet, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    cheap = "price<0.0000000000000002"
    where = f"{cheap} region=us-west memory>=8"
    assert excluded(find(client, where, limit=limit)) == {
        cheap: (2, 2),
        "region=us-west": (2, 2),
        "memory>=8": (0, 0),
    }
    monkeypatch.setattr(reasons, "MAX_PRICED", len(GPUS) - 1)
    assert excluded(find(client, where, limit=limit)) == {
        cheap: (None, 2),
        "region=us-west": (2, 2),
        "memory>=8": (0, 0),
    }
    both = f"{where} price>0.0000000000000001"
    assert excluded(find(client, both, limit=limit))[cheap] == (None, None)


def test_a_search_that_has_not_seen_all_says_nothing_of_prices(
    client: TestClient, provider: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_BATCHES", 1)
    monkeypatch.setattr(reasons, "MAX_PRICED", 1)
    # The bounds of every price allow it.
    page = find(client, f"price<{wei(90)} memory<=48", limit=1)
    assert page.next_cursor is not None
    assert excluded(page)[f"price<{wei(90).rstrip('0')}"] == (None, None)


def test_only_an_empty_first_page_says_why(client: TestClient, provider: Wallet) -> None:
    first = find(client, "memory>=24", limit=3)
    assert first.no_match is None
    cheapest = find(client, f"price<{wei(200)}", limit=1)
    last = find(client, f"price<{wei(90)}", cursor=cheapest.next_cursor)
    assert (last.items, last.no_match) == ([], None)


def test_an_empty_market_says_so(client: TestClient) -> None:
    page = find(client)
    assert page.no_match == wire.NoMatch(searched=0, conditions=[], taken=0)


def record(context: Context, number: int, **changes: Any) -> None:
    fields = {
        "booking_id": f"0x{number:064x}",
        "closed_at": NOW,
        "booked_seconds": 100,
        "delivered_seconds": 100,
    }
    with context.database.session() as session:
        standing.record(session, [fields | changes])


LONG = 40 * 86_400
"""For so many seconds a machine that was heard counts as there."""


def test_reliability_is_what_was_delivered_of_what_was_booked_in_30_days(
    client: TestClient, provider: Wallet, context: Context, clock: Clock
) -> None:
    gpus = {gpu.listing.name: gpu.id for gpu in find(client).items}
    assert {gpu.reliability_bps for gpu in find(client).items} == {None}
    assert names(client, "reliability>=0") == set()
    record(context, 1, gpu_id=gpus["a"], delivered_seconds=0)
    record(context, 1, gpu_id=gpus["a"])
    record(context, 2, gpu_id=gpus["b"], delivered_seconds=50)
    record(context, 3, gpu_id=gpus["b"], booked_seconds=5, delivered_seconds=0)
    record(context, 4, gpu_id=gpus["c"], delivered_seconds=0, closed_at=NOW - 100)
    shown = {gpu.listing.name: gpu.reliability_bps for gpu in find(client).items}
    assert shown == {"a": 10_000, "b": 4_761, "c": 0, "d": None}
    assert names(client, "reliability>0.98") == {"a"}
    assert names(client, "reliability<=0.4761") == {"b", "c"}
    assert names(client, "reliability!=1") == {"b", "c"}
    assert names(client, "reliability in 1,0.4761") == {"a", "b"}
    with context.database.session() as session:
        standing.heard(session, dict.fromkeys(gpus.values(), ""), NOW, allowed=LONG)
    clock.now += 30 * 86_400 - 100
    assert names(client, "reliability=0") == set()
    assert names(client, "reliability=1") == {"a"}
    clock.now += 100
    assert names(client, "reliability>=0") == set()
    with context.database.session() as session:
        standing.forget(session, [f"0x{1:064x}"])
    clock.now = NOW
    assert names(client, "reliability>0.98") == set()


def test_a_gpu_is_verified_while_its_machine_reports_the_listed_uuid(
    client: TestClient, wallet: Callable[[], Wallet], context: Context, clock: Clock
) -> None:
    made = wallet()
    first = listing(made, gpu_uuid="GPU-1")
    gpu_id = client.post("/v1/gpus", json=first.model_dump(mode="json")).json()["id"]
    bare = listing(made, salt=2, name="bare")
    bare_id = client.post("/v1/gpus", json=bare.model_dump(mode="json")).json()["id"]

    def hear(telemetry: str, heard_id: str = gpu_id) -> set[str]:
        with context.database.session() as session:
            uuids = {heard_id: standing.reported_uuid(telemetry)}
            standing.heard(session, uuids, clock.now, allowed=LONG)
        listed = {gpu.listing.name for gpu in find(client).items if gpu.verified}
        assert listed == names(client, "verified")
        assert names(client, "!verified") == {"My-GPU", "bare"} - listed
        return listed

    for telemetry in (
        "{}",
        "nonsense",
        "[" * 2048,
        '{"gpu_uuid": 1}',
        '{"gpu_uuid": "GPU-2"}',
        '{"gpu_uuid": "\\u0000"}',
    ):
        assert hear(telemetry) == set()
    assert hear('{"gpu_uuid": ""}', bare_id) == set()
    assert hear('{"gpu_uuid": "GPU-1", "gpu_percent": 97}') == {"My-GPU"}
    assert hear("{}") == {"My-GPU"}
    assert hear('{"gpu_uuid": "GPU-2"}') == set()
    assert hear('{"gpu_uuid": "GPU-1"}') == {"My-GPU"}
    clock.now += 30 * 86_400
    assert names(client, "verified") == set()
    clock.now -= 1
    assert names(client, "verified") == {"My-GPU"}
    clock.now = NOW
    second = listing(made, gpu_uuid="GPU-2", version=2)
    client.put(f"/v1/gpus/{gpu_id}", json=second.model_dump(mode="json"))
    assert names(client, "verified") == set()
