"""A NUL, which PostgreSQL takes in no text, is no error of the coordinator wherever it stands."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from market_people import People
from pydantic import BaseModel
from signed import Clock, Wallet, listing, quote_request

from aitbc.protocol import wire
from aitbc.protocol.messages import Heartbeat, Message, Presence, Sighting
from aitbc.protocol.metering import SignedHeartbeat
from aitbc_coordinator.context import Context

NUL = "g-\0zz"


@pytest.fixture
def people(
    context: Context, client: TestClient, clock: Clock, wallet: Callable[[], Wallet]
) -> People:
    """With a funded booking, and a session key that serves it."""
    made = People(context, client, clock, wallet)
    made.heartbeat()
    return made


def queries(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Method, path and query of requests with a NUL in one of their parameters."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                name = parameter["name"]
                if parameter["in"] == "path":
                    yield method, path.replace(f"{{{name}}}", "g-%00zz"), {}
                else:
                    yield method, path, {name: NUL}
    for condition in (f"name={NUL}", f'model~"{NUL}"', f"id in g-000000,{NUL}"):
        yield "get", "/v1/gpus", {"where": condition}


def test_a_nul_in_a_parameter_is_refused(people: People, document: dict[str, Any]) -> None:
    asked = list(queries(document))
    assert len(asked) > 25
    for method, path, query in asked:
        body = listing(people.provider, version=2).model_dump(mode="json")
        answer = people.client.request(method, path, params=query, json=body)
        assert 400 <= answer.status_code < 500, (path, query, answer.text)


def messages(people: People) -> dict[str, tuple[Wallet, str, str, type[BaseModel], Message]]:
    """By what it is: who signs it, where it is sent, and as which part of which body."""
    key, now = people.key, people.clock.now
    sighting = Sighting(gpu_id=people.gpu_id, gpu_uuid="GPU-1")
    presence = Presence(provider=people.provider.address, gpus=(sighting,), signed_at=now)
    beat = Heartbeat(
        booking_id=people.booking_id,
        sequence=1,
        covers_from=now - 10,
        covers_until=now,
        telemetry='{"gpu_uuid": "GPU-1"}',
    )
    offer = listing(people.provider, salt=2, name="other", signed_at=now).listing
    asked = quote_request(people.buyer, people.gpu_id, salt=2, signed_at=now).request
    described = quote_request(people.buyer, "", where="name~a", salt=2, signed_at=now).request
    return {
        "listing": (people.provider, "/gpus", "listing", wire.SignedListing, offer),
        "request": (people.buyer, "/quotes", "request", wire.SignedQuoteRequest, asked),
        "search": (people.buyer, "/quotes", "request", wire.SignedQuoteRequest, described),
        "presence": (key, "/presence", "presence", wire.SignedPresence, presence),
        "heartbeat": (key, "/heartbeats", "heartbeat", SignedHeartbeat, beat),
    }


def with_nul(message: Message) -> Iterator[Message]:
    """A message with a NUL at the end of one of its texts, for each of them."""
    fields = message.types()[type(message).__name__]
    for name, field in zip(type(message).model_fields, fields, strict=True):
        value = getattr(message, name)
        if field["type"] == "string":
            yield message.model_copy(update={name: value + "\0"})
        elif isinstance(value, tuple):
            for part in value:
                yield from (message.model_copy(update={name: (one,)}) for one in with_nul(part))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("listing", {422}),
        ("request", {404, 422}),
        ("search", {422}),
        ("presence", {422}),
        # Telemetry is a provider's own affair, and kept as the JSON that it came in.
        ("heartbeat", {200}),
    ],
)
def test_a_nul_in_a_message_is_refused_unless_it_is_kept_escaped(
    people: People, kind: str, status: set[int]
) -> None:
    signer, path, part, body, message = messages(people)[kind]
    answered = set()
    for one in with_nul(message):
        made = body.model_construct(**{part: one, "signature": signer.sign(one)})
        answered.add(people.send("POST", path, made).status_code)
    assert answered == status
