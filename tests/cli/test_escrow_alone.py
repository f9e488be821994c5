"""What a wallet can do with a node alone, when every coordinator is gone."""

import time
from collections.abc import Callable

import pytest
from homes import remember

from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState
from checks import FAILED, NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from escrow_lab import CLAIM_WINDOW, EscrowLab
from in_process import json_here, run_here
from local_market import User


def fund(lab: EscrowLab, amount: int) -> Terms:
    """A booking that starts in a quarter of an hour, paid for."""
    now = max(int(time.time()), lab.now)
    return lab.fund(amount, fund_by=now + 600, starts_at=now + 900, ends_at=now + 960)


@pytest.fixture
def buyer(resident: Callable[[str], User]) -> User:
    return resident("buyer")


def test_the_buyer_cancels(lab: EscrowLab, buyer: User) -> None:
    terms = fund(lab, 1_500_000)
    booking = remember(lab, buyer, terms)
    before = lab.escrow.balance_of(lab.buyer.address)
    shown = json_here(buyer, "booking", "show", booking)
    assert (shown["id"], shown["amount"]) == (lab.id(terms), "1.5")
    assert shown["on_chain"] == {
        "state": "open",
        "remaining": "1.5",
        "disputed_at": None,
        "claim_before": terms.ends_at + CLAIM_WINDOW,
        "reclaim_from": terms.ends_at + CLAIM_WINDOW,
    }
    done = buyer.json("booking", "cancel", booking[:6], "--yes")
    assert (done["refunded"], done["action"], done["short_id"]) == ("1.5", "cancel", booking)
    assert lab.escrow.balance_of(lab.buyer.address) == before + 1_500_000
    assert lab.escrow.slot(lab.id(terms)).state is EscrowState.CLOSED
    again = run_here(buyer, "booking", "cancel", lab.id(terms), "--yes")
    assert_refused(again, FAILED, "holds no money")


def test_an_unanswered_question_cancels_nothing(lab: EscrowLab, buyer: User) -> None:
    terms = fund(lab, 1_000_000)
    done = run_here(buyer, "booking", "cancel", remember(lab, buyer, terms))
    assert done.returncode == 3
    assert done.stdout == ""
    assert lab.escrow.slot(lab.id(terms)).state is EscrowState.OPEN


def test_a_stranger_cannot_cancel(lab: EscrowLab, resident: Callable[[str], User]) -> None:
    stranger = resident("fee_recipient")
    terms = fund(lab, 1_000_000)
    done = run_here(stranger, "booking", "cancel", remember(lab, stranger, terms), "--yes")
    assert_refused(done, NOT_AUTHORISED, "neither bought nor provided")
    assert lab.escrow.slot(lab.id(terms)).state is EscrowState.OPEN


def test_too_early_and_too_late(lab: EscrowLab, buyer: User) -> None:
    begun = lab.terms(1_000_000, fund_by=1_000, starts_at=1_000, ends_at=2_000)
    refused = run_here(buyer, "booking", "cancel", remember(lab, buyer, begun), "--yes")
    assert_refused(refused, FAILED, "only its provider")
    running = fund(lab, 1_000_000)
    refused = run_here(buyer, "booking", "reclaim", remember(lab, buyer, running), "--yes")
    assert_refused(refused, FAILED, "can be reclaimed from")


def test_what_nobody_paid_cannot_be_reclaimed(lab: EscrowLab, buyer: User) -> None:
    terms = lab.terms(1_000_000, fund_by=1_000, starts_at=1_000, ends_at=2_000)
    booking = remember(lab, buyer, terms)
    before = fingerprint(buyer.home)
    assert_refused(run_here(buyer, "booking", "reclaim", booking, "--yes"), FAILED, "never paid")
    assert fingerprint(buyer.home) == before


def test_balances(lab: EscrowLab, buyer: User) -> None:
    shown = json_here(buyer, "wallet", "show")
    assert sorted(shown) == [
        "address",
        "balance",
        "coin_balance",
        "name",
        "owed_by_escrow",
        "symbol",
    ]
    assert shown["address"] == lab.buyer.address
    assert shown["symbol"] == "TUSD"
    assert_refused(
        run_here(buyer, "wallet", "show", AITBC_RPC_URL="http://127.0.0.1:9"),
        FAILED,
        "does not answer",
    )


def test_a_prefix_that_fits_two_bookings(lab: EscrowLab, buyer: User) -> None:
    ids: dict[str, str] = {}
    for salt in range(10_000):
        terms = lab.terms(1_000_000, salt=salt)
        prefix = lab.id(terms)[:4]
        if prefix in ids:
            break
        ids[prefix] = remember(lab, buyer, terms)
    remember(lab, buyer, terms)
    done = run_here(buyer, "booking", "cancel", prefix, "--yes")
    assert_refused(done, USAGE, "more than one booking")
