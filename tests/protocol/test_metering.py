"""Metering counts each delivered second once, and pays for no other."""

from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.messages import Heartbeat, SessionGrant, Terms
from aitbc.protocol.metering import (
    SignedHeartbeat,
    SignedSessionGrant,
    earned,
    meter,
    used_seconds,
)
from aitbc.protocol.states import clock_cap
from strategies import DOMAIN, amounts

START, END = 100, 160
SIGNATURE = "0x" + "11" * 65
PROVIDER = "0x" + "22" * 20
intervals = st.lists(st.tuples(st.integers(0, 250), st.integers(0, 250)), max_size=12)


@given(intervals=intervals)
def test_used_seconds_are_those_that_some_interval_covers(
    intervals: list[tuple[int, int]],
) -> None:
    covered = {
        second for begin, end in intervals for second in range(begin, end) if START <= second < END
    }
    assert used_seconds(intervals, START, END) == len(covered)


@given(intervals=intervals, data=st.data())
def test_order_and_repetition_change_nothing(
    intervals: list[tuple[int, int]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations([*intervals, *intervals]))
    assert used_seconds(shuffled, START, END) == used_seconds(intervals, START, END)


def test_contiguous_half_open_intervals_are_exact() -> None:
    assert used_seconds([(100, 130), (130, 160)], START, END) == 60
    assert used_seconds([(100, 129), (130, 160)], START, END) == 59
    assert used_seconds([(0, 250)], START, END) == 60
    assert used_seconds([(160, 250), (0, 100)], START, END) == 0
    assert used_seconds([], START, END) == 0


def terms(amount: int, start: int = START, end: int = END) -> Terms:
    return Terms(
        buyer="0x" + "33" * 20,
        provider=PROVIDER,
        amount=amount,
        fund_by=start,
        starts_at=start,
        ends_at=end,
        listing="0x" + "44" * 32,
        salt=5,
    )


@given(amount=amounts, length=st.integers(1, 10**6), used=st.integers(0, 10**6))
def test_earned_is_rounded_down_and_never_ahead_of_the_clock(
    amount: int, length: int, used: int
) -> None:
    used = min(used, length)
    money = earned(amount, used, length)
    assert 0 <= amount * used - money * length < length
    booked = terms(amount, START, START + length)
    assert money == clock_cap(booked, START + used)


def heartbeat(sequence: int, begin: int, end: int) -> SignedHeartbeat:
    beat = Heartbeat(
        booking_id="0x" + "55" * 32,
        sequence=sequence,
        covers_from=begin,
        covers_until=end,
        telemetry="{}",
    )
    return SignedHeartbeat(heartbeat=beat, signature=SIGNATURE)


def grant(key: str) -> SignedSessionGrant:
    granted = SessionGrant(provider=PROVIDER, session_key=key, expires_at=END)
    return SignedSessionGrant(grant=granted, signature=SIGNATURE)


@given(until=st.integers(START, END - 1))
def test_a_dispute_stops_the_meter(until: int) -> None:
    booked = terms(6_000)
    beats = [heartbeat(n, begin, begin + 20) for n, begin in enumerate(range(START, END, 20))]
    evidence = meter(booked.booking_id(DOMAIN), booked, [], beats, until)
    assert (evidence.metered_until, evidence.used_seconds) == (until, until - START)
    assert evidence.earned == clock_cap(booked, until)


def test_evidence_is_the_same_whatever_order_it_arrived_in() -> None:
    booked = terms(6_000)
    booking_id = booked.booking_id(DOMAIN)
    grants = [grant("0x" + "66" * 20), grant("0x" + "77" * 20)]
    beats = [heartbeat(1, 100, 110), heartbeat(2, 110, 120), heartbeat(7, 140, 150)]
    first = meter(booking_id, booked, grants, beats)
    second = meter(booking_id, booked, grants[::-1], beats[::-1])
    assert first == second
    assert first.digest() == second.digest()
    assert (first.used_seconds, first.earned) == (30, 3_000)


def test_the_digest_commits_to_everything() -> None:
    booked = terms(6_000)
    evidence = meter(
        booked.booking_id(DOMAIN), booked, [grant("0x" + "66" * 20)], [heartbeat(1, 100, 110)]
    )
    changes: dict[str, object] = {
        "version": 2,
        "booking_id": "0x" + "00" * 32,
        "terms": terms(6_001),
        "metered_until": 159,
        "grants": [],
        "heartbeats": [heartbeat(1, 100, 111)],
        "used_seconds": 11,
        "earned": 1_001,
    }
    assert set(changes) == set(type(evidence).model_fields)
    for field, value in changes.items():
        assert evidence.model_copy(update={field: value}).digest() != evidence.digest(), field
