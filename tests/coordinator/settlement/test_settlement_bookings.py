"""How bookings are found and shown; their events are made by hand."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, quote_request
from sqlmodel import Session, select

from aitbc.protocol import wire
from aitbc.protocol.events import (
    Cancelled,
    Claimed,
    Disputed,
    EscrowEvent,
    Funded,
    PayoutDeferred,
    Reclaimed,
    Resolved,
    Settled,
    SettledInFull,
)
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import BookingStatus
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import standing
from aitbc_coordinator.market.models import Delivery, Gpu, Reservation
from aitbc_coordinator.settlement import attestations, outbox, projection, repository
from aitbc_coordinator.settlement.gpus import UTILISATION_SECONDS, utilisation_bps
from aitbc_coordinator.settlement.models import Booking, BookingState, ChainEvent


@dataclass
class Bookings:
    """Makes bookings one after the other on one GPU."""

    client: TestClient
    context: Context
    clock: Clock
    provider: Wallet
    buyer: Wallet
    gpu_id: str
    blocks: int = 0
    salts: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def post(self, path: str, body: Any) -> Any:
        answer = self.client.post("/v1" + path, json=body.model_dump(mode="json"))
        assert answer.is_success, answer.text
        return answer.json()

    def quote(self, starts_in: int) -> Terms:
        request = quote_request(
            self.buyer,
            self.gpu_id,
            starts_at=NOW + starts_in,
            duration=100,
            salt=next(self.salts),
            signed_at=self.clock.now,
        )
        return wire.SignedQuotes.model_validate(self.post("/quotes", request)).items[0].terms

    def apply(self, kind: type[EscrowEvent], **fields: Any) -> EscrowEvent:
        self.blocks += 1
        event = kind(
            block_number=self.blocks,
            block_hash="0x" + "b1" * 32,
            tx_hash="0x" + f"{self.blocks:064x}",
            log_index=0,
            timestamp=NOW + self.blocks,
            **fields,
        )
        with self.context.database.session() as session:
            projection.apply(session, [event])
        return event

    def fund(self, starts_in: int, *, offered: bool = True) -> Terms:
        terms = self.quote(starts_in)
        if not offered:
            terms = terms.model_copy(update={"listing": "0x" + "00" * 32})
        self.apply(Funded, booking_id=self.id_of(terms), terms=terms)
        return terms

    def attest(self, terms: Terms, *, batch: str | None = None) -> None:
        attestations.attest(self.context, [self.id_of(terms)])
        with self.context.database.session() as session:
            found = outbox.attestations(session, [self.id_of(terms)])[self.id_of(terms)]
            found.batch_id = batch

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """What was made of the chain's events, by table."""
        with self.context.database.read() as session:
            found: dict[str, list[dict[str, Any]]] = {
                str(table.__tablename__): [
                    row.model_dump(exclude={"id"} if table is Reservation else None)
                    for row in session.exec(select(table)).all()
                ]
                for table in (ChainEvent, Booking, Delivery, Reservation)
            }
            idle = session.exec(select(Gpu.id, Gpu.idle_since)).all()
        found["idle"] = [{"gpu": gpu_id, "since": since} for gpu_id, since in idle]
        return {name: sorted(rows, key=str) for name, rows in found.items()}

    def id_of(self, terms: Terms) -> str:
        return terms.booking_id(self.context.market.domain)

    def page(self, **params: Any) -> wire.BookingPage:
        answer = self.client.get("/v1/bookings", params=params)
        assert answer.status_code == 200, answer.text
        return wire.BookingPage.model_validate(answer.json())

    def get(self, path: str) -> Any:
        return self.client.get("/v1" + path)


@pytest.fixture
def bookings(
    client: TestClient, context: Context, clock: Clock, wallet: Callable[[], Wallet]
) -> Bookings:
    made = Bookings(client, context, clock, wallet(), wallet(), "")
    made.gpu_id = made.post("/gpus", listing(made.provider))["id"]
    return made


@pytest.fixture
def each_status(bookings: Bookings) -> dict[str, Terms]:
    """A booking in every status, by its name."""
    made = {
        "funded": bookings.fund(1200),
        "active": bookings.fund(950),
        "ended": bookings.fund(100),
        "attested": bookings.fund(200),
        "settling": bookings.fund(300),
        "settled": bookings.fund(400),
        "cancelled": bookings.fund(500),
        "reclaimed": bookings.fund(600),
        "refused": bookings.fund(700, offered=False),
        "disputed": bookings.fund(800),
        "resolved": bookings.fund(1050),
    }
    bookings.attest(made["attested"])
    bookings.attest(made["settling"], batch="a-batch")
    ids = {name: bookings.id_of(terms) for name, terms in made.items()}
    bookings.apply(SettledInFull, booking_id=ids["settled"], fee=1)
    refund = {"refunded": made["cancelled"].amount}
    bookings.apply(Cancelled, booking_id=ids["cancelled"], by=bookings.provider.address, **refund)
    bookings.apply(Reclaimed, booking_id=ids["reclaimed"], refunded=made["reclaimed"].amount)
    for name in ("disputed", "resolved"):
        bookings.apply(Disputed, booking_id=ids[name])
        # No transaction can change what this would be shown as.
        bookings.attest(made[name], batch="a-batch")
    resolved = {"paid": 2, "fee": 1, "refunded": made["resolved"].amount - 3}
    bookings.apply(Resolved, booking_id=ids["resolved"], **resolved)
    bookings.clock.now = NOW + 1000
    return made


def test_every_status_is_shown_and_searched_by_the_same_rules(
    bookings: Bookings, each_status: dict[str, Terms]
) -> None:
    assert set(each_status) == {status.value for status in BookingStatus}
    for status, terms in each_status.items():
        booking_id = bookings.id_of(terms)
        assert bookings.get(f"/bookings/{booking_id}").json()["status"] == status
        assert [item.id for item in bookings.page(status=status).items] == [booking_id]


@pytest.mark.parametrize("edge", [-1, 0, 1])
@pytest.mark.parametrize("moment", ["starts_at", "ends_at"])
def test_statuses_change_at_the_same_second_in_both(
    bookings: Bookings, moment: str, edge: int
) -> None:
    terms = bookings.fund(300)
    bookings.clock.now = getattr(terms, moment) + edge
    status = bookings.get(f"/bookings/{bookings.id_of(terms)}").json()["status"]
    assert len(bookings.page(status=status).items) == 1


def test_lists_are_filtered(
    bookings: Bookings, each_status: dict[str, Terms], wallet: Callable[[], Wallet]
) -> None:
    names = ("settled", "resolved", "cancelled", "reclaimed")
    closed = {bookings.id_of(each_status[name]) for name in names}
    assert {item.id for item in bookings.page(open="false").items} == closed
    assert len(bookings.page(open="true").items) == len(each_status) - 4
    assert len(bookings.page(buyer=bookings.buyer.address.lower()).items) == len(each_status)
    assert len(bookings.page(gpu=bookings.gpu_id, open="true").items) == len(each_status) - 5
    assert bookings.page(provider=wallet().address).items == []
    assert bookings.page(buyer=bookings.provider.address).items == []


def test_pages_go_from_the_newest_to_the_oldest_and_miss_none(
    bookings: Bookings, each_status: dict[str, Terms]
) -> None:
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = bookings.page(**params)
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    expected = [bookings.id_of(terms) for terms in each_status.values()]
    assert seen == expected[::-1]


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "nonsense"},
        {"cursor": "é"},
        {"status": "lost"},
        {"limit": 0},
        {"limit": 201},
        {"buyer": "0x12"},
        {"gpu": "' OR 1=1"},
        {"unknown": "1"},
    ],
)
def test_a_malformed_query_is_refused(bookings: Bookings, params: dict[str, Any]) -> None:
    answer = bookings.client.get("/v1/bookings", params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_a_booking_is_found_by_any_unique_prefix(bookings: Bookings) -> None:
    terms = bookings.fund(300)
    booking_id = bookings.id_of(terms)
    short_id = bookings.get(f"/bookings/{booking_id}").json()["short_id"]
    for name in (booking_id, booking_id[:10], short_id, short_id[:5], short_id.upper()):
        found = bookings.get(f"/bookings/{name}")
        assert found.status_code == 200, name
        assert found.json()["id"] == booking_id


@pytest.mark.parametrize(
    "name", ["b-", "0x1", "b-%25%25%25", "____", "b-zzzzzzzzzz", "0x" + "0" * 64]
)
def test_a_name_of_no_booking_is_unknown(bookings: Bookings, name: str) -> None:
    bookings.fund(300)
    answer = bookings.get(f"/bookings/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-booking")


def test_an_ambiguous_prefix_is_refused(bookings: Bookings) -> None:
    first = bookings.fund(300)
    with bookings.context.database.session() as session:
        row = repository.find_booking(session, bookings.id_of(first))
        assert row is not None
        twin = Booking(**(row.model_dump() | {"id": row.id[:-1] + "_", "short_id": "b-other"}))
        session.add(twin)
    answer = bookings.get(f"/bookings/{row.id[:20]}")
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous-id")


def test_money_is_the_sum_of_events_however_often_they_are_applied(bookings: Bookings) -> None:
    terms = bookings.fund(300)
    booking_id = bookings.id_of(terms)
    half = terms.amount // 2
    claimed = bookings.apply(Claimed, booking_id=booking_id, paid=half - 3, fee=3)
    rest = terms.amount - half
    settled = bookings.apply(
        Settled,
        booking_id=booking_id,
        paid=10,
        fee=1,
        refunded=rest - 11,
        evidence="0x" + "00" * 32,
    )
    for event in (claimed, settled, claimed):
        with bookings.context.database.session() as session:
            projection.apply(session, [event])
    shown = wire.Booking.model_validate(bookings.get(f"/bookings/{booking_id}").json())
    assert (shown.paid, shown.fee, shown.refunded) == (half + 7, 4, rest - 11)
    assert (shown.remaining, shown.status) == (0, "settled")
    assert [reference.event for reference in shown.transactions] == [
        "Funded",
        "Claimed",
        "Settled",
    ]


def test_a_settlement_in_full_pays_what_claims_left(bookings: Bookings) -> None:
    terms = bookings.fund(300)
    booking_id = bookings.id_of(terms)
    bookings.apply(Claimed, booking_id=booking_id, paid=10, fee=1)
    bookings.apply(SettledInFull, booking_id=booking_id, fee=3)
    shown = wire.Booking.model_validate(bookings.get(f"/bookings/{booking_id}").json())
    assert (shown.paid, shown.fee, shown.refunded) == (terms.amount - 4, 4, 0)
    assert (shown.remaining, shown.status) == (0, "settled")


def test_a_booking_that_was_attested_before_its_dispute_is_listed_once(bookings: Bookings) -> None:
    terms = bookings.fund(300)
    bookings.attest(terms, batch="a-batch")
    bookings.apply(Disputed, booking_id=bookings.id_of(terms))
    bookings.attest(terms)
    shown = [(item.id, item.status, item.settlement_tx) for item in bookings.page().items]
    assert shown == [(bookings.id_of(terms), "disputed", None)]


def test_a_claim_of_everything_closes_a_booking(bookings: Bookings) -> None:
    terms = bookings.fund(300)
    bookings.apply(Claimed, booking_id=bookings.id_of(terms), paid=terms.amount - 5, fee=5)
    assert bookings.get(f"/bookings/{bookings.id_of(terms)}").json()["status"] == "settled"


def test_terms_at_the_edge_of_their_types_are_stored_and_given_back(bookings: Bookings) -> None:
    terms = Terms(
        buyer=bookings.buyer.address,
        provider=bookings.provider.address,
        amount=2**88 - 1,
        fund_by=2**32 - 3,
        starts_at=2**32 - 2,
        ends_at=2**32 - 1,
        listing="0x" + "ff" * 32,
        salt=2**64 - 1,
    )
    bookings.apply(Funded, booking_id=bookings.id_of(terms), terms=terms)
    shown = wire.Booking.model_validate(bookings.get(f"/bookings/{bookings.id_of(terms)}").json())
    assert (shown.terms, shown.status) == (terms, "refused")


def test_an_event_without_funding_is_a_wrong_deploy_block(bookings: Bookings) -> None:
    with pytest.raises(Exception, match="never funded since the deploy block"):
        bookings.apply(Reclaimed, booking_id="0x" + "ab" * 32, refunded=1)
    with bookings.context.database.read() as session:
        assert session.exec(select(Booking)).all() == []


def test_many_events_at_once_mean_what_they_mean_one_by_one(bookings: Bookings) -> None:
    terms = [bookings.quote(1_000 + 200 * n) for n in range(6)]
    paid, halved, cancelled, disputed, claimed, early = (bookings.id_of(each) for each in terms)
    stranger = terms[0].model_copy(update={"listing": "0x" + "00" * 32})
    amount = terms[0].amount
    half = {"paid": amount // 2, "fee": 0, "refunded": amount - amount // 2}
    events = [
        bookings.apply(Funded, booking_id=bookings.id_of(each), terms=each)
        for each in (*terms, stranger)
    ]
    bookings.blocks += 2_000  # They begin meanwhile.
    events += [
        bookings.apply(Cancelled, booking_id=early, by=bookings.buyer.address, refunded=amount),
        bookings.apply(Disputed, booking_id=disputed),
        bookings.apply(Claimed, booking_id=claimed, paid=1, fee=0),
        bookings.apply(Settled, booking_id=halved, evidence="0x" + "11" * 32, **half),
        bookings.apply(SettledInFull, booking_id=paid, fee=1),
        bookings.apply(
            Cancelled, booking_id=cancelled, by=bookings.provider.address, refunded=amount
        ),
        bookings.apply(PayoutDeferred, account=bookings.provider.address, amount=1),
        bookings.apply(Claimed, booking_id=claimed, paid=amount - 2, fee=1),
        bookings.apply(Resolved, booking_id=disputed, **half),
    ]
    one_by_one = bookings.rows()
    states = {row["state"] for row in one_by_one["booking"]}
    assert states == {BookingState.OPEN, BookingState.CLOSED}
    assert len(one_by_one["delivery"]) == 5
    assert one_by_one["reservation"] == []

    database = bookings.context.database
    for size in (len(events), 3, 5):
        with database.session() as session:
            projection.rewind(session, 0)
        assert bookings.rows()["booking"] == []
        for first in range(0, len(events), size):
            with database.session() as session:
                projection.apply(session, events[first : first + size])
                # Those that are there already change nothing.
                projection.apply(session, events[first : first + 1])
        assert bookings.rows() == one_by_one


def test_what_is_followed_waits_for_a_heartbeat_and_is_not_begun_anew(bookings: Bookings) -> None:
    terms = bookings.fund(1_000)
    booking_id = bookings.id_of(terms)
    paid = SettledInFull(
        block_number=2_000,
        block_hash="0x" + "b1" * 32,
        tx_hash="0x" + "c1" * 32,
        log_index=0,
        timestamp=terms.ends_at,
        booking_id=booking_id,
        fee=1,
    )
    attempts = []

    def follow(session: Session) -> None:
        attempts.append(session)
        projection.apply(session, [paid])

    database = bookings.context.database
    with ThreadPoolExecutor() as pool:
        with database.session() as session:
            assert repository.find_booking(session, booking_id, lock=True) is not None
            following = pool.submit(database.transact, follow)
            time.sleep(0.3)
            standing.heard(session, {bookings.gpu_id: ""}, terms.starts_at, allowed=60)
        following.result(timeout=30)
    assert len(attempts) == 1
    assert bookings.get(f"/bookings/{booking_id}").json()["status"] == "settled"


def test_a_gpu_is_only_held_again_when_its_funding_is_taken_back(
    bookings: Bookings, set_chain_time: Callable[[int], None]
) -> None:
    terms = bookings.fund(300)
    with bookings.context.database.session() as session:
        projection.rewind(session, 0)
    assert bookings.page().items == []
    with pytest.raises(AssertionError, match="taken"):
        bookings.quote(300)
    set_chain_time(terms.fund_by)
    bookings.clock.now = terms.fund_by
    assert bookings.quote(300).starts_at == terms.starts_at


def test_a_signed_refusal_stands_when_its_funding_comes_again(bookings: Bookings) -> None:
    terms = bookings.fund(300)
    bookings.attest(terms)
    with bookings.context.database.session() as session:
        refusal = outbox.find_attestation(session, bookings.id_of(terms))
        assert refusal is not None
        refusal.refused = True
        projection.rewind(session, 0)
    bookings.apply(Funded, booking_id=bookings.id_of(terms), terms=terms)
    assert bookings.get(f"/bookings/{bookings.id_of(terms)}").json()["status"] == "refused"


def test_a_gpus_status_names_its_bookings_now_next_and_before(
    bookings: Bookings, each_status: dict[str, Terms]
) -> None:
    status = wire.GpuStatus.model_validate(bookings.get(f"/gpus/{bookings.gpu_id}/status").json())
    assert status.current_booking is not None
    assert status.current_booking.id == bookings.id_of(each_status["active"])
    assert [row.id for row in status.upcoming] == [bookings.id_of(each_status["funded"])]
    assert len(status.last_bookings) == 8
    assert status.gpu.id == bookings.gpu_id
    for what in ("status", "earnings"):
        answer = bookings.get(f"/gpus/g-zzzzzz/{what}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-gpu")


def test_earnings_add_up_over_a_gpus_bookings(
    bookings: Bookings, each_status: dict[str, Terms]
) -> None:
    earnings = wire.Earnings.model_validate(
        bookings.get(f"/gpus/{bookings.gpu_id}/earnings").json()
    )
    assert (earnings.bookings, earnings.settled) == (10, 2)
    assert earnings.paid == each_status["settled"].amount + 1
    assert earnings.fee == 2
    assert earnings.booked_seconds == 1000


def test_reliability_follows_the_events_and_a_reorg_takes_it_back(
    bookings: Bookings, each_status: dict[str, Terms]
) -> None:
    def reliability_bps() -> int | None:
        gpu = wire.Gpu.model_validate(bookings.get(f"/gpus/{bookings.gpu_id}").json())
        return gpu.reliability_bps

    # One of three was delivered; what was refused, or disputed before it began, does not count.
    assert reliability_bps() == 3_333
    funded = len(each_status)
    for block, expected in ((funded + 2, 5_000), (funded + 1, 10_000), (funded, None)):
        with bookings.context.database.session() as session:
            projection.rewind(session, block)
        assert reliability_bps() == expected
    settled = bookings.id_of(each_status["settled"])
    bookings.apply(Claimed, booking_id=settled, paid=1, fee=0)
    assert reliability_bps() is None
    bookings.apply(Reclaimed, booking_id=settled, refunded=each_status["settled"].amount - 1)
    assert reliability_bps() == 100
    with bookings.context.database.session() as session:
        projection.rewind(session, 0)
    assert reliability_bps() is None


def test_utilisation_is_the_booked_share_of_the_last_week() -> None:
    week = UTILISATION_SECONDS

    def row(starts_at: int, ends_at: int, closing_event: str | None = None) -> Booking:
        return Booking(starts_at=starts_at, ends_at=ends_at, closing_event=closing_event)

    now = 10 * week
    assert utilisation_bps([], now) == 0
    assert utilisation_bps([row(now - 20 * week, now + week)], now) == 10_000
    assert utilisation_bps([row(now - week // 2, now + week)], now) == 5_000
    assert utilisation_bps([row(now - week // 2, now, "Cancelled")], now) == 0
    assert utilisation_bps([row(now - 2 * week, now - week)], now) == 0
    disputed = row(now - week // 2, now + week)
    disputed.disputed_at = now - week // 4
    assert utilisation_bps([disputed], now) == 2_500
