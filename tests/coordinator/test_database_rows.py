"""Many rows in one statement, and many values asked for: the same on both databases."""

from collections.abc import Collection
from typing import Any

import pytest
from sqlalchemy import BigInteger
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from aitbc_coordinator.database import Database, among, insert_rows
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


@pytest.mark.parametrize("asked", [(), AWKWARD[:2], {*AWKWARD, "elsewhere"}, {"of": 1, "": 2}])
def test_texts_are_found_whatever_is_in_them(database: Database, asked: Collection[str]) -> None:
    with database.session() as session:
        insert_rows(session, Booking, [booking(number) for number in range(len(AWKWARD))])
    theirs = select(col(Booking.short_id)).where(among(col(Booking.short_id), "texts"))
    with database.read() as session:
        found = session.exec(theirs, params={"texts": asked}).all()
    assert sorted(found) == sorted(text for text in AWKWARD if text in asked)


def test_numbers_are_found_however_many_are_asked_for(database: Database) -> None:
    with database.session() as session:
        insert_rows(session, Booking, [booking(number) for number in range(3)])
    theirs = among(col(Booking.fund_by), "numbers", BigInteger)
    asked = [*range(70_000), LARGEST_INTEGER, LARGEST_INTEGER - 2]
    with database.read() as session:
        found = session.exec(select(col(Booking.id)).where(theirs), params={"numbers": asked}).all()
    assert sorted(found) == ["0000", "0002"]
