"""Presences: a GPU whose machine is not heard leaves the market, and comes back by itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, quote_request
from sqlalchemy import Engine, event

from aitbc.protocol.ids import gpu_id
from aitbc.protocol.messages import MAX_SIGHTINGS, Presence, SessionGrant, Sighting
from aitbc.protocol.metering import CLOCK_TOLERANCE_SECONDS, SignedSessionGrant
from aitbc.protocol.wire import SignedPresence
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import TooManyRequests
from aitbc_coordinator.market import hours, repository
from aitbc_coordinator.settings import Settings

UUID = "GPU-1"


class Host:
    """A provider with a listed GPU, and its machine."""

    def __init__(
        self, context: Context, client: TestClient, clock: Clock, wallets: Callable[[], Wallet]
    ) -> None:
        self.context, self.client, self.clock = context, client, clock
        self.wallet, self.key, self.buyer = wallets(), wallets(), wallets()
        self.gpu = self.register()
        self.grant(NOW + 86_400)

    def post(self, path: str, body: Any) -> Any:
        return self.client.post(f"/v1{path}", json=body.model_dump(mode="json"))

    def register(self, **changes: Any) -> str:
        fields = {"gpu_uuid": UUID, "signed_at": self.clock.now}
        answer = self.post("/gpus", listing(self.wallet, **(fields | changes)))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def grant(self, expires_at: int) -> None:
        grant = SessionGrant(
            provider=self.wallet.address, session_key=self.key.address, expires_at=expires_at
        )
        signed = SignedSessionGrant(grant=grant, signature=self.wallet.sign(grant))
        assert self.post("/sessions", signed).status_code == 201

    def presence(self, *gpus: str, key: Wallet | None = None, **changes: Any) -> SignedPresence:
        sightings = tuple(Sighting(gpu_id=one, gpu_uuid=UUID) for one in gpus or (self.gpu,))
        fields = {
            "provider": self.wallet.address,
            "gpus": sightings,
            "signed_at": self.clock.now,
        }
        message = Presence.model_validate(fields | changes)
        return SignedPresence(presence=message, signature=(key or self.key).sign(message))

    def appear(self, **changes: Any) -> Any:
        return self.post("/presence", self.presence(**changes))

    def quote(self, gpu_id: str | None = None, **changes: Any) -> tuple[int, Any]:
        named, salt = self.gpu if gpu_id is None else gpu_id, self.clock.now
        fields = {"signed_at": self.clock.now, "salt": salt, "duration": 60, "starts_at": salt + 60}
        answer = self.post("/quotes", quote_request(self.buyer, named, **(fields | changes)))
        return answer.status_code, answer.json().get("code")

    def found(self) -> list[str]:
        return [gpu["id"] for gpu in self.client.get("/v1/gpus").json()["items"]]

    def view(self) -> Any:
        return self.client.get(f"/v1/gpus/{self.gpu}").json()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the defaults of a market that runs."""
    default = Settings.model_fields["first_presence_seconds"].default
    return settings.model_copy(update={"first_presence_seconds": default})


@pytest.fixture
def host(context: Context, client: TestClient, clock: Clock, wallet: Callable[[], Wallet]) -> Host:
    return Host(context, client, clock, wallet)


def test_a_machine_that_is_not_heard_any_more_leaves_and_returns(
    host: Host, settings: Settings
) -> None:
    answer = host.appear()
    assert answer.status_code == 200
    leaves_at = NOW + settings.unreachable_seconds
    assert answer.json() == {"reachable_until": leaves_at}
    assert host.view()["last_seen"] == NOW
    assert host.view()["reachable_until"] == leaves_at

    host.clock.now = leaves_at - 1
    assert host.found() == [host.gpu]
    assert host.quote() == (201, None)
    host.clock.now = leaves_at
    assert host.found() == []
    assert host.quote() == (409, "unreachable")
    described = {"gpu_id": "", "where": "memory>=24", "max_price": 2**88 - 1}
    assert host.quote(**described) == (409, "no-match")

    assert host.appear().status_code == 200
    assert host.found() == [host.gpu]
    assert host.quote(starts_at=NOW + 3600) == (201, None)
    assert host.view()["reachable_until"] == leaves_at + settings.unreachable_seconds


def test_a_new_gpu_has_its_time_to_appear(host: Host, settings: Settings) -> None:
    assert host.view()["last_seen"] is None
    host.clock.now = NOW + settings.first_presence_seconds - 1
    assert host.found() == [host.gpu]
    assert host.quote() == (201, None)
    host.clock.now += 1
    assert host.found() == []
    answer = host.post(
        "/quotes", quote_request(host.buyer, host.gpu, salt=2, signed_at=host.clock.now)
    )
    assert answer.json()["code"] == "unreachable"
    assert "never" in answer.json()["detail"]
    assert "aitbc provider serve" in answer.json()["hint"]


def test_a_new_listing_of_a_gpu_brings_no_machine_back(host: Host, settings: Settings) -> None:
    host.clock.now = NOW + settings.first_presence_seconds
    second = listing(host.wallet, version=2, gpu_uuid=UUID, signed_at=host.clock.now)
    body = second.model_dump(mode="json")
    assert host.client.put(f"/v1/gpus/{host.gpu}", json=body).status_code == 200
    assert host.found() == []


def test_what_cannot_be_reached_is_not_listed_in_its_regions_hours(
    host: Host, settings: Settings
) -> None:
    host.appear()

    def counted(at: int) -> dict[str, tuple[int, int]]:
        with host.context.database.read() as session:
            return repository.listed_and_booked(session, at)

    leaves_at = NOW + settings.unreachable_seconds
    assert counted(leaves_at - 1) == {"us-west": (1, 0)}
    assert counted(leaves_at) == {}
    host.clock.now = NOW // 3600 * 3600 + 7200
    hours.record(host.context)
    hour = host.client.get("/v1/market/hours?region=us-west").json()["items"][0]
    assert hour["listed"] == 0


def test_an_idle_machine_verifies_its_gpu(host: Host) -> None:
    assert not host.view()["verified"]
    host.appear()
    assert host.view()["verified"]
    host.clock.now += 1
    host.appear(gpus=(Sighting(gpu_id=host.gpu, gpu_uuid=""),))
    assert host.view()["verified"]
    host.clock.now += 1
    host.appear(gpus=(Sighting(gpu_id=host.gpu, gpu_uuid="GPU-2"),))
    assert not host.view()["verified"]


def test_what_was_said_before_changes_nothing(host: Host) -> None:
    first = host.presence()
    assert host.post("/presence", first).status_code == 200
    host.clock.now += 60
    second = host.presence(gpus=(Sighting(gpu_id=host.gpu, gpu_uuid="GPU-2"),))
    assert host.post("/presence", second).status_code == 200
    seen = host.view()
    for again in (first, second, first):
        assert host.post("/presence", again).status_code == 200
        assert host.view() == seen
    assert seen["last_seen"] == NOW + 60
    assert not seen["verified"]


def test_a_repetition_spends_none_of_the_keys_requests(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[str] = []
    monkeypatch.setattr(type(host.context.wallets), "spend", lambda _, who: spent.append(who))
    body = host.presence()
    for _ in range(3):
        host.post("/presence", body)
    assert spent.count(host.key.address) == 1


@pytest.fixture
def updates() -> Iterator[list[str]]:
    """The statements that changed a row since the test began."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE"):
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


def test_it_takes_three_statements_for_many_gpus_and_none_for_what_is_known(
    host: Host, updates: list[str]
) -> None:
    names = [host.gpu] + [
        host.register(salt=number, name=str(number), gpu_uuid=f"GPU-{number}")
        for number in range(2, 6)
    ]
    body = host.presence(
        gpus=tuple(Sighting(gpu_id=one, gpu_uuid=f"GPU-{n}") for n, one in enumerate(names, 1))
    )
    del updates[:]
    assert host.post("/presence", body).status_code == 200
    assert len(updates) == 3
    assert all(gpu["verified"] for gpu in host.client.get("/v1/gpus").json()["items"])
    assert host.post("/presence", body).status_code == 200
    assert len(updates) == 3


def test_whoever_says_too_much_changes_nothing(
    host: Host, updates: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_limit: Any, who: str) -> None:
        if who == host.key.address:
            raise TooManyRequests(f"{who} asks too often", retry_after=1)

    monkeypatch.setattr(type(host.context.wallets), "spend", refuse)
    del updates[:]
    assert host.appear().status_code == 429
    assert updates == []


def test_another_uuid_in_the_same_second_is_news(host: Host) -> None:
    host.appear()
    assert host.view()["verified"]
    host.appear(gpus=(Sighting(gpu_id=host.gpu, gpu_uuid="GPU-2"),))
    assert not host.view()["verified"]


def test_only_a_session_key_of_the_provider_speaks(host: Host, wallet: Any) -> None:
    for key in (host.wallet, wallet()):
        answer = host.appear(key=key)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong-signer")
    host.clock.now = NOW + 86_400
    answer = host.appear()
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong-signer")
    assert host.view()["last_seen"] is None


def test_it_speaks_for_its_own_gpus_only(host: Host, wallet: Any) -> None:
    other = wallet()
    assert host.post("/gpus", listing(other, gpu_uuid="GPU-2")).status_code == 201
    theirs = gpu_id(other.address, 1)
    answer = host.post("/presence", host.presence(host.gpu, theirs))
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-gpu")
    assert theirs in answer.json()["detail"]
    assert host.gpu not in answer.json()["detail"]
    assert host.view()["last_seen"] is None


@pytest.mark.parametrize("ahead", [False, True])
def test_a_time_too_far_from_the_clock_is_refused(
    host: Host, settings: Settings, *, ahead: bool
) -> None:
    within = NOW + CLOCK_TOLERANCE_SECONDS if ahead else NOW - settings.unreachable_seconds + 1
    beyond = within + 1 if ahead else within - 1
    answer = host.appear(signed_at=beyond)
    assert (answer.status_code, answer.json()["code"]) == (403, "stale-signature")
    assert host.view()["last_seen"] is None
    assert host.appear(signed_at=within).status_code == 200
    assert host.view()["reachable_until"] == within + settings.unreachable_seconds


def test_a_presence_is_bounded(host: Host) -> None:
    def sent(count: int) -> Any:
        body = host.presence().model_dump(mode="json")
        body["presence"]["gpus"] = body["presence"]["gpus"] * count
        return host.client.post("/v1/presence", json=body)

    for count in (0, MAX_SIGHTINGS + 1):
        assert sent(count).status_code == 422
