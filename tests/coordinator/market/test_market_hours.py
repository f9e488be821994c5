"""The market's hours: recorded once, from what is listed and funded, and what prices rest on."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, quote_request, unlisting

from aitbc.protocol import wire
from aitbc.protocol.pricing import NO_HOUR, next_level
from aitbc.protocol.regions import REGIONS
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market import hours, repository, reservations

HOUR = 3_600
THIS_HOUR = NOW // HOUR * HOUR
DAY = 24 * HOUR


@pytest.fixture
def provider(wallet: Callable[[], Wallet]) -> Wallet:
    return wallet()


@pytest.fixture
def buyer(wallet: Callable[[], Wallet]) -> Wallet:
    return wallet()


def register(client: TestClient, provider: Wallet, salt: int, **changes: Any) -> str:
    signed = listing(provider, salt=salt, name=f"GPU {salt}", **changes)
    answer = client.post("/v1/gpus", json=signed.model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def quote(client: TestClient, buyer: Wallet, gpu_id: str, **changes: Any) -> wire.SignedQuote:
    signed = quote_request(buyer, gpu_id, **changes)
    answer = client.post("/v1/quotes", json=signed.model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return wire.SignedQuotes.model_validate(answer.json()).items[0]


def fund(context: Context, quoted: wire.SignedQuote) -> None:
    with context.database.session() as session:
        assert reservations.confirm(session, quoted.booking_id) is not None


def recorded(client: TestClient, region: str = "us-west", **query: Any) -> list[wire.RegionHour]:
    answer = client.get("/v1/market/hours", params={"region": region, **query})
    assert answer.status_code == 200, answer.text
    return wire.RegionHourPage.model_validate(answer.json()).items


def test_an_hour_counts_what_is_listed_and_funded(
    client: TestClient, context: Context, provider: Wallet, buyer: Wallet, clock: Clock
) -> None:
    ids = [register(client, provider, salt) for salt in range(5)]
    register(client, provider, 9, region="eu-west")
    fund(context, quote(client, buyer, ids[0], duration=2 * DAY, salt=1))
    quote(client, buyer, ids[1], duration=2 * DAY, salt=2)  # held, and not paid for
    fund(context, quote(client, buyer, ids[2], duration=60, salt=3))  # over by the next hour
    fund(context, quote(client, buyer, ids[3], starts_at=NOW + DAY, salt=4))  # not yet begun
    gone = unlisting(provider, salt=4).model_dump(mode="json")
    assert client.post(f"/v1/gpus/{ids[4]}/unlist", json=gone).status_code == 200
    clock.now += HOUR
    hours.record(context)
    (west,) = recorded(client)
    assert west == wire.RegionHour(
        region="us-west",
        starts_at=THIS_HOUR + HOUR,
        listed=4,
        booked=1,
        utilisation_bps=2_500,
        level_before_bps=10_000,
        level_bps=9_700,
    )
    assert [(h.listed, h.booked) for h in recorded(client, "eu-west")] == [(1, 0)]
    assert [(h.listed, h.level_bps) for h in recorded(client, "sa-east")] == [(0, 10_000)]


def test_what_begins_or_ends_on_the_hour(
    client: TestClient, context: Context, provider: Wallet, buyer: Wallet, clock: Clock
) -> None:
    gpu = register(client, provider, 1)
    start = THIS_HOUR + HOUR
    fund(context, quote(client, buyer, gpu, starts_at=start, duration=HOUR))
    clock.now = start
    hours.record(context)
    clock.now = start + HOUR
    hours.record(context)
    assert [h.booked for h in recorded(client)] == [0, 1]


def test_every_level_follows_from_the_hour_before(
    client: TestClient, context: Context, provider: Wallet, buyer: Wallet, clock: Clock
) -> None:
    gpu = register(client, provider, 1)
    register(client, provider, 2)
    booked = quote(client, buyer, gpu, duration=10 * HOUR)
    fund(context, booked)
    for _ in range(4):
        hours.record(context)
        clock.now += HOUR
    shown = recorded(client)[::-1]
    assert [h.starts_at for h in shown] == [THIS_HOUR + i * HOUR for i in range(4)]
    level = 10_000
    for hour in shown:
        assert hour.level_before_bps == level
        level = next_level(level, hour.listed, hour.booked)
        assert hour.level_bps == level
    assert level == 10_000 - 300 - 3 * 200


def test_an_hour_is_recorded_once(
    client: TestClient, context: Context, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours.record(context)
    first = recorded(client)

    def count(*_: Any) -> None:
        raise AssertionError("what is recorded is not counted again")

    monkeypatch.setattr(repository, "listed_and_booked", count)
    clock.now = THIS_HOUR + HOUR - 1
    hours.record(context)
    clock.now = THIS_HOUR - HOUR
    hours.record(context)
    assert recorded(client) == first
    assert {len(recorded(client, region)) for region in REGIONS} == {1}


@pytest.mark.parametrize(("missed", "made_up"), [(1, 1), (23, 23), (24, 24), (500, 24)])
def test_missed_hours_repeat_what_was_last_seen(
    *,
    client: TestClient,
    context: Context,
    provider: Wallet,
    clock: Clock,
    missed: int,
    made_up: int,
) -> None:
    register(client, provider, 1)
    hours.record(context)
    register(client, provider, 2)
    clock.now += (missed + 1) * HOUR
    hours.record(context)
    shown = recorded(client)
    assert [h.listed for h in shown] == [2] + [1] * (made_up + 1)
    assert shown[0].starts_at == THIS_HOUR + (missed + 1) * HOUR
    assert shown[0].starts_at - shown[-2].starts_at == made_up * HOUR
    for later, earlier in itertools.pairwise(shown):
        assert later.level_before_bps == earlier.level_bps


def test_replicas_may_record_at_once(
    client: TestClient, context: Context, database: Database, provider: Wallet, clock: Clock
) -> None:
    register(client, provider, 1)
    hours.record(context)
    clock.now += 5 * HOUR
    url = database.engine.url.render_as_string(hide_password=False)
    others = [replace(context, database=Database(url)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hours.record, others))
    for other in others:
        other.database.close()
    assert [h.starts_at for h in recorded(client)] == [
        THIS_HOUR + i * HOUR for i in range(5, -1, -1)
    ]


def test_a_slower_replica_keeps_what_a_quicker_one_recorded(
    client: TestClient,
    context: Context,
    provider: Wallet,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = repository.listed_and_booked

    def count_slowly(*arguments: Any) -> dict[str, tuple[int, int]]:
        counted = count(*arguments)
        monkeypatch.setattr(repository, "listed_and_booked", count)
        register(client, provider, 1)
        hours.record(context)
        return counted

    monkeypatch.setattr(repository, "listed_and_booked", count_slowly)
    hours.record(context)
    assert [h.listed for h in recorded(client)] == [1]


def test_a_price_rests_on_the_newest_hour_alone(
    *,
    client: TestClient,
    context: Context,
    provider: Wallet,
    buyer: Wallet,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [register(client, provider, salt) for salt in range(2)]
    before = quote(client, buyer, ids[0], duration=DAY, salt=1)
    assert (before.inputs.hour, before.price.per_hour) == (NO_HOUR, 36_000)
    fund(context, before)
    clock.now += HOUR
    hours.record(context)

    def count(*_: Any) -> None:
        raise AssertionError("a quote looks at no other GPU")

    monkeypatch.setattr(repository, "listed_and_booked", count)
    fresh = {"signed_at": clock.now}
    after = quote(client, buyer, ids[1], salt=2, duration=60, **fresh)
    assert after.inputs.hour.model_dump() == {
        "starts_at": THIS_HOUR + HOUR,
        "listed": 2,
        "booked": 1,
        "level_before_bps": 10_000,
    }
    assert after.price.per_hour == 36_000 * 9_800 // 10_000
    fund(context, after)
    later = {"starts_at": after.terms.ends_at, **fresh}
    again = quote(client, buyer, ids[1], salt=3, duration=60, **later)
    assert again.inputs.hour == after.inputs.hour
    shown = client.get(f"/v1/gpus/{ids[1]}").json()["current_price"]
    assert shown["per_hour"] == str(again.price.per_hour)


def test_hours_are_shown_page_by_page(client: TestClient, context: Context, clock: Clock) -> None:
    for _ in range(5):
        hours.record(context)
        clock.now += HOUR
    starts = [THIS_HOUR + i * HOUR for i in range(4, -1, -1)]
    assert [h.starts_at for h in recorded(client)] == starts
    bounded = recorded(client, **{"from": starts[3], "until": starts[1]})
    assert [h.starts_at for h in bounded] == starts[1:4]
    found, cursor = [], None
    while True:
        query = {"region": "us-west", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/market/hours", params=query).json()
        found += [hour["starts_at"] for hour in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == 2
    assert found == starts


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ({}, "invalid", "region"),
        ({"region": "moon"}, "unknown-region", "moon"),
        ({"region": "us-west", "from": "-1"}, "invalid", "from"),
        ({"region": "us-west", "until": "soon"}, "invalid", "until"),
        ({"region": "us-west", "limit": "201"}, "invalid", "limit"),
        ({"region": "us-west", "cursor": "x"}, "invalid", "cursor"),
        ({"region": "us-west", "more": "1"}, "invalid", "more"),
    ],
    ids=str,
)
def test_bad_queries(client: TestClient, query: dict[str, str], code: str, says: str) -> None:
    answer = client.get("/v1/market/hours", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert says in answer.json()["detail"]
