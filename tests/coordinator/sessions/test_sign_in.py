"""Nonces and tokens: used once, shared by replicas, gone when they expire or are given back."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock
from sqlmodel import select
from visitors import PRIVATE, SIGN_IN, Visitor, assert_not_signed_in, bearer, refused

from aitbc.protocol import wire
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.sessions.access import NONCE_SECONDS
from aitbc_coordinator.sessions.endpoints import MOST_SIGN_INS
from aitbc_coordinator.sessions.models import AccessToken, SignInNonce


def rows(context: Context) -> list[Any]:
    with context.database.read() as session:
        return [*session.exec(select(SignInNonce)), *session.exec(select(AccessToken))]


def test_who_signs_in_reads_until_it_expires(visitor: Visitor, clock: Clock) -> None:
    answer = visitor.send(visitor.message())
    assert answer.status_code == 201
    given = wire.AccessToken.model_validate(answer.json())
    assert (given.address, given.expires_at) == (visitor.account.address, NOW + 900)
    assert given.token not in repr(given)
    assert visitor.get(PRIVATE, given.token).status_code == 200
    clock.now += 899
    assert visitor.get(PRIVATE, given.token).status_code == 200
    clock.now += 1
    assert_not_signed_in(visitor.get(PRIVATE, given.token))


def test_a_token_is_random_and_kept_as_its_digest_alone(visitor: Visitor, context: Context) -> None:
    tokens = {visitor.token() for _ in range(4)}
    assert len(tokens) == 4
    # 256 bits in base64.
    assert all(len(token) == 43 for token in tokens)
    kept = rows(context)
    assert {row.digest for row in kept} == {hashlib.sha256(t.encode()).hexdigest() for t in tokens}
    assert not any(token in repr(kept) for token in tokens)


def test_a_nonce_is_good_once(visitor: Visitor, stranger: Callable[[], Visitor]) -> None:
    nonce = visitor.nonce()
    message = visitor.message(nonce=nonce)
    assert visitor.send(message).status_code == 201
    refused(visitor.send(message), 403, "unknown-nonce")
    other = stranger()
    refused(other.send(other.message(nonce=nonce)), 403, "unknown-nonce")


def test_a_nonce_expires(visitor: Visitor, clock: Clock) -> None:
    nonce = visitor.nonce()
    clock.now += NONCE_SECONDS
    late = {"nonce": nonce, "issued_at": clock.now, "expires_at": clock.now + 60}
    refused(visitor.send(visitor.message(**late)), 403, "unknown-nonce")


def test_of_many_at_once_one_uses_the_nonce(visitor: Visitor, context: Context) -> None:
    message = visitor.message()
    # As replicas do: each with an application of its own, over the same database.
    others = [
        replace(visitor, client=TestClient(create_app(context, checks=dict, alerts=list)))
        for _ in range(6)
    ]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda other: other.send(message), others))
    assert sorted(answer.status_code for answer in answers) == [201, *[403] * 5]
    (token,) = (answer.json()["token"] for answer in answers if answer.is_success)
    assert all(other.get(PRIVATE, token).status_code == 200 for other in others)


def test_what_has_expired_is_deleted(visitor: Visitor, context: Context, clock: Clock) -> None:
    visitor.token()
    visitor.nonce()
    clock.now += NONCE_SECONDS
    visitor.nonce()
    assert [type(row) for row in rows(context)] == [SignInNonce, AccessToken]
    clock.now += 900
    fresh = visitor.nonce()
    assert [row.nonce for row in rows(context)] == [fresh]


def test_a_token_that_was_given_back(visitor: Visitor) -> None:
    token, other = visitor.token(), visitor.token()
    answer = visitor.client.delete(SIGN_IN, headers=bearer(token))
    assert (answer.status_code, answer.content) == (204, b"")
    assert_not_signed_in(visitor.get(PRIVATE, token))
    assert_not_signed_in(visitor.client.delete(SIGN_IN, headers=bearer(token)))
    assert visitor.get(PRIVATE, other).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic eDp5",
        "Bearer a b",
        "Bearer \xff",
        "Bearer " + "a" * 9_000,
    ],
)
def test_no_token_or_none_that_could_be_one(client: TestClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    assert_not_signed_in(client.get(PRIVATE, headers=headers))
    assert_not_signed_in(client.delete(SIGN_IN, headers=headers))


def test_a_token_of_another_coordinator(
    visitor: Visitor, context: Context, sqlite_template: Path, tmp_path: Path
) -> None:
    token = visitor.token()
    copy = tmp_path / "other.db"
    copy.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{copy}")
    moved = context.settings.model_copy(update={"public_url": "https://other.example.com"})
    other = create_app(
        replace(context, database=database, settings=moved), checks=dict, alerts=list
    )
    with TestClient(other) as client:
        elsewhere = Visitor(visitor.account, client)
        assert_not_signed_in(elsewhere.get(PRIVATE, token))
        # Nor can its messages be handed on: they are for another domain.
        refused(elsewhere.send(elsewhere.message()), 403, "wrong-domain")
    database.close()


def test_an_address_signs_in_so_often(visitor: Visitor) -> None:
    asked = [visitor.client.post(f"{SIGN_IN}/nonces") for _ in range(2 * MOST_SIGN_INS)]
    taken = [answer for answer in asked if answer.status_code == 201]
    # More than once as many only where the limit's minute passes meanwhile.
    assert MOST_SIGN_INS <= len(taken) < len(asked)
    assert int(asked[-1].headers["Retry-After"]) > 0
    refused(asked[-1], 429, "too-many-requests")
    refused(visitor.send("a" * 100), 429, "too-many-requests")
    assert visitor.client.get("/v1/market").status_code == 200


def test_a_wallet_signs_in_so_often(visitor: Visitor, context: Context) -> None:
    few = context.settings.model_copy(update={"wallet_requests_per_minute": 1})
    with TestClient(create_app(replace(context, settings=few), checks=dict, alerts=list)) as client:
        seldom = replace(visitor, client=client)
        first = seldom.message()
        assert seldom.send(first).status_code == 201
        # A repetition, which anybody can send, does not count.
        refused(seldom.send(first), 403, "unknown-nonce")
        more = (seldom.message() for _ in range(4))
        second = next(text for text in more if seldom.send(text).status_code == 429)
    # What is refused uses no nonce up.
    assert visitor.send(second).status_code == 201


def test_the_log_has_no_token_and_no_nonce(visitor: Visitor, log: Any) -> None:
    nonce = visitor.nonce()
    token = visitor.token(nonce=nonce)
    visitor.get(PRIVATE, token)
    assert "/v1/sign-in" in log.getvalue()
    assert token not in log.getvalue()
    assert nonce not in log.getvalue()
