"""A listed GPU whose machine falls silent is told of once, each time."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from signed import Clock, Wallet, listing, unlisting
from sqlmodel import col, select

from aitbc_coordinator.context import Context
from aitbc_coordinator.market import standing
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.webhooks import silence
from aitbc_coordinator.webhooks.messages import GpuData, Message
from aitbc_coordinator.webhooks.models import WebhookMessage
from aitbc_coordinator.webhooks.silence import LOOK_SECONDS, Silence

FIRST = 3600
ALLOWED = 180


@pytest.fixture
def settings(settings: Settings) -> Settings:
    update = {"webhook_url": "http://127.0.0.1:1/", "first_presence_seconds": FIRST}
    return settings.model_copy(update=update)


@pytest.fixture
def provider(wallet: Callable[[], Wallet]) -> Wallet:
    return wallet()


@pytest.fixture
def gpu_id(client: TestClient, provider: Wallet) -> str:
    return list_gpu(client, provider, name="Silent")


def list_gpu(client: TestClient, provider: Wallet, **changes: object) -> str:
    body = listing(provider, **changes).model_dump(mode="json")
    answer = client.post("/v1/gpus", json=body)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def hear(context: Context, gpu_id: str) -> None:
    with context.database.session() as session:
        standing.heard(session, {gpu_id: ""}, context.now(), allowed=ALLOWED)


def rows(context: Context) -> list[WebhookMessage]:
    with context.database.read() as session:
        return list(session.exec(select(WebhookMessage).order_by(col(WebhookMessage.number))))


def test_each_silence_is_told_once(
    context: Context, clock: Clock, gpu_id: str, provider: Wallet
) -> None:
    watch = Silence(context)
    heard_at = clock.now
    hear(context, gpu_id)
    clock.now += ALLOWED - 1
    watch.look()
    assert rows(context) == []
    for _ in range(3):
        clock.now += LOOK_SECONDS
        watch.look()
    [row] = rows(context)
    message = Message.model_validate_json(row.body)
    assert (message.type, message.timestamp) == ("offline", heard_at + ALLOWED)
    assert message.data == GpuData(
        gpu_id=gpu_id, name="Silent", provider=provider.address, last_seen=heard_at
    )
    assert row.block_number is row.booking_id is None

    hear(context, gpu_id)
    Silence(context).look()
    clock.now += ALLOWED
    watch.look()
    assert len({row.id for row in rows(context)}) == 2


def test_a_machine_that_was_never_heard_is_told_of(
    context: Context, clock: Clock, gpu_id: str
) -> None:
    watch = Silence(context)
    clock.now += FIRST - 1
    watch.look()
    assert rows(context) == []
    clock.now += LOOK_SECONDS
    watch.look()
    [row] = rows(context)
    data = Message.model_validate_json(row.body).data
    assert isinstance(data, GpuData)
    assert data.last_seen is None


def test_what_is_not_listed_is_not_told_of(
    context: Context, clock: Clock, client: TestClient, gpu_id: str, provider: Wallet
) -> None:
    watch = Silence(context)
    hear(context, gpu_id)
    body = unlisting(provider).model_dump(mode="json")
    assert client.post(f"/v1/gpus/{gpu_id}/unlist", json=body).is_success
    clock.now += ALLOWED
    watch.look()
    assert rows(context) == []


def test_machines_that_nobody_could_hear_are_waited_for(
    context: Context, clock: Clock, gpu_id: str
) -> None:
    hear(context, gpu_id)
    clock.now += 3 * ALLOWED
    began_again = Silence(context)
    clock.now += ALLOWED - 1
    began_again.look()
    assert rows(context) == []
    clock.now += 1
    began_again.look()
    assert len(rows(context)) == 1


def test_what_fell_silent_long_ago_is_no_news(context: Context, clock: Clock, gpu_id: str) -> None:
    hear(context, gpu_id)
    watch = Silence(context)
    clock.now += ALLOWED + silence.REMEMBERED_SECONDS
    watch.look()
    assert rows(context) == []


def test_many_are_told_in_several_transactions(
    context: Context,
    clock: Clock,
    client: TestClient,
    provider: Wallet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silence, "MOST_AT_ONCE", 2)
    for number in range(3):
        gpu_id = list_gpu(client, provider, salt=number, name=f"GPU-{number}")
        hear(context, gpu_id)
    watch = Silence(context)
    clock.now += ALLOWED
    watch.look()
    assert len(rows(context)) == 2
    watch.look()
    assert len(rows(context)) == 3
