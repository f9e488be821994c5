"""Many rows in one statement: what is read back is what was given, on both databases."""

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from aitbc_coordinator.database import Database, insert_rows
from aitbc_coordinator.settlement.models import Booking, BookingState

LARGEST_AMOUNT = 2**256 - 1
LARGEST_INTEGER = 2**63 - 1
AWKWARD = ("", "'; DROP TABLE booking; --", '{"a": ["b\\"", 1]}', "%s :x ? \\", "snø ✓\n\t", "NULL")


def booking(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": f"{number:04}",
        "short_id": AWKWARD[number % len(AWKWARD)],
        "buyer": "0x" + "ab" * 20,
        "provider": "0x" + "cd" * 20,
        "amount": LARGEST_AMOUNT - number,
        "fund_by": LARGEST_INTEGER - number,
        "starts_at": 0,
        "ends_at": 1,
        "listing": "",
        "salt": 2**64 - 1,
        "gpu_id": None if number % 2 else AWKWARD[number % len(AWKWARD)],
        "refused": number % 2 == 0,
        "funded_at": 0,
        "disputed_at": None,
        "state": BookingState.OPEN,
        "closing_event": None,
        "paid": 0,
        "fee": 0,
        "refunded": 0,
        "remaining": LARGEST_AMOUNT,
        **changed,
    }


def stored(database: Database) -> list[dict[str, Any]]:
    with database.read() as session:
        return [row.model_dump() for row in session.exec(select(Booking).order_by(col(Booking.id)))]


def test_rows_are_read_back_as_they_were_given(database: Database) -> None:
    rows = [booking(number) for number in range(1200)]
    with database.session() as session:
        insert_rows(session, Booking, rows)
    assert stored(database) == rows


def test_no_rows_are_no_statement(database: Database) -> None:
    with database.session() as session:
        insert_rows(session, Booking, [])
    assert stored(database) == []


def test_of_those_that_are_there_only_what_is_to_change_is_changed(database: Database) -> None:
    with database.session() as session:
        insert_rows(session, Booking, [booking(1), booking(2)])
        again = [booking(2, paid=7, fee=9, state=BookingState.CLOSED), booking(3)]
        insert_rows(session, Booking, again, changing=("paid", "state"))
    changed = booking(2, paid=7, state=BookingState.CLOSED)
    assert stored(database) == [booking(1), changed, booking(3)]


def test_a_key_that_is_there_is_refused_where_nothing_may_change(database: Database) -> None:
    with pytest.raises(DBAPIError), database.session() as session:
        insert_rows(session, Booking, [booking(1), booking(2), booking(1)])
    assert stored(database) == []


def test_an_amount_is_never_negative(database: Database) -> None:
    with pytest.raises(ValueError, match="never negative"), database.session() as session:
        insert_rows(session, Booking, [booking(1, paid=-1)])
    assert stored(database) == []
