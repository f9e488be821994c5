"""A receiver that fails at first is told of a real booking, and of its GPU, by real webhooks."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from brief_market import GAS_MONEY, SETTINGS
from people import Buyer, Provider

from local_market import LocalMarket, open_market
from wallets import give_operator_keys
from webhook_receiver import Receiver, hang_up, receiving, status

PATIENCE_SECONDS = 90
BOOKED_SECONDS = 6


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        made.answers = [status(500), hang_up]
        yield made


@pytest.fixture
def market(tmp_path: Path, receiver: Receiver) -> Iterator[LocalMarket]:
    settings = {**SETTINGS, "unreachable_seconds": "4", "webhook_url": receiver.url}
    made = open_market(tmp_path, native=True, settings=settings, give_keys=give_operator_keys)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.timeout(600)
def test_a_booking_and_its_gpu_are_told_of(market: LocalMarket, receiver: Receiver) -> None:
    provider, buyer = Provider(market), Buyer(market)
    market.fund(buyer.address, GAS_MONEY, 10**18)
    gpu_id = provider.list_gpu(name="Told-of")
    provider.open_session()
    quote = buyer.quote(gpu_id, BOOKED_SECONDS)
    buyer.fund(quote.terms)
    provider.deliver(quote.booking_id, quote.terms, BOOKED_SECONDS)

    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(set(receiver.ids)) < 4 or len(receiver.requests) < 6:
        assert time.monotonic() < deadline, receiver.ids
        time.sleep(0.2)
    secret = (market.folder / "coordinator" / "webhook-secret").read_text().strip()
    told = {request.id: request.verified(secret) for request in receiver.requests}
    by_type = {message["type"]: message["data"] for message in told.values()}
    assert set(by_type) == {"booked", "started", "paid", "offline"}
    assert by_type["offline"]["gpu_id"] == gpu_id
    for kind in ("booked", "started", "paid"):
        assert by_type[kind]["booking_id"] == quote.booking_id
        assert by_type[kind]["amount"] == str(quote.terms.amount)
    booking = buyer.coordinator.booking(quote.booking_id)
    money = [int(by_type["paid"][name]) for name in ("paid", "fee", "refunded")]
    assert money == [booking.paid, booking.fee, booking.refunded]
    assert money[0] > 0
    assert {message["escrow"] for message in told.values()} == {market.escrow}

    ready = httpx.get(f"{market.coordinator_url}/readyz").json()
    assert ready["checks"]["webhooks"] == "ok"
    assert secret not in market.coordinator.log.read_text()
