"""The API fuzzed from its own document: whatever is sent, it answers as it says it does."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from databases import sqlite
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from market_people import People
from pydantic import BaseModel, ValidationError
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from signed import Clock, Wallet, listing
from sqlalchemy import text
from sqlmodel import select

from aitbc.protocol import messages, wire
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.metering import SignedHeartbeat, SignedSessionGrant
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.models import Gpu, Listing, Quote, Reservation
from aitbc_coordinator.settlement import models

EXAMPLES = {GenerationMode.POSITIVE: 12, GenerationMode.NEGATIVE: 6}
"""For each endpoint, of requests that the document allows, and of those that it does not."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


ADDRESS = "0x" + "12" * 20
SECOND = 7
"""Salt of the GPU that is taken off the market, while the other one is booked."""


class Signed(NamedTuple):
    """How the body of an endpoint is made one that its signer has really signed."""

    model: type[BaseModel]
    part: str
    signer: Wallet
    always: dict[str, Any]
    """Fields without which nothing of the rest is looked at."""
    usually: dict[str, Any]
    """Fields without which most requests are refused at the first glance."""


def signed_bodies(people: People) -> dict[str, Signed]:
    """By operation."""
    provider, buyer, key = people.provider, people.buyer, people.key
    now = people.clock.now
    offer = {"region": "us-west", "strategy": "market-balance", "version": 1, "floor_price": "1"}
    offer |= {"available": "", "maintenance_from": 0, "maintenance_until": 0}
    listed = {"provider": provider.address, "signed_at": now}
    again = {"salt": "1", "version": 2}
    off = {"salt": str(SECOND), "version": 2}
    prices = {"base_price": "36000", "ceiling_price": "72000"}
    quote = {"buyer": buyer.address, "gpu_id": people.gpu_id, "signed_at": now}
    slot = {"starts_at": now + 10_000, "duration": 600, "max_price": str(10**9)}
    grant = {"provider": provider.address}
    beat = {"booking_id": people.booking_id}
    seen = {"provider": provider.address, "gpus": [{"gpu_id": people.gpu_id, "gpu_uuid": ""}]}
    times = {"covers_from": now - 10, "covers_until": now, "telemetry": "{}"}
    offers, unlisting = wire.SignedListing, wire.SignedUnlisting
    return {
        "register_gpu": Signed(offers, "listing", provider, listed, offer | prices),
        "update_gpu": Signed(offers, "listing", provider, listed, offer | prices | again),
        "unlist_gpu": Signed(unlisting, "unlisting", provider, listed, off),
        "make_quote": Signed(wire.SignedQuoteRequest, "request", buyer, quote, slot),
        "grant_session": Signed(
            SignedSessionGrant, "grant", provider, grant, {"expires_at": now + 86_400}
        ),
        "post_presence": Signed(wire.SignedPresence, "presence", key, {"signed_at": now}, seen),
        "post_heartbeat": Signed(SignedHeartbeat, "heartbeat", key, beat, times),
    }


def fitting(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, with numbers that are not refused for size or form alone."""

    def fit(value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        is_number = isinstance(value, str) and value.isascii() and value.isdigit()
        return str(int(value) % 2**64) if is_number else value

    return {name: fit(value) for name, value in fields.items()}


def sign(case: Case, how: Signed, left: set[str]) -> None:
    """Sign a generated body, with fields that make sense in place of its own but for `left`."""
    if not isinstance(case.body, dict) or not isinstance(case.body.get(how.part), dict):
        return
    usual = {name: value for name, value in how.usually.items() if name not in left}
    body = {how.part: fitting(case.body[how.part]) | how.always | usual, "signature": "0xff"}
    try:
        message: messages.Message = getattr(how.model.model_validate(body), how.part)
    except ValidationError:
        return
    case.body = body | {"signature": how.signer.sign(message)}


def real_ids(people: People, operation: str) -> dict[str, str]:
    """Of what there is, by the name of a path's parameter."""
    with people.context.database.read() as session:
        quote = session.exec(select(Quote)).first()
        listing = session.exec(select(Listing)).first()
    assert quote is not None
    assert listing is not None
    second = gpu_id(people.provider.address, SECOND)
    return {
        "gpu_id": second if operation == "unlist_gpu" else people.gpu_id,
        "digest": listing.digest,
        "quote_id": quote.id,
        "booking_id": people.booking_id,
    }


def assert_whole(people: People) -> None:
    """That nothing is there in part: every row has what it rests on."""
    domain = people.context.market.domain
    with people.context.database.read() as session:
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        listings = {row.digest: row for row in session.exec(select(Listing))}
        quotes = {row.id: row for row in session.exec(select(Quote))}
        gpus = session.exec(select(Gpu)).all()
        assert len(gpus) > 1
        assert len(quotes) > 1
        for gpu in gpus:
            newest = listings[gpu.digest]
            assert (newest.gpu_id, newest.version) == (gpu.id, gpu.version)
            signed = messages.Listing.model_validate_json(newest.payload)
            assert signed.signer(domain, newest.signature) == gpu.provider
            assert signed.name == gpu.name
        for reservation in session.exec(select(Reservation)):
            quote = quotes[reservation.quote_id]
            assert reservation.gpu_id == quote.gpu_id
            assert reservation.starts_at == quote.starts_at
            assert reservation.ends_at == quote.ends_at
        for quote in quotes.values():
            terms = messages.Terms.model_validate_json(quote.terms)
            assert terms.booking_id(domain) == quote.booking_id
            request = messages.QuoteRequest.model_validate_json(quote.request)
            assert request.signer(domain, quote.request_signature) == quote.buyer
        bookings = {row.id for row in session.exec(select(models.Booking))}
        for beat in session.exec(select(models.Heartbeat)):
            assert beat.booking_id in bookings
        for grant in session.exec(select(models.SessionGrant)):
            signed_grant = messages.SessionGrant.model_validate_json(grant.payload)
            assert signed_grant.signer(domain, grant.signature) == grant.provider


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """One kind of database: the other takes as long again."""
    with sqlite(sqlite_template, tmp_path) as made:
        yield made


@pytest.fixture
def people(
    context: Context, app: FastAPI, client: Any, clock: Clock, wallet: Callable[[], Wallet]
) -> People:
    """With a funded booking that is being served."""
    made = People(context, client, clock, wallet)
    request = made.heartbeat()
    made.send(request.method, request.path, request.body)
    second = listing(made.provider, salt=SECOND, name="second", signed_at=clock.now)
    assert made.send("POST", "/gpus", second).status_code == 201
    return made


@pytest.fixture
def app(context: Context) -> FastAPI:
    unlimited = {"address_requests_per_minute": 0, "wallet_requests_per_minute": 0}
    operated = {"operator_wallets": ADDRESS}
    changed = context.settings.model_copy(update=unlimited | operated)
    return create_app(replace(context, settings=changed), checks=dict, alerts=list)


def modes(operation: Any) -> list[GenerationMode]:
    """Where there is nothing to give, there is nothing to give wrongly."""
    takes = len(operation.body) or len(list(operation.iter_parameters()))
    return [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if takes else [])]


def test_whatever_is_sent_is_answered_as_documented(people: People, app: FastAPI) -> None:
    bodies = signed_bodies(people)
    schema = openapi.from_asgi("/openapi.json", app)
    answered: dict[str, set[int]] = {}

    def fuzz(operation: Any, mode: GenerationMode, *, real: bool = False) -> None:
        name = operation.definition.raw["operationId"]
        ids = real_ids(people, name)

        @settings(
            max_examples=EXAMPLES[mode],
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(data=st.data())
        def answers(data: st.DataObject) -> None:
            case = data.draw(operation.as_strategy(generation_mode=mode))
            if name == "list_hours":
                case.query["region"] = "us-west"
            if real:
                for parameter in set(case.path_parameters or {}) & set(ids):
                    case.path_parameters[parameter] = ids[parameter]
            if real and name in bodies:
                left = st.sets(st.sampled_from(sorted(bodies[name].usually)), max_size=1)
                sign(case, bodies[name], data.draw(left))
            answer = case.call()
            answered.setdefault(name, set()).add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)

        answers()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for found in schema.get_all_operations():
            operation = found.ok()
            for mode in modes(operation):
                fuzz(operation, mode)
            fuzz(operation, GenerationMode.POSITIVE, real=True)
    for name in bodies:
        assert any(status < 300 for status in answered[name]), (name, answered[name])
    assert_whole(people)
