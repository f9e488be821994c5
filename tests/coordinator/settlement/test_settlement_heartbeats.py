"""Sessions, heartbeats and receipts, without a chain: the funding event is made by hand."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, quote_request

from aitbc.protocol import wire
from aitbc.protocol.events import Cancelled, EscrowEvent, Funded
from aitbc.protocol.messages import Domain, Heartbeat, SessionGrant, Terms
from aitbc.protocol.metering import SignedHeartbeat, SignedSessionGrant, meter
from aitbc_coordinator.context import Context
from aitbc_coordinator.settlement import attestations, outbox, projection, repository

DURATION = 3600


class Served:
    """A funded booking, and what its provider's machine sends."""

    def __init__(
        self, client: TestClient, context: Context, clock: Clock, wallet: Callable[[], Wallet]
    ) -> None:
        self.client, self.context, self.clock = client, context, clock
        self.provider, self.buyer, self.key = wallet(), wallet(), wallet()
        self.log_index = 0
        gpu = self.post("/gpus", listing(self.provider, gpu_uuid="GPU-1"))
        quote = self.post("/quotes", quote_request(self.buyer, gpu.json()["id"]))
        self.terms = wire.SignedQuotes.model_validate(quote.json()).items[0].terms
        self.id = self.terms.booking_id(context.market.domain)
        self.fund(self.terms)
        clock.now = self.terms.starts_at

    def post(self, path: str, body: Any) -> Any:
        return self.client.post("/v1" + path, json=body.model_dump(mode="json"))

    def apply(self, kind: type[EscrowEvent], **fields: Any) -> None:
        self.log_index += 1
        event = kind(
            block_number=1,
            block_hash="0x" + "b1" * 32,
            tx_hash="0x" + "71" * 32,
            log_index=self.log_index,
            timestamp=NOW + 1,
            **fields,
        )
        with self.context.database.session() as session:
            projection.apply(session, [event])

    def fund(self, terms: Terms) -> str:
        booking_id = terms.booking_id(self.context.market.domain)
        self.apply(Funded, booking_id=booking_id, terms=terms)
        return booking_id

    def grant(self, by: Wallet | None = None, **changes: Any) -> Any:
        fields: dict[str, Any] = {
            "provider": self.provider.address,
            "session_key": self.key.address,
            "expires_at": self.clock.now + 86_400,
        }
        message = SessionGrant(**(fields | changes))
        signature = (by or self.provider).sign(message)
        return self.post("/sessions", SignedSessionGrant(grant=message, signature=signature))

    def signed(self, by: Wallet | None = None, **changes: Any) -> SignedHeartbeat:
        """A heartbeat for the last ten seconds."""
        fields: dict[str, Any] = {
            "booking_id": self.id,
            "sequence": 1,
            "covers_from": self.clock.now - 10,
            "covers_until": self.clock.now,
            "telemetry": "{}",
        }
        message = Heartbeat(**(fields | changes))
        return SignedHeartbeat(heartbeat=message, signature=(by or self.key).sign(message))

    def beat(self, **changes: Any) -> Any:
        return self.post("/heartbeats", self.signed(**changes))


@pytest.fixture
def served(
    client: TestClient, context: Context, clock: Clock, wallet: Callable[[], Wallet]
) -> Served:
    made = Served(client, context, clock, wallet)
    clock.now += 100
    return made


def check_refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "\n" not in answer.json()["detail"]


def test_a_session_is_granted_by_its_providers_wallet_alone(
    served: Served, wallet: Callable[[], Wallet]
) -> None:
    assert served.grant().status_code == 201
    check_refused(served.grant(by=wallet()), 403, "wrong-signer")
    check_refused(served.grant(by=served.key), 403, "wrong-signer")


def test_a_grant_for_another_chain_is_refused(served: Served) -> None:
    message = SessionGrant(
        provider=served.provider.address,
        session_key=served.key.address,
        expires_at=served.clock.now + 60,
    )
    foreign = Domain(chain_id=1, escrow=served.context.market.escrow)
    signature = served.provider.sign(message, foreign)
    answer = served.post("/sessions", SignedSessionGrant(grant=message, signature=signature))
    check_refused(answer, 403, "wrong-signer")


@pytest.mark.parametrize("lasts", [-1, 0, 90 * 86_400 + 1])
def test_a_session_lasts_at_most_ninety_days(served: Served, lasts: int) -> None:
    answer = served.grant(expires_at=served.clock.now + lasts)
    check_refused(answer, 403, "session-expired")


def test_an_older_grant_does_not_shorten_a_session(served: Served) -> None:
    served.grant(expires_at=served.clock.now + 1000)
    served.grant(expires_at=served.clock.now + 10)
    served.clock.now += 100
    assert served.beat().status_code == 200


def test_another_providers_grant_of_a_key_does_not_take_it_away(
    served: Served, wallet: Callable[[], Wallet]
) -> None:
    served.grant()
    thief = wallet()
    assert served.grant(by=thief, provider=thief.address).status_code == 201
    assert served.beat().status_code == 200


def test_a_heartbeat_is_metered_and_answered_with_a_receipt(served: Served) -> None:
    served.grant()
    answer = served.beat()
    assert answer.status_code == 200, answer.text
    found = wire.HeartbeatAnswer.model_validate(answer.json())
    assert (found.serve, found.used_seconds) == (True, 10)
    assert found.receipt is not None
    assert found.receipt.receipt.earned == served.terms.amount * 10 // DURATION
    signer = found.receipt.receipt.signer(served.context.market.domain, found.receipt.signature)
    assert signer == served.context.market.attester
    stored = served.client.get(f"/v1/bookings/{served.id}/receipt").json()
    assert stored == answer.json()["receipt"]
    gpu = served.client.get("/v1/gpus", params={"provider": served.provider.address}).json()
    assert gpu["items"][0]["last_seen"] == served.clock.now


def test_a_heartbeat_that_names_the_listed_gpu_verifies_it(served: Served) -> None:
    def verified() -> bool:
        (gpu,) = served.client.get("/v1/gpus").json()["items"]
        return bool(gpu["verified"])

    served.grant()
    for sequence, telemetry in enumerate(('{"gpu_uuid": "GPU-2"}', "{", "{}")):
        assert served.beat(sequence=sequence, telemetry=telemetry).status_code == 200
        assert not verified()
    check_refused(served.beat(telemetry='{"gpu_uuid": "GPU-1"}'), 409, "replayed")
    assert not verified()
    assert served.beat(sequence=9, telemetry='{"gpu_uuid": "GPU-1"}').status_code == 200
    assert verified()


def test_the_last_heartbeat_says_that_service_is_over(served: Served) -> None:
    served.grant()
    served.clock.now = served.terms.ends_at
    assert served.beat().json()["serve"] is False


def test_a_heartbeat_by_anybody_else_is_refused(
    served: Served, wallet: Callable[[], Wallet]
) -> None:
    check_refused(served.beat(), 403, "wrong-signer")
    served.grant()
    check_refused(served.beat(by=wallet()), 403, "wrong-signer")
    check_refused(served.beat(by=served.provider), 403, "wrong-signer")
    other = wallet()
    served.grant(by=other, provider=other.address, session_key=other.address)
    check_refused(served.beat(by=other), 403, "wrong-signer")


def test_an_expired_session_is_refused(served: Served) -> None:
    served.grant(expires_at=served.clock.now + 10)
    served.clock.now += 10
    check_refused(served.beat(), 403, "wrong-signer")


@pytest.mark.parametrize(("beyond", "status"), [(0, 200), (1, 403)])
def test_a_session_covers_no_time_after_its_end(served: Served, beyond: int, status: int) -> None:
    expires_at = served.clock.now + 2
    served.grant(expires_at=expires_at)
    assert served.beat(covers_until=expires_at + beyond).status_code == status


def test_a_replayed_heartbeat_is_refused_and_a_repeated_one_is_answered_again(
    served: Served,
) -> None:
    served.grant()
    first = served.signed(sequence=5)
    answer = served.post("/heartbeats", first)
    served.clock.now += 1000
    again = served.post("/heartbeats", first)
    assert (again.status_code, again.json()) == (200, answer.json())
    check_refused(served.beat(sequence=5), 409, "replayed")
    check_refused(served.beat(sequence=4), 409, "replayed")
    assert served.beat(sequence=6).status_code == 200
    check_refused(served.post("/heartbeats", first), 409, "replayed")


@pytest.mark.parametrize(
    ("begin", "end"), [(0, 0), (0, -1), (-10, 6), (-31, 0), (-61, -31), (-100_000, -99_990)]
)
def test_a_heartbeat_covers_a_short_time_that_has_just_passed(
    served: Served, begin: int, end: int
) -> None:
    served.grant()
    now = served.clock.now
    answer = served.beat(covers_from=now + begin, covers_until=now + end)
    check_refused(answer, 403, "stale-heartbeat")


@pytest.mark.parametrize(("begin", "end"), [(-25, 5), (-30, 0), (-31, -30), (-60, -30)])
def test_the_edges_of_what_may_be_covered(served: Served, begin: int, end: int) -> None:
    served.grant()
    now = served.clock.now
    answer = served.beat(covers_from=now + begin, covers_until=now + end)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("base", "begin", "end"), [("starts_at", -1, 5), ("ends_at", -5, 1)])
def test_a_heartbeat_stays_inside_its_booking(
    served: Served, base: str, begin: int, end: int
) -> None:
    served.grant()
    edge = getattr(served.terms, base)
    served.clock.now = edge + 5
    answer = served.beat(covers_from=edge + begin, covers_until=edge + end)
    check_refused(answer, 422, "outside-booking")


def test_bookings_that_take_no_heartbeats(served: Served) -> None:
    served.grant()
    check_refused(served.beat(booking_id="0x" + "ab" * 32), 404, "unknown-booking")
    foreign = served.fund(served.terms.model_copy(update={"amount": 7, "salt": 99}))
    check_refused(served.beat(booking_id=foreign), 409, "booking-closed")
    served.apply(
        Cancelled,
        booking_id=served.id,
        by=served.provider.address,
        refunded=served.terms.amount,
    )
    check_refused(served.beat(), 409, "booking-closed")


def test_an_attested_booking_takes_no_more_heartbeats(served: Served) -> None:
    served.grant()
    assert served.beat().status_code == 200
    attestations.attest(served.context, [served.id])
    check_refused(served.beat(sequence=2), 409, "booking-closed")
    attestations.attest(served.context, [served.id])
    with served.context.database.read() as session:
        found = outbox.find_attestation(session, served.id)
    assert found is not None
    assert found.used_seconds == 10


def test_the_last_heartbeat_is_answered_again_when_its_booking_is_over(served: Served) -> None:
    served.grant()
    served.clock.now = served.terms.ends_at
    last = served.signed(sequence=1)
    answer = served.post("/heartbeats", last)
    assert answer.json()["receipt"] is not None
    attestations.attest(served.context, [served.id])
    assert served.post("/heartbeats", last).json() == answer.json()
    served.apply(
        Cancelled,
        booking_id=served.id,
        by=served.provider.address,
        refunded=served.terms.amount,
    )
    served.clock.now = served.terms.starts_at + 1
    assert served.post("/heartbeats", last).json() == answer.json()
    check_refused(served.beat(sequence=2), 409, "booking-closed")


@pytest.mark.parametrize("seed", range(3))
def test_the_running_meter_agrees_with_the_evidence(served: Served, seed: int) -> None:
    served.grant()
    chance = random.Random(seed)
    answers = []
    for sequence in range(25):
        served.clock.now += chance.randrange(0, 25)
        begin = max(served.terms.starts_at, served.clock.now - chance.randrange(1, 55))
        end = begin + chance.randrange(1, 31)
        answer = served.beat(sequence=sequence, covers_from=begin, covers_until=end)
        if answer.status_code == 200:
            answers.append(wire.HeartbeatAnswer.model_validate(answer.json()))
    receipts = [answer.receipt.receipt.earned for answer in answers if answer.receipt]
    assert len(answers) > 5
    assert receipts == sorted(receipts)
    attestations.attest(served.context, [served.id])
    evidence = served.client.get(f"/v1/bookings/{served.id}/evidence").json()
    assert evidence["used_seconds"] == answers[-1].used_seconds
    heartbeats = [SignedHeartbeat.model_validate(item) for item in evidence["heartbeats"]]
    grants = [SignedSessionGrant.model_validate(item) for item in evidence["grants"]]
    again = meter(served.id, served.terms, grants, heartbeats)
    assert again.model_dump(mode="json") == evidence
    with served.context.database.read() as session:
        stored = outbox.find_attestation(session, served.id)
        receipt = repository.find_receipt(session, served.id)
    assert stored is not None
    assert receipt is not None
    assert stored.evidence_digest == again.digest()
    assert receipt.earned == stored.earned == again.earned


def test_receipts_and_evidence_that_are_not_there_yet(served: Served) -> None:
    for what in ("receipt", "evidence"):
        answer = served.client.get(f"/v1/bookings/{served.id}/{what}")
        check_refused(answer, 404, f"no-{what}")
        answer = served.client.get(f"/v1/bookings/b-zzzzzzzzzz/{what}")
        check_refused(answer, 404, "unknown-booking")
