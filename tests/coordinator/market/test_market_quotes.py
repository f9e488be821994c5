"""Quotes: priced, signed, holding the GPU, and refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, quote_request, unlisting

from aitbc.protocol import messages, units, wire
from aitbc.protocol.pricing import price
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import reservations

NewWallet = Callable[[], Wallet]
SetChainTime = Callable[[int], None]
HOLD = 60


@pytest.fixture
def provider(wallet: NewWallet) -> Wallet:
    return wallet()


@pytest.fixture
def buyer(wallet: NewWallet) -> Wallet:
    return wallet()


@pytest.fixture
def gpu_id(client: TestClient, provider: Wallet) -> str:
    return register(client, listing(provider))


def register(client: TestClient, signed: wire.SignedListing) -> str:
    answer = client.post("/v1/gpus", json=signed.model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ask(client: TestClient, signed: wire.SignedQuoteRequest, status: int = 201) -> dict[str, Any]:
    answer = client.post("/v1/quotes", json=signed.model_dump(mode="json"))
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def quoted(client: TestClient, signed: wire.SignedQuoteRequest) -> wire.SignedQuote:
    (quote,) = wire.SignedQuotes.model_validate(ask(client, signed)).items
    return quote


def test_a_quote_carries_all_that_a_buyer_checks(
    client: TestClient, context: Context, provider: Wallet, buyer: Wallet, gpu_id: str
) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id))
    domain = context.market.domain
    assert quote.gpu.listing.signer(domain, quote.gpu.signature) == provider.address
    assert quote.terms == messages.Terms(
        buyer=buyer.address,
        provider=provider.address,
        amount=units.price_of(quote.price.per_hour, 3600),
        fund_by=NOW + HOLD,
        starts_at=NOW + HOLD,
        ends_at=NOW + HOLD + 3600,
        listing="0x" + quote.gpu.listing.digest(domain).hex(),
        salt=1,
    )
    assert quote.booking_id == quote.terms.booking_id(domain)
    assert quote.price == price(quote.inputs)
    assert quote.inputs.starts_at == quote.terms.starts_at
    commitment = messages.Quote(
        booking_id=quote.booking_id,
        price=quote.price.per_hour,
        pricing=quote.inputs.digest(),
        minimum=quote.minimum,
    )
    assert commitment.signer(domain, quote.signature) == context.market.attester
    assert client.get(f"/v1/quotes/{quote.id}").json() == quote.model_dump(mode="json")


def test_a_later_start_is_quoted_as_asked(client: TestClient, buyer: Wallet, gpu_id: str) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id, starts_at=NOW + 1000, duration=61))
    assert (quote.terms.starts_at, quote.terms.ends_at) == (NOW + 1000, NOW + 1061)
    assert quote.terms.fund_by == NOW + HOLD
    assert quote.terms.amount == -(-quote.price.per_hour * 61 // 3600)


def test_the_same_request_gets_the_same_quote(
    client: TestClient, buyer: Wallet, gpu_id: str, clock: Clock
) -> None:
    request = quote_request(buyer, gpu_id)
    first = ask(client, request)
    clock.now += 1000
    assert ask(client, request, 200) == first


def test_a_salt_stands_for_one_request(
    client: TestClient, buyer: Wallet, wallet: NewWallet, gpu_id: str
) -> None:
    ask(client, quote_request(buyer, gpu_id))
    other = quote_request(buyer, gpu_id, duration=120)
    assert ask(client, other, 409)["code"] == "salt-reused"
    later = {"starts_at": NOW + 100_000}
    ask(client, quote_request(wallet(), gpu_id, **later))


def test_a_held_gpu_is_taken_and_says_when_it_is_free(
    client: TestClient, buyer: Wallet, wallet: NewWallet, gpu_id: str
) -> None:
    ask(client, quote_request(buyer, gpu_id))
    ask(client, quote_request(buyer, gpu_id, starts_at=NOW + HOLD + 3700, salt=2))
    refused = ask(client, quote_request(wallet(), gpu_id, duration=200), 409)
    assert refused["code"] == "taken"
    # The gap of 100 s between the two is too short.
    assert f"free from {NOW + HOLD + 3700 + 3600}" in refused["detail"]
    in_the_gap = quote_request(wallet(), gpu_id, starts_at=NOW + HOLD + 3600, duration=100)
    ask(client, in_the_gap)
    assert client.get(f"/v1/gpus/{gpu_id}").json()["free_from"] == NOW


def test_what_is_reserved_now_shows_in_free_from(
    client: TestClient, buyer: Wallet, gpu_id: str, clock: Clock
) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id))
    clock.now = quote.terms.starts_at
    assert client.get(f"/v1/gpus/{gpu_id}").json()["free_from"] == quote.terms.ends_at


def test_a_hold_lapses_by_the_chains_clock_alone(
    *,
    client: TestClient,
    buyer: Wallet,
    wallet: NewWallet,
    gpu_id: str,
    clock: Clock,
    set_chain_time: SetChainTime,
) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id))
    clock.now = quote.terms.fund_by + 100
    again = {"signed_at": clock.now}
    assert ask(client, quote_request(wallet(), gpu_id, **again), 409)["code"] == "taken"
    set_chain_time(quote.terms.fund_by - 1)
    assert ask(client, quote_request(wallet(), gpu_id, **again), 409)["code"] == "taken"
    set_chain_time(quote.terms.fund_by)
    assert client.get(f"/v1/gpus/{gpu_id}").json()["free_from"] == clock.now
    ask(client, quote_request(wallet(), gpu_id, **again))


def test_what_is_funded_does_not_lapse(
    *,
    client: TestClient,
    context: Context,
    buyer: Wallet,
    wallet: NewWallet,
    gpu_id: str,
    set_chain_time: SetChainTime,
) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id))
    with context.database.session() as session:
        assert reservations.confirm(session, quote.booking_id) is not None
    set_chain_time(quote.terms.fund_by + 1)
    assert ask(client, quote_request(wallet(), gpu_id), 409)["code"] == "taken"


def test_sixteen_buyers_want_one_slot_and_one_gets_it(
    client: TestClient, wallet: NewWallet, gpu_id: str
) -> None:
    app = client.app
    assert isinstance(app, FastAPI)

    def attempt(buyer: Wallet) -> tuple[int, str | None]:
        signed = quote_request(buyer, gpu_id).model_dump(mode="json")
        answer = TestClient(app).post("/v1/quotes", json=signed)
        return answer.status_code, answer.json().get("code")

    buyers = [wallet() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, buyers))
    assert sorted(answers, key=str) == [(201, None)] + [(409, "taken")] * 15


def test_the_same_request_sixteen_times_at_once_is_one_quote(
    client: TestClient, buyer: Wallet, gpu_id: str
) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    signed = quote_request(buyer, gpu_id).model_dump(mode="json")

    def attempt(_: int) -> tuple[int, str]:
        answer = TestClient(app).post("/v1/quotes", json=signed)
        return answer.status_code, answer.json()["items"][0]["id"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(16)))
    assert sorted(status for status, _ in answers) == [200] * 15 + [201]
    assert len({quote_id for _, quote_id in answers}) == 1


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"duration": 59}, 422, "too-short"),
        ({"duration": 30 * 86_400 + 1}, 422, "too-long"),
        ({"starts_at": NOW + HOLD - 1}, 422, "starts-too-soon"),
        ({"starts_at": NOW + 30 * 86_400 + 1}, 422, "starts-too-late"),
        ({"max_price": 35_999}, 409, "too-expensive"),
        ({"gpu_id": "g-zzzzzz"}, 404, "unknown-gpu"),
        ({"gpu_id": "g-\x00zz"}, 404, "unknown-gpu"),
        ({"signed_at": NOW - 301}, 403, "stale-signature"),
        ({"signed_at": NOW + 301}, 403, "stale-signature"),
    ],
)
def test_what_cannot_be_quoted(
    *,
    client: TestClient,
    buyer: Wallet,
    gpu_id: str,
    changes: dict[str, Any],
    status: int,
    code: str,
) -> None:
    refused = ask(client, quote_request(buyer, **({"gpu_id": gpu_id} | changes)), status)
    assert refused["code"] == code
    assert refused["hint"]
    # Nothing was held.
    ask(client, quote_request(buyer, gpu_id, max_price=36_000))


def test_the_limits_themselves_are_allowed(client: TestClient, buyer: Wallet, gpu_id: str) -> None:
    ask(client, quote_request(buyer, gpu_id, duration=60, starts_at=NOW + HOLD))
    last = {"duration": 30 * 86_400, "starts_at": NOW + 30 * 86_400, "salt": 2}
    ask(client, quote_request(buyer, gpu_id, **last))


def test_an_amount_that_no_escrow_can_hold_is_refused(
    client: TestClient, provider: Wallet, buyer: Wallet
) -> None:
    huge = 2**88 - 1
    gpu_id = register(client, listing(provider, base_price=huge, ceiling_price=huge))
    request = quote_request(buyer, gpu_id, duration=7200, max_price=huge)
    assert ask(client, request, 409)["code"] == "too-expensive"


def test_only_the_buyers_own_signature_counts(
    client: TestClient, buyer: Wallet, wallet: NewWallet, gpu_id: str
) -> None:
    signed = quote_request(buyer, gpu_id)
    thief = wallet()
    elsewhere = buyer.domain.model_copy(update={"chain_id": 1})
    for signature in (thief.sign(signed.request), buyer.sign(signed.request, elsewhere), "0xff"):
        forged = signed.model_copy(update={"signature": signature})
        assert ask(client, forged, 403)["code"] == "wrong-signer"
    ask(client, signed)


def test_an_unlisted_gpu_is_not_quoted_and_keeps_its_bookings(
    client: TestClient, provider: Wallet, buyer: Wallet, gpu_id: str
) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id))
    signed = unlisting(provider).model_dump(mode="json")
    assert client.post(f"/v1/gpus/{gpu_id}/unlist", json=signed).status_code == 200
    assert ask(client, quote_request(buyer, gpu_id, salt=2), 409)["code"] == "not-listed"
    assert client.get(f"/v1/quotes/{quote.id}").status_code == 200


def test_a_quote_keeps_its_listing_when_the_gpu_changes(
    client: TestClient, provider: Wallet, buyer: Wallet, gpu_id: str
) -> None:
    quote = quoted(client, quote_request(buyer, gpu_id))
    changed = listing(provider, version=2, base_price=50_000).model_dump(mode="json")
    assert client.put(f"/v1/gpus/{gpu_id}", json=changed).status_code == 200
    assert client.get(f"/v1/quotes/{quote.id}").json() == quote.model_dump(mode="json")


@pytest.mark.parametrize("quote_id", ["q-0000000000", "x", "q-%00", "q" * 200])
def test_a_quote_that_does_not_exist(client: TestClient, quote_id: str) -> None:
    answer = client.get(f"/v1/quotes/{quote_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-quote")


def test_what_starts_as_soon_as_possible_can_be_paid_until_then(
    context: Context, buyer: Wallet, gpu_id: str
) -> None:
    """Though the second ends while it is quoted: the contract takes nothing that starts earlier."""
    seconds = count(NOW)
    app = create_app(replace(context, now=lambda: next(seconds)), checks=dict, alerts=list)
    made = quoted(TestClient(app), quote_request(buyer, gpu_id))
    assert made.terms.fund_by == made.terms.starts_at
