"""`aitbc provider` as installed: session, serve and claim, on a real chain and in real time."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aitbc.cli import lookup
from aitbc.protocol.messages import MAX_SIGHTINGS, Receipt
from aitbc.protocol.units import parse_amount
from aitbc.protocol.wire import SignedReceipt
from aitbc.provider import claims
from aitbc.provider.storage import BookingStore, ServedBooking
from aitbc.signing import sign
from escrow_lab import EscrowLab, user
from in_process import run_here
from local_market import Node, User, write_secret
from stub_coordinator import StubCoordinator
from wallets import give_wallet

AMOUNT = 10**15


def real_time() -> int:
    return int(time.time())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EscrowLab]:
    node = Node(tmp_path_factory.mktemp("node"))
    yield EscrowLab(node)
    node.stop()


@pytest.fixture
def coordinator(lab: EscrowLab) -> Iterator[StubCoordinator]:
    stub = StubCoordinator(lab.market, lab.attester, "", real_time)
    yield stub
    stub.close()


@pytest.fixture
def host(lab: EscrowLab, coordinator: StubCoordinator, tmp_path: Path) -> Iterator[User]:
    """The GPU host of the lab's provider, with the wallet in its keystore."""
    secret = write_secret(tmp_path / "passphrase")
    somebody = user(tmp_path / "home", secret, lab.node.rpc_url, coordinator.url)
    lab.profile(somebody.home)
    give_wallet(somebody.home / "keystore", secret, account=lab.provider)
    yield somebody
    for process in somebody.background:
        process.stop()


def book(lab: EscrowLab, coordinator: StubCoordinator, length: int) -> Any:
    """A booking in real time that starts in two seconds."""
    now = max(real_time(), lab.now)
    times = {"fund_by": now + 2, "starts_at": now + 2, "ends_at": now + 2 + length}
    terms = lab.fund(AMOUNT, listing=coordinator.offer(lab.provider), **times)
    coordinator.add(terms)
    return terms


def test_session_serve_and_claim_without_a_coordinator(
    lab: EscrowLab, coordinator: StubCoordinator, host: User
) -> None:
    session = host.json("provider", "session", "create", "--days", "3")
    assert session["provider"] == lab.provider.address
    assert session["session_key"] == coordinator.session_key
    assert isinstance(session["expires_at"], int)
    assert host.json("provider", "session", "show") == session
    assert (host.home / "provider" / "session.json").stat().st_mode & 0o777 == 0o600

    # From here on no passphrase is at hand: the wallet stays locked.
    locked = replace(host, passphrase_file=Path("/nonexistent"))
    server = locked.start(
        *("provider", "serve", "--until-idle", "--interval", "1", "--format", "json")
    )
    assert coordinator.asked.wait(60)
    terms = book(lab, coordinator, length=4)
    assert server.wait(60) == 0, server.tail()
    events = [json.loads(line) for line in server.lines]
    assert [event["event"] for event in events][:1] == ["accepted"]
    assert events[-1]["event"] == "delivered"
    assert {event["booking_id"] for event in events} == {lab.id(terms)}
    assert coordinator.used(lab.id(terms)) == 4

    coordinator.close()
    lab.move_to(max(lab.now, terms.ends_at) + 1)
    before = lab.escrow.balance_of(lab.provider.address)
    asked = host.run("provider", "claim")
    assert asked.returncode == 3
    assert "gas, about" in asked.stderr
    assert lab.escrow.balance_of(lab.provider.address) == before
    done = host.json("provider", "claim", "--yes")
    (claimed,) = done["claims"]
    assert claimed["id"] == lab.id(terms)
    paid = parse_amount(claimed["paid"], 18)
    assert paid + parse_amount(claimed["fee"], 18) == AMOUNT
    receipt: Any = lab.web3.eth.get_transaction_receipt(claimed["tx_hash"])
    gas = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert lab.escrow.balance_of(lab.provider.address) - before == paid - gas

    nothing = host.run("provider", "claim")
    assert nothing.returncode == 0
    assert "there is nothing to claim" in nothing.stderr
    assert "closed already" in nothing.stderr


def test_one_claim_that_fails_neither_stops_nor_hides_the_rest(
    lab: EscrowLab, host: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = max(real_time(), lab.now)
    times = {"fund_by": now + 60, "starts_at": now + 60, "ends_at": now + 120}
    first, second = lab.fund(AMOUNT, **times), lab.fund(AMOUNT, **times)
    store = BookingStore(host.home / "provider" / "bookings")
    for terms in (first, second):
        # A buyer's receipt needs no clock: one may sign away one's own money at any time.
        receipt = Receipt(booking_id=lab.id(terms), earned=AMOUNT // 4)
        signature = sign(lab.buyer, receipt, lab.escrow.domain)
        signed = SignedReceipt(receipt=receipt, signature=signature)
        store.put(
            ServedBooking(booking_id=lab.id(terms), gpu_id=None, terms=terms, receipts=(signed,))
        )
    plan = claims.plan

    def plan_then_lose_one(*arguments: Any) -> claims.Plan:
        found = plan(*arguments)
        lab.cancel(lab.provider, terms_of[found.claims[0].booking_id])
        return found

    terms_of = {lab.id(terms): terms for terms in (first, second)}
    monkeypatch.setattr(claims, "plan", plan_then_lose_one)
    done = run_here(host, "provider", "claim", "--yes", "--format", "json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    (claimed,), (failed,) = told["claims"], told["failed"]
    assert {claimed["id"], failed["id"]} == terms_of.keys()
    assert "the contract refuses" in failed["reason"]
    assert lab.escrow.slot(claimed["id"]).remaining == AMOUNT - AMOUNT // 4
    assert "1 could not be collected" in json.loads(done.stderr.splitlines()[-1])["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_last_heartbeat(
    lab: EscrowLab, coordinator: StubCoordinator, host: User, number: signal.Signals
) -> None:
    host.json("provider", "session", "create")
    # An interval so long that only the farewell can cover the time until the signal.
    server = host.start("provider", "serve", "--interval", "10", "--format", "json")
    terms = book(lab, coordinator, length=300)
    booking = lab.id(terms)
    server.wait_for("accepted")
    served_from = max(terms.starts_at, real_time())
    while real_time() < served_from + 2:
        time.sleep(0.1)
    server.popen.send_signal(number)
    assert server.wait(60) == 0, server.tail()
    stored = json.loads((host.home / "provider" / "bookings" / f"{booking}.json").read_text())
    assert stored["covered_until"] == coordinator.intervals(booking)[-1][1]
    assert stored["covered_until"] >= terms.starts_at + 2
    assert stored["finished"] is False
    assert "Traceback" not in server.tail()


def test_all_of_many_gpus_stay_on_the_market(
    lab: EscrowLab, coordinator: StubCoordinator, host: User
) -> None:
    host.json("provider", "session", "create")
    coordinator.page_size = 10
    for salt in range(MAX_SIGHTINGS + 14):
        coordinator.offer(lab.provider, salt=salt)
    done = run_here(host, "provider", "serve", "--once")
    assert done.returncode == 0, done.stderr
    assert [len(presence.gpus) for presence in coordinator.presences] == [MAX_SIGHTINGS, 14]
    assert len({seen.gpu_id for one in coordinator.presences for seen in one.gpus}) == 270


def test_a_list_of_gpus_without_an_end_is_not_read_for_ever(
    lab: EscrowLab, coordinator: StubCoordinator, host: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.json("provider", "session", "create")
    monkeypatch.setattr(lookup, "MAX_OWNED", 2 * lookup.PAGE)
    coordinator.page_size = 1
    for salt in range(3):
        coordinator.offer(lab.provider, salt=salt)
    done = run_here(host, "provider", "serve", "--once")
    assert "does not come to an end" in done.stderr
    assert coordinator.presences == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["serve"], 4, "no session key"),
        (["session", "show"], 4, "no session key"),
        (["session", "create", "--days", "0"], 2, "cannot last 0 days"),
        (["serve", "--interval", "0"], 2, "--interval"),
        (["serve", "--once", "--until-idle"], 2, "exclude each other"),
        (["claim", "--booking", "b-"], 2, "is not a booking's id"),
        (["claim", "--booking", "b-zzzz"], 1, "there is no booking"),
    ],
)
def test_bad_input(host: User, arguments: list[str], code: int, says: str) -> None:
    before = sorted(host.home.rglob("*"))
    done = run_here(host, "provider", *arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr.splitlines()[0]
    assert done.stdout == ""
    assert sorted(host.home.rglob("*")) == before


def test_a_coordinator_that_refuses_the_grant_leaves_nothing(
    host: User, coordinator: StubCoordinator
) -> None:
    coordinator.down = True
    done = run_here(host, "provider", "session", "create")
    assert done.returncode == 1
    assert "cannot reach the coordinator" in done.stderr
    assert not (host.home / "provider").exists()


def test_a_damaged_record_is_named(host: User) -> None:
    folder = host.home / "provider" / "bookings"
    folder.mkdir(parents=True)
    (folder / f"0x{'ab' * 32}.json").write_text("{")
    done = host.run("provider", "claim")
    assert done.returncode == 1
    assert "cannot read" in done.stderr
    assert "worth money" in done.stderr
