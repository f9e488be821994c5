"""Disputes at a terminal, with a node alone; and fetching what the escrow owes."""

import time
from collections.abc import Callable, Iterator

import pytest
from eth_account import Account
from homes import remember

from aitbc.chain.escrow import Escrow
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import ARBITER_WINDOW, EscrowState, clock_cap
from aitbc.protocol.units import format_amount, parse_amount
from checks import CANCELLED, FAILED, NOT_AUTHORISED, USAGE, assert_refused
from escrow_lab import CLAIM_WINDOW, FEE_BPS, EscrowLab
from in_process import json_here, run_here
from local_market import Node, User

AMOUNT = 6_000_000


@pytest.fixture(scope="module")
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose time these tests move."""
    started = Node(tmp_path_factory.mktemp("disputes-node"))
    yield started
    started.stop()


@pytest.fixture
def lab(own_node: Node) -> EscrowLab:
    return EscrowLab(own_node, native=False)


@pytest.fixture
def people(resident: Callable[[str], User]) -> dict[str, User]:
    return {role: resident(role) for role in ("buyer", "provider", "arbiter", "fee_recipient")}


def fund(lab: EscrowLab) -> Terms:
    """A booking of an hour, paid for; it starts in twenty seconds."""
    now = max(int(time.time()), lab.now)
    return lab.fund(AMOUNT, fund_by=now + 10, starts_at=now + 20, ends_at=now + 3_620)


def running(lab: EscrowLab) -> Terms:
    terms = fund(lab)
    lab.move_to(terms.starts_at + 900)
    return terms


def disputed(lab: EscrowLab) -> tuple[Terms, int]:
    terms = running(lab)
    return terms, lab.dispute(terms)


def test_the_buyer_stops_the_meter(lab: EscrowLab, people: dict[str, User]) -> None:
    terms, buyer = running(lab), people["buyer"]
    lab.claim(terms, AMOUNT // 8)
    booking = remember(lab, buyer, terms)
    asked = run_here(buyer, "booking", "dispute", booking)
    assert asked.returncode == CANCELLED
    assert lab.arbiter_address in asked.stderr
    assert "its provider has" in asked.stderr
    assert "0.75 TUSD" in asked.stderr
    assert "cannot be taken back" in asked.stderr
    assert lab.escrow.slot(lab.id(terms)).state is EscrowState.OPEN

    done = buyer.run("booking", "dispute", booking, "--yes")
    assert done.returncode == 0, done.stderr
    stopped = lab.escrow.slot(lab.id(terms)).disputed_at
    assert stopped is not None
    opens, ends = stopped + CLAIM_WINDOW, stopped + CLAIM_WINDOW + ARBITER_WINDOW
    shown = json_here(buyer, "booking", "show", booking)["on_chain"]
    assert shown == {
        "state": "disputed",
        "remaining": "5.25",
        "disputed_at": stopped,
        "claim_before": opens,
        "reclaim_from": ends,
    }
    hint = done.stderr.splitlines()[-1]
    assert lab.arbiter_address in hint
    assert f"aitbc booking reclaim {booking}" in hint
    again = run_here(buyer, "booking", "dispute", booking, "--yes")
    assert_refused(again, FAILED, "is disputed already")


def test_what_a_dispute_says_as_json(lab: EscrowLab, people: dict[str, User]) -> None:
    terms = running(lab)
    booking = remember(lab, people["buyer"], terms)
    done = json_here(people["buyer"], "booking", "dispute", booking, "--yes")
    stopped = lab.escrow.slot(lab.id(terms)).disputed_at
    assert stopped is not None
    assert len(done.pop("tx")) == 66
    assert done == {
        "id": lab.id(terms),
        "short_id": booking,
        "action": "dispute",
        "symbol": "TUSD",
        "buyer": lab.buyer.address,
        "provider": lab.provider.address,
        "remaining": "6",
        "arbiter": lab.arbiter_address,
        "disputed_at": stopped,
        "claim_before": stopped + CLAIM_WINDOW,
        "reclaim_from": stopped + CLAIM_WINDOW + ARBITER_WINDOW,
    }


@pytest.mark.parametrize("role", ["provider", "arbiter"])
def test_nobody_but_the_buyer_disputes(lab: EscrowLab, people: dict[str, User], role: str) -> None:
    booking = lab.id(running(lab))
    done = run_here(people[role], "booking", "dispute", booking, "--yes")
    assert_refused(done, NOT_AUTHORISED, f"only its buyer, {lab.buyer.address}")


def test_a_booking_is_disputed_only_while_it_runs(lab: EscrowLab, people: dict[str, User]) -> None:
    terms, buyer = fund(lab), people["buyer"]
    early = run_here(buyer, "booking", "dispute", lab.id(terms), "--yes")
    assert_refused(early, FAILED, "can be disputed from then on")
    assert "aitbc booking cancel" in early.stderr
    lab.move_to(terms.ends_at)
    late = run_here(buyer, "booking", "dispute", lab.id(terms), "--yes")
    assert_refused(late, FAILED, "only while it runs")


def test_a_market_without_an_arbiter_has_no_disputes(
    lab: EscrowLab, people: dict[str, User]
) -> None:
    plain = EscrowLab(lab.node, native=False, buyer=lab.buyer, arbiter=None)
    buyer = people["buyer"]
    plain.profile(buyer.home)
    terms = running(plain)
    booking = remember(plain, buyer, terms)
    for command in (["dispute"], ["resolve", "--percent", "50"]):
        verb, *options = command
        done = run_here(buyer, "booking", verb, booking, *options, "--yes")
        assert_refused(done, FAILED, "this market has no arbiter")
    cancelled = run_here(buyer, "booking", "cancel", booking, "--yes")
    assert_refused(cancelled, FAILED, "only its provider")
    assert "dispute" not in cancelled.stderr


@pytest.mark.parametrize(
    ("options", "earned"),
    [
        (["--earned", "1.5"], 1_500_000),
        (["--percent", "62.51"], AMOUNT * 6_251 // 10_000),
        (["--percent", "0"], 0),
        (["--percent", "100"], AMOUNT),
    ],
)
def test_the_arbiter_divides_the_rest_with_a_node_alone(
    lab: EscrowLab, people: dict[str, User], options: list[str], earned: int
) -> None:
    terms, stopped = disputed(lab)
    claimed = AMOUNT // 8
    lab.claim(terms, claimed)
    lab.move_to(stopped + CLAIM_WINDOW)
    buyer_had = lab.escrow.balance_of(lab.buyer.address)
    provider_had = lab.escrow.balance_of(lab.provider.address)
    # From another home, by the whole id: the terms come from the chain.
    done = json_here(people["arbiter"], "booking", "resolve", lab.id(terms), *options, "--yes")
    paid, fee, refunded = (parse_amount(done[name], 6) for name in ("paid", "fee", "refunded"))
    final = max(earned, claimed)
    assert paid + fee == final - claimed
    assert fee == AMOUNT * FEE_BPS // 10_000 - (AMOUNT - final) * FEE_BPS // 10_000 - claimed // 100
    assert refunded == AMOUNT - final
    assert done["action"] == "resolve"
    assert lab.escrow.balance_of(lab.buyer.address) == buyer_had + refunded
    assert lab.escrow.balance_of(lab.provider.address) == provider_had + paid


def test_what_was_claimed_is_not_taken_back(lab: EscrowLab, people: dict[str, User]) -> None:
    terms, stopped = disputed(lab)
    lab.claim(terms, AMOUNT // 8)
    lab.move_to(stopped + CLAIM_WINDOW)
    asked = run_here(people["arbiter"], "booking", "resolve", lab.id(terms), "--earned", "0")
    assert asked.returncode == CANCELLED
    assert "is not taken back" in asked.stderr
    assert format_amount(AMOUNT - AMOUNT // 8, 6) in asked.stderr


def test_resolving_at_the_wrong_time(lab: EscrowLab, people: dict[str, User]) -> None:
    arbiter = people["arbiter"]
    terms, stopped = disputed(lab)
    resolve = ("booking", "resolve", lab.id(terms), "--percent", "50", "--yes")
    assert_refused(run_here(arbiter, *resolve), FAILED, "arbiter's time begins at")
    lab.move_to(stopped + CLAIM_WINDOW + ARBITER_WINDOW)
    late = run_here(arbiter, *resolve)
    assert_refused(late, FAILED, "arbiter's time ended at")
    assert "aitbc booking reclaim" in late.stderr


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], USAGE, "give --earned AMOUNT or --percent PERCENT"),
        (["--earned", "1", "--percent", "1"], USAGE, "give --earned AMOUNT or --percent"),
        (["--earned", "6.000001"], USAGE, "the booking's price is 6 TUSD"),
        (["--percent", "100.01"], USAGE, "the booking's price is 6 TUSD"),
        (["--percent", "half"], USAGE, "--percent"),
        (["--percent", "1.005"], USAGE, "--percent"),
        (["--earned", "-1"], USAGE, "--earned"),
    ],
)
def test_bad_divisions(
    lab: EscrowLab, people: dict[str, User], options: list[str], code: int, says: str
) -> None:
    booking = lab.id(disputed(lab)[0])
    done = run_here(people["arbiter"], "booking", "resolve", booking, *options, "--yes")
    assert_refused(done, code, says)


def test_only_the_arbiter_resolves_and_only_what_is_disputed(
    lab: EscrowLab, people: dict[str, User]
) -> None:
    booking = lab.id(running(lab))
    resolve = ("booking", "resolve", booking, "--percent", "50", "--yes")
    assert_refused(run_here(people["buyer"], *resolve), NOT_AUTHORISED, "only the market's arbiter")
    plain = run_here(people["arbiter"], *resolve)
    assert_refused(plain, FAILED, "is not disputed")
    listed = run_here(people["buyer"], "booking", "list", "--as", "arbiter")
    assert_refused(listed, NOT_AUTHORISED, "is not this market's arbiter")


def test_a_node_that_names_another_booking_is_not_believed(
    lab: EscrowLab, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, other = lab.id(running(lab)), fund(lab)
    event = lab.escrow.funded_event(lab.id(other), lab.deploy_block)
    monkeypatch.setattr(Escrow, "funded_event", lambda *_: event)
    done = run_here(people["provider"], "booking", "cancel", wanted, "--yes")
    assert_refused(done, FAILED, "cannot reach the coordinator")
    assert lab.escrow.slot(lab.id(other)).state is EscrowState.OPEN


def test_giving_up_what_is_disputed(lab: EscrowLab, people: dict[str, User]) -> None:
    booking = lab.id(disputed(lab)[0])
    refused = run_here(people["buyer"], "booking", "cancel", booking, "--yes")
    assert_refused(refused, FAILED, "only its provider")
    done = json_here(people["provider"], "booking", "cancel", booking, "--yes")
    assert done["refunded"] == "6"


def test_a_disputed_booking_is_reclaimed_after_the_arbiters_time(
    lab: EscrowLab, people: dict[str, User]
) -> None:
    terms, stopped = disputed(lab)
    lab.move_to(max(stopped + CLAIM_WINDOW + ARBITER_WINDOW, terms.ends_at + CLAIM_WINDOW) - 60)
    reclaim = ("booking", "reclaim", lab.id(terms), "--yes")
    early = run_here(people["buyer"], *reclaim)
    assert_refused(early, FAILED, "can be reclaimed from")
    assert "the arbiter divide the rest" in early.stderr
    lab.move_to(stopped + CLAIM_WINDOW + ARBITER_WINDOW)
    assert json_here(people["fee_recipient"], *reclaim)["refunded"] == "6"
    assert lab.escrow.balance_of(lab.buyer.address) == 10**12


def test_the_most_that_can_be_claimed_is_told(lab: EscrowLab, people: dict[str, User]) -> None:
    terms = running(lab)
    asked = run_here(people["buyer"], "booking", "dispute", lab.id(terms))
    most = next(line for line in asked.stderr.splitlines() if "at most" in line)
    told = parse_amount(most.split()[-2], 6)
    assert clock_cap(terms, terms.starts_at + 900) <= told <= clock_cap(terms, lab.now + 60)


def test_the_fee_recipient_withdraws(lab: EscrowLab, people: dict[str, User]) -> None:
    terms, recipient = fund(lab), people["fee_recipient"]
    nothing = json_here(recipient, "wallet", "withdraw")
    assert (nothing["withdrawn"], nothing["tx"]) == ("0", None)
    lab.move_to(terms.ends_at)
    lab.settle_many(terms)
    asked = run_here(recipient, "wallet", "withdraw")
    assert asked.returncode == CANCELLED
    assert "0.06 TUSD" in asked.stderr
    elsewhere = Account.create().address
    done = recipient.json("wallet", "withdraw", "--to", elsewhere.lower(), "--yes")
    assert (done["withdrawn"], done["to"]) == ("0.06", elsewhere)
    assert done["account"] == lab.fee_recipient.address
    assert len(done["tx"]) == 66
    assert lab.escrow.balance_of(elsewhere) == 60_000
    assert lab.escrow.owed(lab.fee_recipient.address) == 0


def test_a_buyer_withdraws_a_refund_that_failed(lab: EscrowLab, people: dict[str, User]) -> None:
    lab, buyer = EscrowLab(lab.node, buyer=lab.buyer), people["buyer"]
    lab.profile(buyer.home)
    terms = lab.fund(AMOUNT)
    lab.refuse_payments(lab.buyer.address)
    lab.cancel(lab.provider, terms)
    assert lab.escrow.owed(lab.buyer.address) == AMOUNT

    refusing = lab.provider.address
    lab.refuse_payments(refusing)
    lab.accept_payments(lab.buyer.address)
    failed = run_here(buyer, "wallet", "withdraw", "--to", refusing, "--yes")
    assert_refused(failed, FAILED, f"{refusing} cannot be paid")
    assert "--to ADDRESS" in failed.stderr
    done = json_here(buyer, "wallet", "withdraw", "--yes")
    assert (done["withdrawn"], done["to"]) == (format_amount(AMOUNT, 18), lab.buyer.address)
    assert lab.escrow.owed(lab.buyer.address) == 0


@pytest.mark.parametrize("to", ["0x12", "0x" + "00" * 20, "escrow", "token"])
def test_where_no_money_is_sent(lab: EscrowLab, people: dict[str, User], to: str) -> None:
    named = {"escrow": lab.escrow.domain.escrow, "token": lab.market.token or ""}
    done = run_here(people["buyer"], "wallet", "withdraw", "--to", named.get(to, to), "--yes")
    assert_refused(done, USAGE, "--to: ")
