"""What a closed booking counts for its GPU's reliability."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.events import BookingEvent, Cancelled, Reclaimed, Resolved, Settled
from aitbc.protocol.metering import earned
from aitbc_coordinator.settlement.deliveries import delivery_of
from aitbc_coordinator.settlement.models import BookingState

BEGAN, SECONDS, AMOUNT = 1_000, 100, 5_000
CLOSED_AT = 9_999
BUYER, PROVIDER = "0xb", "0xp"


def booking(**changes: Any) -> dict[str, Any]:
    fields = {
        "id": "0xid",
        "buyer": BUYER,
        "provider": PROVIDER,
        "gpu_id": "g-aaaaaa",
        "starts_at": BEGAN,
        "ends_at": BEGAN + SECONDS,
        "amount": AMOUNT,
        "refunded": 0,
        "state": BookingState.CLOSED,
        "disputed_at": None,
    }
    return fields | changes


def event(kind: type[BookingEvent] = Settled, **fields: Any) -> BookingEvent:
    if kind in {Settled, Resolved}:
        fields = {"paid": 0, "fee": 0, **fields}
    if kind is Settled:
        fields = {"evidence": "0x", **fields}
    where = {"block_number": 1, "block_hash": "0x", "tx_hash": "0x", "log_index": 0}
    return kind(**where, booking_id="0xid", timestamp=CLOSED_AT, refunded=0, **fields)


@pytest.mark.parametrize(
    ("row", "last", "booked", "delivered"),
    [
        (booking(), event(), 100, 100),
        (booking(refunded=AMOUNT), event(), 100, 0),
        (booking(refunded=AMOUNT // 4), event(), 100, 75),
        (booking(refunded=AMOUNT), event(Reclaimed), 100, 0),
        (booking(refunded=AMOUNT), event(Cancelled, by=PROVIDER), 100, 0),
        (booking(refunded=AMOUNT // 2), event(Cancelled, by=PROVIDER), 100, 50),
        # A dispute ends what was booked, and nobody delivers more than that.
        (booking(disputed_at=BEGAN + 40, refunded=4_000), event(Reclaimed), 40, 20),
        (booking(disputed_at=BEGAN + 40), event(Resolved), 40, 40),
        (booking(disputed_at=BEGAN + 1, refunded=AMOUNT), event(Resolved), 1, 0),
    ],
)
def test_what_counts(row: dict[str, Any], last: BookingEvent, booked: int, delivered: int) -> None:
    found = delivery_of(row, last)
    assert found is not None
    assert found == {
        "booking_id": row["id"],
        "gpu_id": row["gpu_id"],
        "closed_at": CLOSED_AT,
        "booked_seconds": booked,
        "delivered_seconds": delivered,
    }


@pytest.mark.parametrize(
    ("row", "last"),
    [
        (booking(state=BookingState.OPEN), event()),
        (booking(state=BookingState.DISPUTED), event()),
        (booking(gpu_id=None), event()),
        (booking(refunded=AMOUNT), event(Cancelled, by=BUYER)),
        (booking(disputed_at=BEGAN), event(Resolved)),
        (booking(disputed_at=BEGAN - 5), event(Resolved)),
    ],
)
def test_what_says_nothing_of_the_gpu(row: dict[str, Any], last: BookingEvent) -> None:
    assert delivery_of(row, last) is None


@given(st.integers(1, 10**9), st.data())
def test_the_seconds_that_were_metered_are_those_that_count(
    amount: int, data: st.DataObject
) -> None:
    seconds = data.draw(st.integers(1, min(amount, 10**6)))
    used = data.draw(st.integers(0, seconds))
    row = booking(
        ends_at=BEGAN + seconds, amount=amount, refunded=amount - earned(amount, used, seconds)
    )
    found = delivery_of(row, event())
    assert found is not None
    assert found["delivered_seconds"] == used
