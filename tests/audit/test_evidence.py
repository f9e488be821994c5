"""Evidence bears out a settlement, or the auditor says where it does not."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account

from aitbc.audit.evidence import evidence_problems
from aitbc.protocol import events as ev
from aitbc.protocol.ledger import BookingLine
from aitbc.protocol.messages import Heartbeat, SessionGrant, Terms
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant, meter
from aitbc.signing import sign
from strategies import DOMAIN

START, END = 1_000, 1_060
PROVIDER, SESSION, STRANGER = (Account.from_key("0x" + f"{n}{n}" * 32) for n in (1, 2, 3))
TERMS = Terms(
    buyer=STRANGER.address,
    provider=PROVIDER.address,
    amount=6_000,
    fund_by=START,
    starts_at=START,
    ends_at=END,
    listing="0x" + "00" * 32,
    salt=1,
)
ID = TERMS.booking_id(DOMAIN)


def grant(by: Any = PROVIDER, expires_at: int = END, **changes: object) -> SignedSessionGrant:
    fields = {
        "provider": PROVIDER.address,
        "session_key": SESSION.address,
        "expires_at": expires_at,
    }
    granted = SessionGrant.model_validate(fields | changes)
    return SignedSessionGrant(grant=granted, signature=sign(by, granted, DOMAIN))


def beat(sequence: int, begin: int, end: int, by: Any = SESSION, **changes: object) -> Any:
    fields = {
        "booking_id": ID,
        "sequence": sequence,
        "covers_from": begin,
        "covers_until": end,
        "telemetry": "{}",
    }
    heartbeat = Heartbeat.model_validate(fields | changes)
    return SignedHeartbeat(heartbeat=heartbeat, signature=sign(by, heartbeat, DOMAIN))


def evidence(*beats: SignedHeartbeat, grants: list[SignedSessionGrant] | None = None) -> Evidence:
    found = list(beats) or [beat(1, START, START + 20), beat(2, START + 20, START + 40)]
    return meter(ID, TERMS, [grant()] if grants is None else grants, found)


def line(*events: ev.BookingEvent, disputed_at: int | None = None) -> BookingLine:
    return BookingLine(ID, TERMS, disputed_at=disputed_at, events=list(events))


def place() -> Any:
    return {
        "block_number": 1,
        "block_hash": ID,
        "tx_hash": ID,
        "log_index": 0,
        "timestamp": END,
        "booking_id": ID,
    }


def settled(stated: Evidence, paid: int = 3_960, fee: int = 40, **changes: Any) -> ev.Settled:
    fields: dict[str, Any] = {"evidence": stated.digest(), "refunded": TERMS.amount - paid - fee}
    return ev.Settled(**place(), paid=paid, fee=fee, **(fields | changes))


def claimed(paid: int, fee: int) -> ev.Claimed:
    return ev.Claimed(**place(), paid=paid, fee=fee)


def problems(stated: Evidence, *events: ev.BookingEvent, allowance: int | None = None) -> list[str]:
    return evidence_problems(stated, line(*(events or (settled(stated),))), DOMAIN, allowance)


def test_sound_evidence() -> None:
    stated = evidence()
    assert (stated.used_seconds, stated.earned) == (40, 4_000)
    assert problems(stated) == []


def test_a_settlement_in_full() -> None:
    full = evidence(beat(1, START, END))
    assert problems(full, ev.SettledInFull(**place(), fee=60)) == []
    (problem,) = problems(evidence(), ev.SettledInFull(**place(), fee=60))
    assert "settled in full, the evidence proves 4000" in problem


def test_a_settlement_after_a_claim_pays_the_rest() -> None:
    stated = evidence()
    rest = settled(stated, 2_970, 30, refunded=2_000)
    assert problems(stated, claimed(990, 10), rest) == []
    nothing_left = settled(stated, 0, 0, refunded=2_000)
    assert problems(stated, claimed(3_960, 40), nothing_left) == []


def test_a_settlement_that_withholds_what_was_earned() -> None:
    stated = evidence()
    nothing = settled(stated, 0, 0, refunded=6_000)
    assert problems(stated, nothing) == [
        "the settlement pays 0 in all, due is 4000 by the evidence"
    ]
    no_more = settled(stated, 0, 0, refunded=5_000)
    assert problems(stated, claimed(990, 10), no_more) == [
        "the settlement pays 1000 in all, due is 4000 by the evidence"
    ]


def test_a_dispute_stops_the_meter() -> None:
    beats = [beat(1, START, START + 20), beat(2, START + 20, START + 40)]
    stopped = meter(ID, TERMS, [grant()], beats, START + 30)
    assert (stopped.used_seconds, stopped.earned) == (30, 3_000)
    disputed = line(claimed(2_970, 30), disputed_at=START + 30)
    assert evidence_problems(stopped, disputed, DOMAIN, None) == []
    beyond = line(claimed(3_960, 40), disputed_at=START + 30)
    assert evidence_problems(stopped, beyond, DOMAIN, None) == [
        "claims took 1000 more than the evidence proves"
    ]
    assert evidence_problems(evidence(), disputed, DOMAIN, None) == [
        "the evidence states metered_until 1060, it is 1030",
        "the evidence states used_seconds 40, it is 30",
        "the evidence states earned 4000, it is 3000",
    ]


def test_claims_beyond_the_evidence_are_told() -> None:
    stated = evidence()
    beyond = "claims took 1000 more than the evidence proves"
    takes_nothing_back = settled(stated, 0, 0, refunded=1_000)
    assert problems(stated, claimed(4_950, 50), takes_nothing_back) == [beyond]
    assert problems(stated, claimed(3_960, 40)) == []
    whole = claimed(5_940, 60)
    assert problems(stated, whole) == ["claims took 2000 more than the evidence proves"]


def test_a_heartbeat_longer_than_the_market_takes() -> None:
    stated = evidence()
    assert problems(stated, allowance=20) == []
    assert problems(stated, allowance=None) == []
    (problem,) = problems(stated, allowance=19)
    assert problem == "heartbeat 1 covers 20 seconds, the market takes at most 19"


@pytest.mark.parametrize(
    ("alter", "says"),
    [
        (lambda e: (e, settled(e, evidence="0x" + "ee" * 32)), "carries evidence 0xeeee"),
        (lambda e: (e, settled(e, 3_961, 40)), "pays 4001 in all, due is 4000 by the evidence"),
        (lambda e: (e.model_copy(update={"used_seconds": 41}), None), "states used_seconds 41"),
        (lambda e: (e.model_copy(update={"earned": 4_001}), None), "states earned 4001"),
        (lambda e: (e.model_copy(update={"booking_id": "0x" + "77" * 32}), None), "of another"),
        (
            lambda e: (e.model_copy(update={"terms": TERMS.model_copy(update={"salt": 2})}), None),
            "of other terms",
        ),
        (lambda _: (evidence(grants=[]), None), "not signed by a granted session key"),
        (lambda _: (evidence(grants=[grant(STRANGER)]), None), "was not granted by the provider"),
        (
            lambda _: (evidence(grants=[grant(STRANGER, provider=STRANGER.address)]), None),
            "was not granted by the provider",
        ),
        (lambda _: (evidence(grants=[grant(expires_at=START + 39)]), None), "later than its"),
        (lambda _: (evidence(beat(1, START, START + 40, STRANGER)), None), "not signed by a"),
        (
            lambda _: (evidence(beat(1, START, START + 40, booking_id="0x" + "77" * 32)), None),
            "is of another booking",
        ),
    ],
)
def test_evidence_that_fails(
    alter: Callable[[Evidence], tuple[Evidence, ev.Settled | None]], says: str
) -> None:
    stated, event = alter(evidence())
    found = problems(stated, event or settled(stated))
    assert any(says in problem for problem in found), found


def test_a_grant_counts_to_its_last_second() -> None:
    assert problems(evidence(grants=[grant(expires_at=START + 40)])) == []


def test_a_renewed_grant_counts_to_its_later_end() -> None:
    assert problems(evidence(grants=[grant(expires_at=START), grant(expires_at=END)])) == []
