"""Serving: what is claimed is exactly what was served, through faults, restarts and lies."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

import samples
from aitbc.chain.escrow import Slot
from aitbc.client import Coordinator
from aitbc.errors import ChainError, CoordinatorError, WalletError
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.messages import MAX_SIGHTINGS, Receipt, Sighting, Terms
from aitbc.protocol.states import EscrowState
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.wire import Problem, SignedListing, SignedReceipt
from aitbc.provider.checks import receipt_problem
from aitbc.provider.serve import Links, Report, Server
from aitbc.provider.session import create_session
from aitbc.provider.storage import KEPT_RECEIPTS, BookingStore
from aitbc.signing import sign
from strategies import DOMAIN
from stub_coordinator import StubCoordinator

NOW = 1_800_000_000
ALLOWANCE = 20
PROVIDER, ATTESTER, STRANGER = (Account.from_key("0x" + f"{n}{n}" * 32) for n in (1, 2, 3))
MARKET = samples.market(
    chain_id=DOMAIN.chain_id,
    escrow=DOMAIN.escrow,
    decimals=6,
    attester=ATTESTER.address,
    claim_window=3_600,
    quote_seconds=10,
    heartbeat_allowance=ALLOWANCE,
)


@dataclass
class Clock:
    """Time that passes only while somebody waits. `at` runs something at a second."""

    now: int = NOW
    stop_at: int | None = None
    at: dict[int, Callable[[], None]] = field(default_factory=dict)

    def __call__(self) -> int:
        return self.now

    def wait(self, seconds: int) -> bool:
        assert seconds >= 1, "a loop that does not wait is a busy one"
        for _ in range(seconds):
            self.now += 1
            self.at.pop(self.now, lambda: None)()
            if self.stop_at is not None and self.now >= self.stop_at:
                return True
        assert self.now < NOW + 10_000, "it never ends"
        return False


class Host:
    """A GPU host with its disk, a coordinator over HTTP, and a chain in memory."""

    def __init__(self, home: Path) -> None:
        self.clock = Clock()
        path = home / "provider" / "session.json"
        self.session = create_session(
            path, PROVIDER, DOMAIN, days=30, now=NOW, register=lambda _: None
        )
        key = self.session.key.address
        self.stub = StubCoordinator(MARKET, ATTESTER, key, self.clock)
        self.client = Coordinator(self.stub.url)
        self.store = BookingStore(home / "provider" / "bookings")
        self.slots: dict[str, Slot] = {}
        self.node_down = False
        self.reports: list[Report] = []

    def close(self) -> None:
        self.client.close()
        self.stub.close()

    def book(self, starts_in: int = 10, length: int = 60, **changes: object) -> str:
        fields: dict[str, object] = {
            "buyer": STRANGER.address,
            "provider": PROVIDER.address,
            "amount": 6_000,
            "fund_by": NOW,
            "starts_at": NOW + starts_in,
            "ends_at": NOW + starts_in + length,
            "listing": self.stub.offer(PROVIDER),
            "salt": len(self.slots),
        }
        terms = Terms.model_validate(fields | changes)
        booking_id = self.stub.add(terms)
        self.slots[booking_id] = Slot(PROVIDER.address, terms.amount, EscrowState.OPEN)
        return booking_id

    def close_on_chain(self, booking_id: str) -> None:
        self.slots[booking_id] = Slot(ZERO_ADDRESS, 0, EscrowState.NONE)

    def slot(self, booking_id: str) -> Slot:
        if self.node_down:
            raise ChainError("the node does not answer")
        return self.slots.get(booking_id, Slot(ZERO_ADDRESS, 0, EscrowState.NONE))

    def server(self, interval: int = 8, gpu_id: str | None = None) -> Server:
        """A new process: nothing survives from an earlier one but the disk."""
        links = Links(
            open_bookings=lambda: self.client.bookings(provider=PROVIDER.address, open=True).items,
            sightings=lambda: [
                Sighting(gpu_id=gpu.id, gpu_uuid=gpu.listing.gpu_uuid)
                for gpu in self.client.gpus(provider=PROVIDER.address).items
            ],
            announce=self.client.presence,
            listing=self.client.listing,
            send=self.client.heartbeat,
            slot=self.slot,
            telemetry=lambda _: '{"utilisation_percent": 87}',
            clock=self.clock,
            wait=self.clock.wait,
        )
        return Server(
            links,
            MARKET,
            self.session,
            self.store,
            self.reports.append,
            interval=interval,
            gpu_id=gpu_id,
        )

    def events(self, *names: str) -> list[str]:
        return [report.message for report in self.reports if report.event in names]

    def stored(self, booking_id: str) -> Any:
        found = self.store.get(booking_id)
        assert found is not None
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_a_booking_is_covered_without_gap_or_overlap(host: Host) -> None:
    booking = host.book(starts_in=5, length=61)
    host.server().run(until_idle=True)
    intervals = host.stub.intervals(booking)
    assert intervals[0][0] == NOW + 5
    assert intervals[-1][1] == NOW + 66
    assert all(a[1] == b[0] for a, b in pairwise(intervals))
    assert max(end - begin for begin, end in intervals) <= 8
    stored = host.stored(booking)
    assert stored.finished
    assert stored.receipt.receipt.earned == 6_000
    assert host.events("delivered") == ["served to its end"]
    assert host.clock.now == NOW + 66
    assert [beat.telemetry for beat in host.stub.heartbeats] == [
        '{"utilisation_percent": 87}'
    ] * len(intervals)


def test_it_tells_that_the_machine_is_up_before_it_is_given_up(host: Host) -> None:
    host.stub.offer(PROVIDER, gpu_uuid="GPU-1")
    host.clock.stop_at = NOW + 200
    host.server().run()
    assert host.stub.heartbeats == []
    moments = [presence.signed_at for presence in host.stub.presences]
    assert moments[0] == NOW
    assert all(b - a <= MARKET.unreachable_seconds // 3 for a, b in pairwise(moments))
    assert len(moments) == 4
    sighting = Sighting(gpu_id=gpu_id(PROVIDER.address, 1), gpu_uuid="GPU-1")
    assert all(presence.gpus == (sighting,) for presence in host.stub.presences)


def test_it_tells_so_while_it_serves_too(host: Host) -> None:
    booking = host.book(starts_in=5, length=200)
    host.server(interval=ALLOWANCE).run(until_idle=True)
    assert host.stub.used(booking) == 200
    assert len(host.stub.presences) == 4


def test_a_presence_that_is_lost_is_sent_again_at_once(host: Host) -> None:
    host.stub.offer(PROVIDER)
    host.clock.at = {NOW + 59: lambda: setattr(host.stub, "lose_answers", 1)}
    host.clock.stop_at = NOW + 90
    host.server().run()
    assert [presence.signed_at - NOW for presence in host.stub.presences] == [0, 60, 61]


def test_a_machine_vouches_for_the_gpus_that_it_serves_only(host: Host) -> None:
    for salt in range(1, MAX_SIGHTINGS + 3):
        host.stub.offer(PROVIDER, salt=salt)
    host.server(gpu_id=gpu_id(PROVIDER.address, 2)).run(once=True)
    ((one,),) = [presence.gpus for presence in host.stub.presences]
    assert one.gpu_id == gpu_id(PROVIDER.address, 2)
    host.server().run(once=True)
    assert [len(presence.gpus) for presence in host.stub.presences] == [1, MAX_SIGHTINGS, 2]


def test_a_presence_by_a_key_that_is_not_granted_ends_it(host: Host) -> None:
    host.stub.offer(PROVIDER)
    host.stub.session_key = STRANGER.address
    with pytest.raises(WalletError, match="refuses this machine's session key"):
        host.server().run()


def test_the_interval_is_at_most_half_the_allowance(host: Host) -> None:
    booking = host.book(length=200)
    host.server(interval=1_000).run(until_idle=True)
    intervals = host.stub.intervals(booking)
    assert max(end - begin for begin, end in intervals) == ALLOWANCE // 2
    assert host.stub.used(booking) == 200


def test_time_before_it_was_first_seen_is_not_claimed(host: Host) -> None:
    booking = host.book(starts_in=-15, length=60)
    host.server().run(until_idle=True)
    assert host.stub.intervals(booking)[0][0] == NOW
    assert host.stub.used(booking) == 45


def test_several_bookings_at_once(host: Host) -> None:
    first, second = host.book(starts_in=5), host.book(starts_in=20, length=31)
    host.server().run(until_idle=True)
    assert host.stub.used(first) == 60
    assert host.stub.used(second) == 31


def test_one_booking_passes_into_the_next_without_a_gap(host: Host) -> None:
    first, second = host.book(starts_in=5, length=61), host.book(starts_in=66, length=40)
    host.server().run(until_idle=True)
    together = sorted(host.stub.intervals(first) + host.stub.intervals(second))
    assert (together[0][0], together[-1][1]) == (NOW + 5, NOW + 106)
    assert all(a[1] == b[0] for a, b in pairwise(together))
    assert (host.stub.used(first), host.stub.used(second)) == (61, 40)
    assert host.events("stopped") == []


def test_only_the_wanted_gpu_is_served(host: Host) -> None:
    host.book()
    host.server(gpu_id="g-000000").run(once=True)
    assert host.reports == []
    host.server(gpu_id=gpu_id(PROVIDER.address, 1)).run(once=True)
    assert host.events("accepted")


def test_asked_to_stop_it_claims_up_to_that_second(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.stop_at = NOW + 32
    host.server().run()
    assert host.stub.intervals(booking)[-1][1] == NOW + 32
    assert host.stub.used(booking) == 27
    assert not host.stored(booking).finished


def test_a_restart_neither_replays_nor_claims_the_time_between(host: Host) -> None:
    booking = host.book(starts_in=5, length=100)
    host.clock.stop_at = NOW + 30
    host.server().run()
    host.clock.stop_at = None
    host.clock.now = NOW + 41
    host.server().run(until_idle=True)
    intervals = host.stub.intervals(booking)
    assert (NOW + 30) in [end for _, end in intervals]
    assert (NOW + 41) in [begin for begin, _ in intervals]
    assert host.stub.used(booking) == 100 - 11
    sequences = [beat.sequence for beat in host.stub.heartbeats]
    assert sequences == sorted(set(sequences))
    assert host.events("retrying") == []


def test_killed_between_writing_and_sending_it_uses_a_new_number(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.stop_at = NOW + 20
    host.server().run()
    stored = host.stored(booking)
    used = stored.sequence + 1_000_000
    host.store.put(stored.model_copy(update={"sequence": used}))
    host.clock.stop_at = None
    host.server().run(until_idle=True)
    assert host.stub.heartbeats[-1].sequence > used
    assert host.events("retrying") == []


def test_a_lost_file_does_not_replay(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.stop_at = NOW + 20
    host.server().run()
    (host.store.folder / f"{booking}.json").unlink()
    host.clock.stop_at = None
    host.server().run(until_idle=True)
    assert host.events("retrying") == []
    assert host.stub.used(booking) == 60


def test_a_short_outage_loses_nothing(host: Host) -> None:
    booking = host.book(starts_in=5)

    def set_down(down: bool) -> Callable[[], None]:
        return lambda: setattr(host.stub, "down", down)

    host.clock.at = {NOW + 22: set_down(True), NOW + 31: set_down(False)}
    host.server().run(until_idle=True)
    assert host.events("retrying")
    assert host.stub.used(booking) == 60


def test_a_long_outage_claims_no_more_than_the_allowance(host: Host) -> None:
    booking = host.book(starts_in=5, length=100)

    def set_down(down: bool) -> Callable[[], None]:
        return lambda: setattr(host.stub, "down", down)

    host.clock.at = {NOW + 22: set_down(True), NOW + 60: set_down(False)}
    host.server().run(until_idle=True)
    intervals = host.stub.intervals(booking)
    assert max(end - begin for begin, end in intervals) == ALLOWANCE
    assert host.stub.used(booking) < 100
    assert host.stored(booking).covered_until == NOW + 105


def test_retries_back_off(host: Host) -> None:
    host.stub.down = True
    host.clock.stop_at = NOW + 40
    host.server().run()
    moments = [report.time - NOW for report in host.reports if report.event == "retrying"]
    gaps = [b - a for a, b in pairwise(moments)]
    assert gaps[:4] == [1, 2, 4, 8]
    assert max(gaps) == 8


def test_a_lost_answer_costs_nothing(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 30: lambda: setattr(host.stub, "lose_answers", 1)}
    host.server().run(until_idle=True)
    assert len(host.events("retrying")) == 1
    assert host.stub.used(booking) == 60


def test_an_end_that_cannot_be_reported_is_given_up(host: Host) -> None:
    booking = host.book(starts_in=5, length=30)
    host.clock.at = {NOW + 20: lambda: setattr(host.stub, "down", True)}
    host.clock.stop_at = NOW + 100
    host.server().run()
    assert host.events("stopped") == ["its end could not be reported in time"]
    assert host.stored(booking).finished


def test_it_stops_when_the_coordinator_says_so(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 30: lambda: setattr(host.stub, "serve", False)}
    host.server().run(until_idle=True)
    assert host.events("stopped") == ["the coordinator says to stop"]
    assert host.stub.used(booking) < 40
    host.server().run(once=True)
    assert len(host.events("accepted")) == 1


def test_it_stops_when_the_chain_says_so(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 30: lambda: host.close_on_chain(booking)}
    host.server().run(until_idle=True)
    assert host.events("stopped") == ["the booking is closed on-chain"]
    assert host.stub.intervals(booking)[-1][1] <= NOW + 30


def dispute(host: Host, booking: str, at: int) -> None:
    slot = host.slots[booking]
    host.slots[booking] = replace(slot, state=EscrowState.DISPUTED, disputed_at=at)


def test_a_dispute_that_the_chain_tells_stops_it_at_that_second(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 30: lambda: dispute(host, booking, NOW + 27)}
    host.server().run(until_idle=True)
    assert host.events("stopped") == ["its buyer has disputed it"]
    assert host.stub.intervals(booking)[-1][1] == NOW + 27
    assert host.stub.used(booking) == 22
    assert host.events("retrying") == []


def test_a_dispute_that_the_coordinator_tells_stops_it_at_that_second(host: Host) -> None:
    booking = host.book(starts_in=5)

    def know() -> None:
        host.node_down = True
        host.stub.disputed_at = NOW + 27

    host.clock.at = {NOW + 30: know}
    host.server().run(until_idle=True)
    assert host.events("stopped") == ["its buyer has disputed it"]
    assert host.stub.intervals(booking)[-1][1] == NOW + 27


def test_a_dispute_told_by_a_refused_heartbeat_costs_no_time_before_it(host: Host) -> None:
    booking = host.book(starts_in=5)

    def know_while_it_is_on_its_way(*_: object) -> str:
        if host.clock.now > NOW + 30 and host.stub.disputed_at is None:
            host.stub.disputed_at = host.clock.now - 3
        return "{}"

    server = host.server()
    server._links = replace(server._links, telemetry=know_while_it_is_on_its_way)
    server.run(until_idle=True)
    assert len(host.events("retrying")) == 1
    assert host.events("stopped") == ["its buyer has disputed it"]
    assert host.stub.intervals(booking)[-1][1] == host.stub.disputed_at


def test_a_dispute_before_what_was_reported_ends_it_without_another_word(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 30: lambda: dispute(host, booking, NOW + 10)}
    host.server().run(until_idle=True)
    assert host.events("stopped") == ["its buyer has disputed it"]
    assert NOW + 10 < host.stub.intervals(booking)[-1][1] <= NOW + 30
    assert host.events("retrying") == []


def test_a_dispute_that_a_reorg_takes_back_is_served_again(host: Host) -> None:
    booking = host.book(starts_in=5)
    slot = host.slots[booking]
    host.clock.at = {
        NOW + 29: lambda: dispute(host, booking, NOW + 29),
        NOW + 40: lambda: host.slots.update({booking: slot}),
    }
    host.clock.stop_at = NOW + 80
    host.server(interval=1).run()
    assert host.events("stopped") == ["its buyer has disputed it"]
    assert host.events("delivered") == ["served to its end"]


def test_a_receipt_for_less_is_kept_after_a_dispute_with_those_before(host: Host) -> None:
    booking = host.book(starts_in=0)
    host.clock.at = {NOW + 30: lambda: dispute(host, booking, NOW + 30)}
    make = host.stub.make_receipt
    host.stub.make_receipt = lambda b, t, money: (
        make(b, t, money) if host.clock.now < NOW + 30 else signed_receipt(b, 1)
    )
    host.server(interval=1).run(until_idle=True)
    earned = [signed.receipt.earned for signed in host.stored(booking).receipts]
    assert len(earned) == KEPT_RECEIPTS
    assert earned[-2:] == [2_900, 1]
    assert earned[:-1] == sorted(earned[:-1])


def test_one_stale_answer_of_a_node_gives_nothing_up(host: Host) -> None:
    booking = host.book(starts_in=5)
    slot = host.slots[booking]
    host.clock.at = {
        NOW + 29: lambda: host.close_on_chain(booking),
        NOW + 30: lambda: host.slots.update({booking: slot}),
    }
    host.server(interval=1).run(until_idle=True)
    assert host.events("stopped") == ["the booking is closed on-chain"]
    assert len(host.events("accepted")) == 2
    assert host.stored(booking).covered_until == NOW + 65
    assert host.stub.used(booking) >= 58


def test_it_stops_when_a_heartbeat_is_for_a_closed_booking(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 30: lambda: host.stub.refusals.append((409, "booking-closed"))}
    host.clock.stop_at = NOW + 60
    host.server().run()
    assert host.events("stopped") == ["the booking is closed"]
    assert host.stored(booking).finished


def test_a_node_that_is_down_stops_no_delivery_and_starts_none(host: Host) -> None:
    booking = host.book(starts_in=5)
    host.clock.at = {NOW + 20: lambda: setattr(host, "node_down", True)}
    host.clock.stop_at = NOW + 40
    host.server().run()
    assert host.stub.intervals(booking)[-1][1] == NOW + 40
    other = host.book(starts_in=50)
    host.clock.stop_at = NOW + 80
    host.server().run()
    assert host.stub.intervals(other) == []


def not_funded(host: Host, booking: str) -> None:
    host.close_on_chain(booking)


def of_another_provider(host: Host, booking: str) -> None:
    terms, gpu_id = host.stub.bookings[booking]
    altered = terms.model_copy(update={"provider": STRANGER.address})
    host.stub.bookings[booking] = (altered, gpu_id)


def with_other_terms(host: Host, booking: str) -> None:
    terms, gpu_id = host.stub.bookings[booking]
    altered = terms.model_copy(update={"amount": terms.amount + 1})
    host.stub.bookings[booking] = (altered, gpu_id)


def paying_another(host: Host, booking: str) -> None:
    host.slots[booking] = replace(host.slots[booking], provider=STRANGER.address)


def disputed(host: Host, booking: str) -> None:
    host.slots[booking] = replace(host.slots[booking], state=EscrowState.DISPUTED)


def refused_by_the_coordinator(host: Host, booking: str) -> None:
    terms, _ = host.stub.bookings[booking]
    host.stub.bookings[booking] = (terms, None)


def of_another_gpu(host: Host, booking: str) -> None:
    terms, _ = host.stub.bookings[booking]
    host.stub.bookings[booking] = (terms, gpu_id(PROVIDER.address, 2))


def with_another_listing(host: Host, booking: str) -> None:
    digest = host.stub.bookings[booking][0].listing
    cheaper = host.stub.offer(PROVIDER, floor_price=1)
    host.stub.listings[digest] = host.stub.listings[cheaper]


def with_a_forged_listing(host: Host, booking: str) -> None:
    digest = host.stub.bookings[booking][0].listing
    listing = host.stub.listings[digest].listing
    forged = sign(STRANGER, listing, DOMAIN)
    host.stub.listings[digest] = SignedListing(listing=listing, signature=forged)


def without_its_listing(host: Host, booking: str) -> None:
    del host.stub.listings[host.stub.bookings[booking][0].listing]


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (disputed, "its buyer has disputed it"),
        (not_funded, "the escrow holds no money for it"),
        (of_another_provider, "its terms pay another provider"),
        (with_other_terms, "its id is not that of its terms"),
        (paying_another, "the escrow holds no money for it"),
        (refused_by_the_coordinator, "the coordinator refused it: no quote offered it"),
        (of_another_gpu, "its listing is another GPU's"),
        (with_another_listing, "its listing is not the one that its terms name"),
        (with_a_forged_listing, "its listing is not signed by its provider"),
        (without_its_listing, "the coordinator does not have the listing that its terms name"),
    ],
)
def test_what_the_coordinator_names_is_verified_on_chain(
    host: Host, lie: Callable[[Host, str], None], says: str
) -> None:
    booking = host.book(starts_in=0)
    lie(host, booking)
    host.clock.stop_at = NOW + 30
    host.server().run()
    assert host.stub.heartbeats == []
    assert host.events("skipped") == [says]
    assert host.store.get(booking) is None


def test_another_providers_listing_sells_nothing(host: Host) -> None:
    host.book(starts_in=0, listing=host.stub.offer(STRANGER))
    host.server().run(once=True)
    assert host.events("skipped") == ["its listing is another provider's"]


@pytest.mark.parametrize(("amount", "event"), [(300, "accepted"), (299, "skipped"), (1, "skipped")])
def test_a_booking_pays_at_least_the_floor(host: Host, amount: int, event: str) -> None:
    host.book(
        starts_in=0,
        length=60,
        amount=amount,
        # A minute of it is 299 and a part of the next base unit.
        listing=host.stub.offer(PROVIDER, floor_price=300 * 60 - 1),
    )
    host.server().run(once=True)
    told = [report for report in host.reports if report.event in {"accepted", "skipped"}]
    assert [report.event for report in told] == [event]
    if event == "skipped":
        assert told[0].message == f"it pays {amount} base units, its listing's floor is 300"


def test_a_listing_that_cannot_be_had_now_is_asked_for_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = host.book(starts_in=5)
    listing = host.stub.listing
    busy = Problem(title="busy", status=503, code="database-unavailable", detail="busy")
    monkeypatch.setattr(host.stub, "listing", lambda _: (503, busy))
    host.clock.at = {NOW + 10: lambda: setattr(host.stub, "listing", listing)}
    host.server().run(until_idle=True)
    assert any("cannot verify the booking" in message for message in host.events("retrying"))
    assert host.stub.used(booking) > 0


def test_funded_after_a_refusal_it_is_served(host: Host) -> None:
    booking = host.book(starts_in=5)
    slot = host.slots[booking]
    host.close_on_chain(booking)
    host.clock.at = {NOW + 20: lambda: host.slots.update({booking: slot})}
    host.server().run(until_idle=True)
    assert host.stub.used(booking) > 0


@pytest.mark.parametrize("code", ["wrong-signer", "session-expired"])
def test_an_unusable_session_ends_it(host: Host, code: str) -> None:
    host.book(starts_in=0)
    host.stub.refusals = [(403, code)]
    with pytest.raises(WalletError, match="refuses this machine's session key"):
        host.server().run()


def test_an_expired_session_ends_it(host: Host) -> None:
    host.clock.now = host.session.grant.expires_at
    with pytest.raises(WalletError, match="expired"):
        host.server().run()


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, None), (429, None), (403, None), (404, "no-such-path"), (503, "database-unavailable")],
)
def test_what_a_proxy_says_ends_nothing(host: Host, status: int, code: str | None) -> None:
    booking = host.book(starts_in=5)
    server = host.server()
    ask = server._links.open_bookings

    def fail_at_first() -> Any:
        if host.clock.now < NOW + 10:
            raise CoordinatorError("not now", status=status, problem=code)
        return ask()

    server._links = replace(server._links, open_bookings=fail_at_first)
    server.run(until_idle=True)
    assert "not now" in host.events("retrying")
    assert host.stub.used(booking) > 0


def test_a_refused_request_is_not_retried_for_ever(host: Host) -> None:
    links = host.server()._links

    def refuse() -> Any:
        raise CoordinatorError("no", status=422, problem="invalid")

    server = Server(
        replace(links, open_bookings=refuse), MARKET, host.session, host.store, print, interval=1
    )
    with pytest.raises(CoordinatorError):
        server.run()


def signed_receipt(booking: str, earned: int, by: Any = ATTESTER) -> SignedReceipt:
    receipt = Receipt(booking_id=booking, earned=earned)
    return SignedReceipt(receipt=receipt, signature=sign(by, receipt, DOMAIN))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda b, _t, money: signed_receipt(b, money, STRANGER), "not signed by this market"),
        (lambda _b, _t, money: signed_receipt("0x" + "77" * 32, money), "the receipt is for b-"),
        (lambda b, t, _m: signed_receipt(b, t.amount), "ahead of the clock"),
    ],
)
def test_a_receipt_that_proves_nothing_is_not_kept(
    host: Host, make: Callable[[str, Terms, int], SignedReceipt], says: str
) -> None:
    booking = host.book(starts_in=0)
    host.stub.make_receipt = make
    host.clock.stop_at = NOW + 20
    host.server().run()
    assert any(says in message for message in host.events("receipt-refused"))
    assert host.stored(booking).receipt is None


def test_a_receipt_for_less_does_not_replace_one_for_more(host: Host) -> None:
    booking = host.book(starts_in=0)
    host.clock.at = {
        NOW + 30: lambda: setattr(host.stub, "make_receipt", lambda b, _t, _m: signed_receipt(b, 1))
    }
    host.clock.stop_at = NOW + 50
    host.server().run()
    assert host.stored(booking).receipt.receipt.earned > 1_000
    assert "it proves less than the one before" in host.events("receipt-refused")


def test_the_clock_tolerance_of_receipts_is_exact(host: Host) -> None:
    booking = host.book(starts_in=0)
    terms, _ = host.stub.bookings[booking]
    good, early = signed_receipt(booking, 500), signed_receipt(booking, 501)
    assert receipt_problem(good, booking, terms, MARKET, NOW) is None
    assert receipt_problem(early, booking, terms, MARKET, NOW) is not None


def test_what_is_on_disk_is_its_owners(host: Host) -> None:
    booking = host.book()
    host.server().run(once=True)
    path = host.store.folder / f"{booking}.json"
    assert path.stat().st_mode & 0o777 == 0o600
