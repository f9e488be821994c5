"""Classes count their listed GPUs whatever happens, and a search looks at few of them."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signed import NOW, Clock, Wallet, listing, quote_request, unlisting
from sqlalchemy import event
from sqlmodel import select

from aitbc.protocol import wire
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.where import parse
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import classes, reasons, standing
from aitbc_coordinator.market.models import CLASS_COLUMNS, Gpu, GpuClass
from aitbc_coordinator.market.walk import settled

NewWallet = Callable[[], Wallet]
MODELS = ("A", "B", "C")


def post(client: TestClient, path: str, body: Any, method: str = "POST") -> int:
    answer = client.request(method, f"/v1{path}", json=body.model_dump(mode="json"))
    return answer.status_code


def assert_counted(context: Context) -> None:
    """Every class counts its listed GPUs, and none costs less or is heard longer than it says."""
    with context.database.read() as session:
        gpus, rows = session.exec(select(Gpu)).all(), session.exec(select(GpuClass)).all()
    by_id = {row.id: row for row in rows}
    for gpu in gpus:
        alike = by_id[gpu.class_id]
        assert all(getattr(gpu, name) == getattr(alike, name) for name in CLASS_COLUMNS)
        assert alike.cheapest <= gpu.base_price
        assert alike.reachable_until >= gpu.reachable_until
    counted = Counter(gpu.class_id for gpu in gpus if gpu.listed)
    assert {row.id: row.listed for row in rows if row.listed} == dict(counted)


steps = st.lists(
    st.tuples(
        st.sampled_from(("list", "unlist")),
        st.integers(1, 3),
        st.sampled_from(MODELS),
        st.integers(36_000, 40_000),
    ),
    max_size=15,
)


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=steps)
def test_the_counts_follow_every_listing(
    client: TestClient, context: Context, wallet: NewWallet, clock: Clock, steps: list[Any]
) -> None:
    provider, versions = wallet(), Counter[int]()
    listed: dict[int, str] = {}
    for what, salt, model, price in steps:
        clock.now += 1
        fields = {"salt": salt, "version": versions[salt] + 1, "signed_at": clock.now}
        path = f"/gpus/{listed.get(salt, '')}"
        if what == "list":
            offer = {"name": f"gpu-{salt}", "model": model, "base_price": price}
            signed = listing(provider, **fields, **offer)
            first = salt not in listed
            answer = client.request(
                "POST" if first else "PUT",
                "/v1/gpus" if first else f"/v1{path}",
                json=signed.model_dump(mode="json"),
            )
            assert answer.is_success, answer.text
            listed[salt] = answer.json()["id"]
            versions[salt] += 1
        elif salt in listed:
            post(client, path + "/unlist", unlisting(provider, **fields))
        assert_counted(context)


def test_the_counts_are_right_when_many_change_at_once(
    client: TestClient, context: Context, wallet: NewWallet, clock: Clock
) -> None:
    app = client.app
    assert isinstance(app, FastAPI)

    def come_and_go(provider: Wallet) -> None:
        own = TestClient(app)
        gpu_id = ""
        for version, model in enumerate((*MODELS, *reversed(MODELS)), start=1):
            signed = listing(provider, version=version, model=model, base_price=50_000 - version)
            body = signed.model_dump(mode="json")
            if version == 1:
                gpu_id = own.post("/v1/gpus", json=body).json()["id"]
            else:
                assert own.put(f"/v1/gpus/{gpu_id}", json=body).status_code == 200
        if int(provider.address, 16) % 2:
            gone = unlisting(provider, version=7)
            assert post(own, f"/gpus/{gpu_id}/unlist", gone) == 200

    providers = [wallet() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come_and_go, providers))
    assert_counted(context)
    assert clock.now == NOW


def test_what_is_found_may_stop_only_where_no_class_can_change_it() -> None:
    assert settled([1, 2, 3], 4, 3)
    assert not settled([1, 2, 3], 3, 3)
    assert not settled([1, 2], 4, 3)
    assert settled([1, 2], None, 3)


@pytest.fixture
def many_classes(client: TestClient, wallet: NewWallet) -> list[str]:
    """Twenty-four models, each dearer than the one before; their GPUs' ids."""
    provider, ids = wallet(), []
    for number in range(24):
        offer = {"model": f"Model {number:02}", "name": f"gpu-{number}", "salt": number}
        body = listing(provider, **offer, base_price=36_000 + number)
        answer = client.post("/v1/gpus", json=body.model_dump(mode="json"))
        ids.append(answer.json()["id"])
    return ids


def test_a_search_looks_at_no_more_classes_than_it_needs(
    client: TestClient, context: Context, many_classes: list[str]
) -> None:
    read: list[str] = []
    event.listen(
        context.database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: read.append(statement),
    )
    for limit, pages in ((3, 1), (classes.PAGE - 1, 1), (classes.PAGE, 2), (20, 3)):
        read.clear()
        found = client.get("/v1/gpus", params={"where": "model~Model", "limit": limit}).json()
        assert [gpu["id"] for gpu in found["items"]] == many_classes[:limit]
        assert sum("FROM gpu_class" in one and "JOIN" not in one for one in read) == pages


def test_of_many_gpus_only_what_their_classes_have_is_counted(
    client: TestClient, wallet: NewWallet, monkeypatch: pytest.MonkeyPatch, many_classes: list[str]
) -> None:
    monkeypatch.setattr(reasons, "MAX_COUNTED", len(many_classes) - 1)

    def why_none(where: str) -> wire.NoMatch:
        signed = quote_request(wallet(), "", where=where, max_price=2**88 - 1)
        answer = client.post("/v1/quotes", json=signed.model_dump(mode="json"))
        assert answer.json()["code"] == "no-match", answer.text
        return wire.NoMatch.model_validate(answer.json()["no_match"])

    why = why_none("model~Model memory>=99 region=us-west")
    assert (why.searched, why.taken) == (24, 0)
    assert [(one.excluded, one.alone) for one in why.conditions] == [(0, 0), (24, 24), (0, 0)]
    why = why_none('model="Model 03" verified')
    assert why.taken is None
    assert [(one.excluded, one.alone) for one in why.conditions] == [(23, 23), (None, None)]


def test_classes_that_nobody_hears_cost_no_search_anything(
    client: TestClient, context: Context, wallet: NewWallet, clock: Clock
) -> None:
    provider, memory = wallet(), parse("memory>=1", 18)
    gpus = [
        listing(provider, salt=number, name=f"gpu-{number}", model=f"M{number}", signed_at=NOW)
        for number in range(2 * classes.PAGE)
    ]
    assert {post(client, "/gpus", gpu) for gpu in gpus} == {201}
    heard_id = gpu_id(provider.address, 3)

    def alive() -> list[int]:
        with context.database.read() as session:
            pages = list(classes.pages(session, memory, clock.now))
        return [number for page in pages for number in page.class_ids]

    assert len(alive()) == len(gpus)
    clock.now += context.settings.first_presence_seconds
    assert alive() == []
    for _ in range(3):
        with context.database.session() as session:
            standing.heard(session, {heard_id: ""}, clock.now, allowed=100)
        (lives,) = alive()
        with context.database.read() as session:
            assert session.exec(select(Gpu.id).where(Gpu.class_id == lives)).one() == heard_id
        assert_counted(context)
        clock.now += 99
    clock.now += 200
    assert alive() == []
