"""Reservations: what the database refuses by itself, and what the chain's events do to them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, quote_request
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, col, select

from aitbc.protocol import wire
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.errors import Contended
from aitbc_coordinator.group_commit import is_conflict
from aitbc_coordinator.market import repository, reservations, standing
from aitbc_coordinator.market.models import Gpu, Reservation

SetChainTime = Callable[[int], None]
INSERT = "INSERT INTO reservation (gpu_id, quote_id, starts_at, ends_at) VALUES (:g, :q, :s, :e)"


@pytest.fixture
def quote(client: TestClient, wallet: Callable[[], Wallet]) -> Callable[..., wire.SignedQuote]:
    """Makes quotes of one GPU."""
    signed = listing(wallet(), strategy="utilization-guard").model_dump(mode="json")
    gpu_id = client.post("/v1/gpus", json=signed).json()["id"]

    def make(**changes: Any) -> wire.SignedQuote:
        request = quote_request(wallet(), gpu_id, **changes).model_dump(mode="json")
        answer = client.post("/v1/quotes", json=request)
        assert answer.status_code == 201, answer.text
        return wire.SignedQuotes.model_validate(answer.json()).items[0]

    return make


def all_reservations(database: Database) -> list[tuple[int, int, int | None]]:
    with database.read() as session:
        rows = session.exec(select(Reservation)).all()
    return sorted((row.starts_at, row.ends_at, row.held_until) for row in rows)


def execute(database: Database, statement: str, **values: Any) -> None:
    with database.session() as session:
        session.execute(text(statement), values)


OVERLAPS = [(0, 3600), (-100, 1), (-100, 3700), (3599, 4000), (100, 200), (-100, 3600), (0, 1)]


@pytest.mark.parametrize(("begin", "end"), OVERLAPS)
def test_the_database_itself_refuses_what_overlaps(
    database: Database, quote: Callable[..., wire.SignedQuote], begin: int, end: int
) -> None:
    first, other, spare = quote(), quote(starts_at=NOW + 100_000), quote(starts_at=NOW + 200_000)
    execute(database, "DELETE FROM reservation WHERE quote_id = :q", q=spare.id)
    start = first.terms.starts_at
    place = {"s": start + begin, "e": start + end}
    with pytest.raises(IntegrityError):
        execute(database, INSERT, g=first.gpu_id, q=spare.id, **place)
    move = "UPDATE reservation SET starts_at = :s, ends_at = :e WHERE quote_id = :q"
    with pytest.raises(IntegrityError):
        execute(database, move, q=other.id, **place)
    assert len(all_reservations(database)) == 2


def test_the_database_itself_lets_one_of_many_at_once_have_a_slot(
    database: Database, quote: Callable[..., wire.SignedQuote]
) -> None:
    rivals = [quote(starts_at=NOW + 100_000 + 4000 * n) for n in range(8)]
    execute(database, "DELETE FROM reservation")

    def attempt(rival: wire.SignedQuote) -> bool:
        try:
            execute(database, INSERT, g=rival.gpu_id, q=rival.id, s=NOW, e=NOW + 100)
        except DBAPIError as error:
            if not is_conflict(error):
                raise
            return False
        return True

    with ThreadPoolExecutor(len(rivals)) as pool:
        assert sum(pool.map(attempt, rivals)) == 1
    assert all_reservations(database) == [(NOW, NOW + 100, None)]


@pytest.mark.parametrize(("end", "attempts"), [(NOW + 99_999, 2), (NOW, 1)])
def test_a_transaction_is_repeated_after_a_conflict_and_after_nothing_else(
    database: Database, quote: Callable[..., wire.SignedQuote], end: int, attempts: int
) -> None:
    first, spare = quote(), quote(starts_at=NOW + 200_000)
    execute(database, "DELETE FROM reservation WHERE quote_id = :q", q=spare.id)
    seen: list[int] = []

    def work(session: Session) -> str:
        seen.append(session.execute(text("UPDATE gpu SET last_seen = 1")).rowcount)
        if len(seen) == 1:
            values = {"g": first.gpu_id, "q": spare.id, "s": NOW, "e": end}
            session.execute(text(INSERT), values)
        return "done"

    if attempts == 1:
        with pytest.raises(IntegrityError, match="reservation_lasts"):
            database.transact(work)
    else:
        assert database.transact(work) == "done"
    assert len(seen) == attempts


def test_a_conflict_that_stays_is_raised(
    database: Database, quote: Callable[..., wire.SignedQuote]
) -> None:
    first, spare = quote(), quote(starts_at=NOW + 200_000)

    def work(session: Session) -> None:
        values = {"g": first.gpu_id, "q": spare.id, "s": NOW, "e": NOW + 99_999}
        session.execute(text(INSERT), values)

    with pytest.raises(IntegrityError):
        database.transact(work)


def test_neighbours_and_other_gpus_do_not_overlap(
    client: TestClient,
    database: Database,
    quote: Callable[..., wire.SignedQuote],
    wallet: Callable[[], Wallet],
) -> None:
    first, second, third = quote(), quote(starts_at=NOW + 90_000), quote(starts_at=NOW + 99_000)
    elsewhere = client.post("/v1/gpus", json=listing(wallet()).model_dump(mode="json")).json()
    terms = first.terms
    with database.session() as session:
        move = text(
            "UPDATE reservation SET gpu_id = :g, starts_at = :s, ends_at = :e WHERE quote_id = :q"
        )
        after = {"g": first.gpu_id, "s": terms.ends_at, "e": terms.ends_at + 1, "q": second.id}
        session.execute(move, after)
        same = {"g": elsewhere["id"], "s": terms.starts_at, "e": terms.ends_at, "q": third.id}
        session.execute(move, same)
        # A reservation does not stand in its own way.
        session.execute(move, after | {"e": terms.ends_at + 2})
    assert len(all_reservations(database)) == 3


def test_ignoring_conflicts_does_not_get_around_it(
    database: Database, quote: Callable[..., wire.SignedQuote]
) -> None:
    first, other = quote(), quote(starts_at=NOW + 100_000)
    values = {"g": first.gpu_id, "q": other.id, "s": NOW, "e": NOW + 1000}
    execute(database, "DELETE FROM reservation WHERE quote_id = :q", q=other.id)
    if database.engine.dialect.name == "sqlite":
        with pytest.raises(IntegrityError):
            execute(database, INSERT.replace("INSERT", "INSERT OR IGNORE"), **values)
    else:
        execute(database, INSERT + " ON CONFLICT DO NOTHING", **values)
    assert len(all_reservations(database)) == 1


@pytest.mark.parametrize("length", [0, -1])
def test_a_reservation_lasts(
    database: Database, quote: Callable[..., wire.SignedQuote], length: int
) -> None:
    shrink = "UPDATE reservation SET ends_at = starts_at + :n WHERE quote_id = :q"
    with pytest.raises(IntegrityError):
        execute(database, shrink, n=length, q=quote().id)


def test_funding_makes_a_reservation_permanent_and_a_reorg_takes_that_back(
    database: Database, quote: Callable[..., wire.SignedQuote]
) -> None:
    made = quote()
    place = (made.terms.starts_at, made.terms.ends_at)
    for _ in range(2):
        with database.session() as session:
            found = reservations.confirm(session, made.booking_id)
            assert found is not None
            assert found.id == made.id
        assert all_reservations(database) == [(*place, None)]
    for _ in range(2):
        with database.session() as session:
            reservations.unconfirm(session, made.booking_id)
        assert all_reservations(database) == [(*place, made.terms.fund_by)]


def test_terms_that_nobody_quoted_are_not_confirmed(database: Database) -> None:
    with database.session() as session:
        for booking_id in ("0x" + "00" * 32, "0x12", "", "\x00"):
            assert reservations.find_quote(session, booking_id) is None
            assert reservations.confirm(session, booking_id) is None
            reservations.unconfirm(session, booking_id)
            reservations.release(session, booking_id)


def test_a_reservation_that_is_gone_meanwhile_is_not_taken_for_confirmed(
    database: Database, quote: Callable[..., wire.SignedQuote]
) -> None:
    made = quote()
    with database.session() as session:
        promised = reservations.Promised(session, [made.booking_id])
        session.execute(text("DELETE FROM reservation"))
        assert promised.confirm(made.booking_id) is not None
        with pytest.raises(Contended):
            promised.write()


def test_a_lapsed_reservation_is_made_again_if_it_is_free(
    database: Database,
    clock: Clock,
    quote: Callable[..., wire.SignedQuote],
    set_chain_time: SetChainTime,
) -> None:
    lapsed = quote()
    clock.now = lapsed.terms.fund_by
    set_chain_time(clock.now)
    taker = quote()
    with database.session() as session:
        assert reservations.confirm(session, lapsed.booking_id) is None
        assert reservations.confirm(session, taker.booking_id) is not None
        assert reservations.confirm(session, lapsed.booking_id) is None
        reservations.unconfirm(session, lapsed.booking_id)
    assert all_reservations(database) == [(taker.terms.starts_at, taker.terms.ends_at, None)]
    with database.session() as session:
        reservations.release(session, taker.booking_id)
        assert reservations.confirm(session, lapsed.booking_id) is not None
    assert all_reservations(database) == [(lapsed.terms.starts_at, lapsed.terms.ends_at, None)]


def test_a_closed_booking_frees_its_time_and_begins_idleness(
    client: TestClient,
    context: Context,
    clock: Clock,
    quote: Callable[..., wire.SignedQuote],
) -> None:
    made = quote()
    closed_at = made.terms.starts_at + 600
    with context.database.session() as session:
        reservations.confirm(session, made.booking_id)
    clock.now = closed_at
    assert idle_price(client, made) == 36_000
    for _ in range(2):
        with context.database.session() as session:
            reservations.release(session, made.booking_id, at=closed_at)
    assert all_reservations(context.database) == []
    clock.now = closed_at + 1800
    assert idle_price(client, made) == 35_625
    clock.now = closed_at + 3600
    assert idle_price(client, made) == 35_250


def test_a_gpu_is_idle_from_the_end_of_its_booking_even_before_it_is_closed(
    client: TestClient, context: Context, clock: Clock, quote: Callable[..., wire.SignedQuote]
) -> None:
    made = quote()
    with context.database.session() as session:
        reservations.confirm(session, made.booking_id)
    clock.now = made.terms.ends_at + 3600
    assert idle_price(client, made) == 35_250
    with context.database.session() as session:
        reservations.release(session, made.booking_id, at=clock.now)
    assert idle_price(client, made) == 35_250


def test_a_gpu_is_idle_from_the_end_of_the_latest_booking_that_has_begun(
    client: TestClient, context: Context, clock: Clock, quote: Callable[..., wire.SignedQuote]
) -> None:
    later = NOW + 20_000
    booked = [quote(salt=1), quote(starts_at=NOW + 9_000, salt=2), quote(starts_at=later, salt=3)]
    with context.database.session() as session:
        for made in booked:
            reservations.confirm(session, made.booking_id)
    clock.now = booked[1].terms.ends_at + 3600
    assert clock.now < later
    assert idle_price(client, booked[0]) == 35_250


def test_a_gpu_stays_idle_from_the_latest_second_that_was_told(
    context: Context, quote: Callable[..., wire.SignedQuote]
) -> None:
    gpu_id = quote().gpu_id
    seconds = []
    for told in ({gpu_id: NOW + 100}, {gpu_id: NOW + 50, "g-gone": NOW + 200}, {gpu_id: NOW + 101}):
        with context.database.session() as session:
            repository.idle_from(session, told)
        with context.database.read() as session:
            seconds.append(session.exec(select(Gpu.idle_since).where(col(Gpu.id) == gpu_id)).one())
    assert seconds == [NOW + 100, NOW + 100, NOW + 101]


def test_a_booking_cancelled_before_its_start_leaves_the_gpu_as_idle_as_it_was(
    client: TestClient, context: Context, clock: Clock, quote: Callable[..., wire.SignedQuote]
) -> None:
    made = quote(starts_at=NOW + 50_000)
    with context.database.session() as session:
        reservations.confirm(session, made.booking_id)
        reservations.release(session, made.booking_id, at=NOW + 10_000)
    clock.now = NOW + 10_000
    assert idle_price(client, made) == 36_000 - 18_000 * 10_000 // 86_400


def test_a_hold_alone_does_not_make_a_gpu_busy(
    client: TestClient, clock: Clock, quote: Callable[..., wire.SignedQuote]
) -> None:
    made = quote(duration=10_000)
    clock.now = NOW + 3600
    assert idle_price(client, made) == 35_250


def test_when_a_machine_was_heard_last_is_remembered(
    client: TestClient, database: Database, quote: Callable[..., wire.SignedQuote]
) -> None:
    made = quote()
    for now in (NOW + 5, NOW + 9, NOW + 7):
        with database.session() as session:
            standing.heard(session, {made.gpu_id: ""}, now, allowed=60)
    assert client.get(f"/v1/gpus/{made.gpu_id}").json()["last_seen"] == NOW + 9
    with database.read() as session:
        assert session.exec(select(Gpu.last_seen)).one() == NOW + 9


def idle_price(client: TestClient, quote: wire.SignedQuote) -> int:
    return int(client.get(f"/v1/gpus/{quote.gpu_id}").json()["current_price"]["per_hour"])
