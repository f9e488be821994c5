"""Limits: how often an address and a wallet may ask, and how slowly a body may come."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import sqlite
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError
from servers import serving
from signed import NOW, Clock, Wallet, listing, quote_request, unlisting

from aitbc.protocol import wire
from aitbc_coordinator.api import middleware
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.api.limits import client_of
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.errors import Contended, TooManyRequests
from aitbc_coordinator.market import worth
from aitbc_coordinator.rate_limit import RateLimit
from aitbc_coordinator.settings import Settings

NewWallet = Callable[[], Wallet]


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """None of this is about databases: one kind is enough."""
    with sqlite(sqlite_template, tmp_path) as made:
        yield made


def app_of(context: Context, **settings: Any) -> FastAPI:
    changed = context.settings.model_copy(update=settings)
    return create_app(replace(context, settings=changed), checks=dict, alerts=list)


def client_at(app: FastAPI, address: str) -> TestClient:
    return TestClient(app, client=(address, 50_000))


def check_too_many(answer: Any) -> int:
    """That an answer is a clear 429; the seconds that it says to wait."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = wire.Problem.model_validate(answer.json())
    assert problem.code == "too-many-requests"
    wait = int(answer.headers["Retry-After"])
    assert f"in {wait} s" in (problem.hint or "")
    return wait


def wait_for_a_new_minute(seconds: int) -> None:
    """Until a window begins that is long enough for what follows."""
    if 60 - time.time() % 60 < seconds:
        time.sleep(60 - time.time() % 60)


def spend(limit: RateLimit, times: int) -> None:
    for _ in range(times):
        limit.spend("somebody")


def test_a_client_that_waits_as_told_is_served_again() -> None:
    limit = RateLimit(4, window_seconds=2)
    for _ in range(3):
        with pytest.raises(TooManyRequests) as refused:
            spend(limit, 5)
        wait = int(refused.value.headers["Retry-After"])
        assert 1 <= wait <= 3
        time.sleep(wait)
        limit.spend("somebody")


def test_what_was_counted_is_forgotten() -> None:
    limit = RateLimit(4, window_seconds=1)
    for number in range(500):
        limit.spend(f"client {number}")
    storage: Any = limit._counters.storage
    assert len(storage.storage) == 500
    time.sleep(2.1)
    limit.spend("another")
    time.sleep(0.2)
    assert len(storage.storage) == len(storage.locks) == 1


def test_each_address_has_its_own_count(context: Context) -> None:
    app = app_of(context, address_requests_per_minute=3)
    wait_for_a_new_minute(5)
    first, second = client_at(app, "192.0.2.1"), client_at(app, "192.0.2.2")
    for _ in range(3):
        assert first.get("/v1/market").status_code == 200
    assert 1 <= check_too_many(first.get("/v1/market")) <= 61
    assert second.get("/v1/market").status_code == 200
    # Nor does a refusal depend on what is asked for.
    check_too_many(first.post("/v1/quotes", content=b"{"))
    check_too_many(first.get("/nothing"))


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_always_told(context: Context, path: str) -> None:
    client = client_at(app_of(context, address_requests_per_minute=1), "192.0.2.1")
    for _ in range(5):
        assert client.get(path).status_code == 200


def test_zero_is_no_limit(context: Context, wallet: NewWallet) -> None:
    app = app_of(context, address_requests_per_minute=0, wallet_requests_per_minute=0)
    client = client_at(app, "192.0.2.1")
    gpu_id = listed(client, wallet())
    buyer = wallet()
    for salt in range(5):
        start = {"starts_at": NOW + 60 + 3600 * salt, "salt": salt}
        assert post(client, "/quotes", quote_request(buyer, gpu_id, **start)).status_code == 201


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nonsense" * 100, "a client without an address"),
    ],
)
def test_what_counts_as_one_client(address: str, client: str) -> None:
    assert client_of({"type": "http", "client": (address, 1)}) == client


def test_a_client_without_an_address_counts_too() -> None:
    assert client_of({"type": "http", "client": None}) == "a client without an address"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "counted"),
    [
        ("", "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("192.0.2.9", "192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.0/24, 203.0.113.1", "192.0.2.1", "198.51.100.7", "198.51.100.7"),
        # What a client itself has written there stands before what the proxy adds.
        ("192.0.2.1", "192.0.2.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("192.0.2.1, 192.0.2.2", "192.0.2.1", "198.51.100.7, 192.0.2.2", "198.51.100.7"),
    ],
)
def test_only_trusted_proxies_name_the_client(
    *, context: Context, trusted: str, peer: str, forwarded: str, counted: str
) -> None:
    app = app_of(context, address_requests_per_minute=1, trusted_proxies=trusted)
    answers = [
        client_at(app, peer).get("/v1/market", headers={"X-Forwarded-For": forwarded})
        for _ in range(3)
    ]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["detail"].startswith(f"{counted} has made")


@pytest.mark.parametrize("proxies", ["*", "proxy", "192.0.2.1/24", "192.0.2.0/33", "1.2.3"])
def test_a_trusted_proxy_is_an_address_or_a_network(settings: Settings, proxies: str) -> None:
    with pytest.raises(ValidationError, match="no address and no network"):
        Settings(**(settings.model_dump() | {"trusted_proxies": proxies}))


# Wallets


def post(client: TestClient, path: str, body: Any) -> Any:
    return client.post("/v1" + path, json=body.model_dump(mode="json"))


def listed(client: TestClient, provider: Wallet, **changes: Any) -> str:
    answer = post(client, "/gpus", listing(provider, **changes))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def strict(context: Context) -> TestClient:
    """Three new signed requests a minute for each wallet."""
    wait_for_a_new_minute(10)
    return TestClient(app_of(context, wallet_requests_per_minute=3))


def test_a_wallet_has_a_count_wherever_it_asks_from(
    context: Context, strict: TestClient, wallet: NewWallet
) -> None:
    gpu_id, buyer, other = listed(strict, wallet()), wallet(), wallet()
    app = strict.app
    assert isinstance(app, FastAPI)

    def ask(by: Wallet, number: int) -> Any:
        start = {"starts_at": NOW + 60 + 3600 * number, "salt": number}
        client = client_at(app, f"192.0.2.{number}")
        return post(client, "/quotes", quote_request(by, gpu_id, **start))

    assert [ask(buyer, number).status_code for number in range(3)] == [201] * 3
    refused = ask(buyer, 3)
    check_too_many(refused)
    assert buyer.address in refused.json()["detail"]
    assert ask(other, 3).status_code == 201
    # The same requests again make nothing, and are answered.
    assert [ask(buyer, number).status_code for number in range(3)] == [200] * 3


def test_nobody_uses_up_the_requests_of_another(strict: TestClient, wallet: NewWallet) -> None:
    provider, buyer, thief = wallet(), wallet(), wallet()
    first, second = listing(provider), listing(provider, version=2, name="Other")
    gpu_id = post(strict, "/gpus", first).json()["id"]
    assert put(strict, gpu_id, second).status_code == 200
    request = quote_request(buyer, gpu_id)
    forged = request.model_copy(update={"signature": thief.sign(request.request)})
    for _ in range(5):
        # Everybody can read and repeat a listing; nobody can sign one.
        assert post(strict, "/gpus", first).status_code == 409
        assert put(strict, gpu_id, second).status_code == 200
        assert post(strict, "/quotes", forged).status_code == 403
    assert post(strict, "/quotes", request).status_code == 201
    third = listing(provider, version=3, name="Third")
    assert put(strict, gpu_id, third).status_code == 200
    check_too_many(put(strict, gpu_id, listing(provider, version=4)))


def put(client: TestClient, gpu_id: str, signed: wire.SignedListing) -> Any:
    return client.put(f"/v1/gpus/{gpu_id}", json=signed.model_dump(mode="json"))


def test_listings_are_counted(strict: TestClient, wallet: NewWallet) -> None:
    provider = wallet()
    for salt in range(1, 4):
        gpu_id = listed(strict, provider, salt=salt, name=f"gpu {salt}")
    check_too_many(post(strict, "/gpus", listing(provider, salt=4, name="gpu 4")))
    check_too_many(put(strict, gpu_id, listing(provider, salt=3, version=2)))
    off = post(strict, f"/gpus/{gpu_id}/unlist", unlisting(provider, salt=3))
    check_too_many(off)
    # What is refused changes nothing.
    assert strict.get(f"/v1/gpus/{gpu_id}").json()["listed"] is True


# Bodies


def send_slowly(port: int, head: bytes, drops: int) -> bytes:
    """What is answered to a request whose body comes a byte each tenth of a second."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        try:
            for _ in range(drops):
                connection.sendall(b" ")
                time.sleep(0.1)
        except OSError:
            pass
        answer = bytearray()
        while piece := connection.recv(65_536):
            answer += piece
        return bytes(answer)


HEAD = b"POST /v1/quotes HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"


def test_a_body_that_comes_too_slowly_is_refused_and_its_connection_ends(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "MAX_BODY_SECONDS", 1)
    with serving(app_of(context)) as port:
        began = time.monotonic()
        answer = send_slowly(port, HEAD, drops=12)
        assert time.monotonic() - began < 3
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert b'"code":"too-slow"' in answer


def test_a_body_in_time_is_read(
    context: Context, wallet: NewWallet, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(middleware, "MAX_BODY_SECONDS", 1)
    with serving(app_of(context)) as port:
        answer = send_slowly(port, HEAD.replace(b"1000", b"5"), drops=4)
        assert answer.startswith(b"HTTP/1.1 408 ")
        connection = HEAD.replace(b"1000", b"4\r\nConnection: close")
        assert send_slowly(port, connection, drops=4).startswith(b"HTTP/1.1 422 ")


def test_a_request_that_is_tried_again_counts_once(
    context: Context, wallet: NewWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(app_of(context, wallet_requests_per_minute=1))
    wait_for_a_new_minute(10)
    counted, attempts = worth.minimum, []

    def contended_at_first(*given: Any) -> Any:
        attempts.append(given)
        if len(attempts) < 3:
            raise Contended
        return counted(*given)

    gpu = client.post("/v1/gpus", json=listing(wallet()).model_dump(mode="json")).json()
    monkeypatch.setattr(worth, "minimum", contended_at_first)
    buyer = wallet()
    for salt, status in ((1, 201), (2, 429)):
        request = quote_request(buyer, gpu["id"], salt=salt, starts_at=NOW + salt * 10_000)
        answer = client.post("/v1/quotes", json=request.model_dump(mode="json"))
        assert answer.status_code == status, answer.text
    assert len(attempts) == 3
