"""What creates is repeatable: sent again it creates nothing, and is answered as it was."""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from databases import contents
from fastapi import FastAPI
from fastapi.testclient import TestClient
from market_people import People, Request
from servers import serving
from signed import NOW, Clock, Wallet

from aitbc.protocol.messages import SessionGrant
from aitbc.protocol.metering import SignedSessionGrant
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.settlement import heartbeats

LATER = 400
"""Seconds after which a signature is not fresh any more."""
AT_ONCE = 8
SELDOM = "/v1/fundings"
"""Needs a node: its repetitions are with the tests of settlement."""


REQUESTS: tuple[Callable[[People], Request], ...] = (
    People.register,
    People.update,
    People.unlist,
    People.quote,
    People.grant,
    People.heartbeat,
)
CREATES_NOTHING = "/v1/presence"
"""And lapses: its repetitions are with the tests of settlement too."""
SIGNING_IN = {("post", "/v1/sign-in/nonces"), ("post", "/v1/sign-in"), ("delete", "/v1/sign-in")}
"""Each nonce and each token is another one: what is lost expires."""
each_request = pytest.mark.parametrize("request_of", REQUESTS, ids=lambda made: made.__name__)
RequestOf = Callable[[People], Request]


@pytest.fixture
def people(
    context: Context, client: TestClient, clock: Clock, wallet: Callable[[], Wallet]
) -> People:
    return People(context, client, clock, wallet)


def made(request: Request, answer: Any) -> dict[str, Any]:
    """What an answer says was made."""
    assert answer.is_success, answer.text
    return {name: part for name, part in answer.json().items() if name not in request.passing}


def test_every_endpoint_that_creates_is_tried(people: People, document: dict[str, Any]) -> None:
    changing = {
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "get"
    }
    tried = set()
    for request_of in REQUESTS:
        request = request_of(people)
        tried.add((request.method.lower(), request.path.replace(people.gpu_id, "{gpu_id}")))
    assert changing == tried | {("post", SELDOM), ("post", CREATES_NOTHING)} | SIGNING_IN


@each_request
def test_the_same_again_creates_nothing_and_is_answered_as_before(
    people: People, context: Context, request_of: RequestOf
) -> None:
    request = request_of(people)
    before = contents(context.database)
    first = people.send(request.method, request.path, request.body)
    after = contents(context.database)
    assert after != before
    again = people.send(request.method, request.path, request.body)
    assert again.json() == first.json()
    assert again.is_success
    # Long after the first answer was lost.
    people.clock.now += LATER
    late = people.send(request.method, request.path, request.body)
    assert made(request, late) == made(request, first)
    assert contents(context.database) == after


@each_request
def test_many_times_at_once_is_once(
    people: People, context: Context, request_of: RequestOf
) -> None:
    request = request_of(people)
    before = contents(context.database)
    app = people.client.app
    assert isinstance(app, FastAPI)
    body = request.body.model_dump(mode="json")

    def send(_: int) -> Any:
        return TestClient(app).request(request.method, request.path, json=body)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, range(AT_ONCE)))
    assert len({json.dumps(made(request, answer)) for answer in answers}) == 1
    after = contents(context.database)
    new = {table: len(rows) - len(before[table]) for table, rows in after.items()}
    assert all(count <= 1 for count in new.values()), new
    people.send(request.method, request.path, request.body)
    assert contents(context.database) == after


@each_request
def test_something_else_under_the_same_key_is_refused(
    people: People, context: Context, request_of: RequestOf
) -> None:
    request = request_of(people)
    if request.other is None:
        return
    people.send(request.method, request.path, request.body)
    after = contents(context.database)
    refused = people.send(request.method, request.path, request.other)
    assert (refused.status_code, refused.json()["code"]) == (409, request.refused_with)
    assert refused.json()["hint"]
    assert contents(context.database) == after


def test_of_two_grants_at_once_the_longer_counts(people: People, context: Context) -> None:
    def grant(seconds: int) -> SignedSessionGrant:
        message = SessionGrant(
            provider=people.provider.address,
            session_key=people.key.address,
            expires_at=NOW + seconds,
        )
        return SignedSessionGrant(grant=message, signature=people.provider.sign(message))

    people.send("POST", "/sessions", grant(100))
    with ThreadPoolExecutor(1) as pool:
        with context.database.session() as session:
            heartbeats.grant_session(context, session, grant(300))
            shorter = pool.submit(people.send, "POST", "/sessions", grant(200))
            # It has to wait for this transaction.
            with pytest.raises(TimeoutError):
                shorter.result(0.3)
        assert shorter.result(10).status_code == 201
    (row,) = contents(context.database)["session_grant"]
    assert str(NOW + 300) in row


@each_request
def test_who_hangs_up_before_the_answer_may_ask_again(
    people: People, context: Context, request_of: RequestOf
) -> None:
    request = request_of(people)
    before = contents(context.database)
    content = request.body.model_dump_json().encode()
    head = (
        f"{request.method} {request.path} HTTP/1.1\r\nHost: here\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with serving(create_app(context, checks=dict, alerts=list)) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + content)
            time.sleep(0.02)
        deadline = time.monotonic() + 10
        while contents(context.database) == before and time.monotonic() < deadline:
            time.sleep(0.02)
    after = contents(context.database)
    assert after != before
    assert people.send(request.method, request.path, request.body).is_success
    assert contents(context.database) == after
