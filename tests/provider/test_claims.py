"""Collecting on a real chain: what receipts prove, what is owed, and why the rest is not."""

from collections.abc import Iterator
from typing import Any

import pytest
from hexbytes import HexBytes

from aitbc.protocol.messages import Terms
from aitbc.protocol.states import fee
from aitbc.protocol.wire import SignedReceipt
from aitbc.provider import claims
from aitbc.provider.checks import receipt_problem
from aitbc.provider.storage import ServedBooking
from escrow_lab import CLAIM_WINDOW, FEE_BPS, EscrowLab
from local_market import Node

AMOUNT = 10**15
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"))
    yield node
    node.stop()


@pytest.fixture
def lab(node: Node) -> EscrowLab:
    return EscrowLab(node)


def served(lab: EscrowLab, terms: Terms, *receipts: SignedReceipt) -> ServedBooking:
    return ServedBooking(booking_id=lab.id(terms), gpu_id=None, terms=terms, receipts=receipts)


def plan(lab: EscrowLab, *bookings: ServedBooking) -> claims.Plan:
    return claims.plan(lab.escrow, lab.provider.address, bookings)


def collect(lab: EscrowLab, wanted: claims.Plan) -> list[claims.Collected]:
    sent: list[str] = []
    outcome = claims.collect(lab.escrow, lab.provider, wanted, sent.append)
    assert outcome.failed == ()
    assert outcome.withdrawn is None
    done = [item for _, item in outcome.claimed]
    assert sent == [item.tx_hash for item in done]
    return done


def gas_of(lab: EscrowLab, *transactions: str) -> int:
    total = 0
    for tx_hash in transactions:
        receipt: Any = lab.web3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]  # hex
        total += receipt["gasUsed"] * receipt["effectiveGasPrice"]
    return total


def test_a_receipt_is_paid_to_the_wei(lab: EscrowLab) -> None:
    terms = lab.fund(AMOUNT)
    half = lab.receipt(terms, AMOUNT // 2)
    lab.move_to(terms.starts_at + 45)
    wanted = plan(lab, served(lab, terms, half))
    assert wanted.gas_cost > 0
    assert wanted.owed == 0
    before = lab.escrow.balance_of(lab.provider.address)
    (done,) = collect(lab, wanted)
    due = AMOUNT // 2 - fee(AMOUNT // 2, FEE_BPS)
    assert (done.paid, done.deferred) == (due, 0)
    assert wanted.claims[0].paid == due
    after = lab.escrow.balance_of(lab.provider.address)
    assert after - before == due - gas_of(lab, done.tx_hash)

    again = plan(lab, served(lab, terms, half))
    assert again.empty
    assert [item.reason for item in again.skipped] == ["the receipt proves nothing new"]
    more = plan(lab, served(lab, terms, lab.receipt(terms, AMOUNT * 3 // 4)))
    (rest,) = collect(lab, more)
    assert done.paid + rest.paid + done.fee + rest.fee == AMOUNT * 3 // 4


def test_a_receipt_is_kept_in_the_one_form_that_the_escrow_takes(lab: EscrowLab) -> None:
    terms = lab.fund(AMOUNT)
    receipt = lab.receipt(terms, AMOUNT // 2)
    lab.move_to(terms.starts_at + 45)
    good = bytes(HexBytes(receipt.signature))
    s = int.from_bytes(good[32:64], "big")
    mirrored = good[:32] + (CURVE_ORDER - s).to_bytes(32, "big")
    compact = good[:32] + (s | (good[64] - 27) << 255).to_bytes(32, "big")
    forms = [half + bytes([v]) for half in (good[:64], mirrored) for v in (0, 1, 2, 26, 27, 28, 29)]
    for form in (*forms, compact, good[:64], good + b"\0"):
        shown = receipt.model_copy(update={"signature": "0x" + form.hex()})
        problem = receipt_problem(shown, lab.id(terms), terms, lab.market, lab.now)
        claimable = not plan(lab, served(lab, terms, shown)).empty
        assert (problem is None) == claimable == (form == good), form.hex()


def test_what_cannot_be_claimed_says_why(lab: EscrowLab, node: Node) -> None:
    silent, gone, late, early = (lab.fund(AMOUNT) for _ in range(4))
    lab.cancel(lab.buyer, gone)
    foreign = EscrowLab(node)
    other = foreign.terms(AMOUNT)
    found = plan(
        lab,
        served(lab, silent),
        served(lab, gone, lab.receipt(gone, 1)),
        served(foreign, other, foreign.receipt(other, 1)),
        served(lab, early, lab.receipt(early, AMOUNT)),
    )
    assert found.empty
    reasons = [item.reason for item in found.skipped]
    assert reasons[:3] == ["no receipt on disk", "closed already", "of another market"]
    assert "Escrow_AheadOfClock" in reasons[3]
    lab.move_to(late.ends_at + CLAIM_WINDOW)
    (skipped,) = plan(lab, served(lab, late, lab.receipt(late, AMOUNT))).skipped
    assert skipped.reason == "its claim window has passed"


def test_the_last_second_of_the_claim_window(lab: EscrowLab) -> None:
    terms = lab.fund(AMOUNT)
    lab.move_to(terms.ends_at + CLAIM_WINDOW - 2)
    wanted = plan(lab, served(lab, terms, lab.receipt(terms, AMOUNT)))
    lab.rpc("evm_setNextBlockTimestamp", terms.ends_at + CLAIM_WINDOW - 1)
    (done,) = collect(lab, wanted)
    assert done.paid + done.fee == AMOUNT


def test_what_a_failed_payment_left_is_withdrawn(lab: EscrowLab) -> None:
    terms = lab.fund(AMOUNT)
    lab.move_to(terms.ends_at)
    lab.refuse_payments(lab.provider.address)
    lab.settle_many(terms)
    lab.accept_payments(lab.provider.address)
    found = plan(lab)
    due = AMOUNT - fee(AMOUNT, FEE_BPS)
    assert found.owed == due
    assert not found.empty
    outcome = claims.collect(lab.escrow, lab.provider, found, lambda _: None)
    assert outcome.claimed == ()
    assert outcome.withdrawn is not None
    assert outcome.withdrawn.amount == due
    assert plan(lab).empty


def test_a_disputed_booking_is_claimed_with_the_receipt_of_before(lab: EscrowLab) -> None:
    terms = lab.fund(AMOUNT)
    before, after, late = (lab.receipt(terms, AMOUNT * n // 60) for n in (20, 30, 40))
    assert lab.dispute(terms, at=terms.starts_at + 30) == terms.starts_at + 30
    lab.move_to(terms.ends_at)
    # The attester's last word may be for less: what it signed before stands.
    receipts = (before, after, late, lab.receipt(terms, 1))
    (done,) = collect(lab, plan(lab, served(lab, terms, *receipts)))
    assert done.paid + done.fee == AMOUNT * 30 // 60
    assert lab.escrow.slot(lab.id(terms)).disputed_at == terms.starts_at + 30
    (nothing_new,) = plan(lab, served(lab, terms, before)).skipped
    assert nothing_new.reason == "the receipt proves nothing new"
    (ahead,) = plan(lab, served(lab, terms, late)).skipped
    assert "Escrow_AheadOfClock" in ahead.reason


def test_the_last_second_of_a_disputes_claim_window(lab: EscrowLab) -> None:
    terms, other = lab.fund(AMOUNT), lab.fund(AMOUNT)
    stopped, later = lab.dispute(terms, at=terms.starts_at + 30), terms.starts_at + 32
    lab.dispute(other, at=later)
    lab.move_to(stopped + CLAIM_WINDOW - 2)
    wanted = plan(lab, served(lab, terms, lab.receipt(terms, AMOUNT // 2)))
    lab.rpc("evm_setNextBlockTimestamp", stopped + CLAIM_WINDOW - 1)
    (done,) = collect(lab, wanted)
    assert done.paid + done.fee == AMOUNT // 2
    lab.move_to(later + CLAIM_WINDOW)
    (skipped,) = plan(lab, served(lab, other, lab.receipt(other, AMOUNT // 2))).skipped
    assert skipped.reason == "its claim window has passed"


def test_a_withdrawal_that_is_refused_keeps_no_claim_back(lab: EscrowLab) -> None:
    settled, served_still = lab.fund(AMOUNT), lab.fund(AMOUNT)
    lab.move_to(served_still.ends_at)
    lab.refuse_payments(lab.provider.address)
    lab.settle_many(settled)
    found = plan(lab, served(lab, served_still, lab.receipt(served_still, AMOUNT)))
    (wanted,), (skipped,) = found.claims, found.skipped
    assert wanted.booking_id == lab.id(served_still)
    assert found.owed == 0
    assert found.gas_cost > 0
    assert skipped.booking_id is None
    assert "the contract refuses" in skipped.reason


def test_what_is_refused_meanwhile_keeps_nothing_else_back(lab: EscrowLab) -> None:
    gone, owed, still = (lab.fund(AMOUNT) for _ in range(3))
    lab.move_to(owed.ends_at)
    lab.refuse_payments(lab.provider.address)
    lab.settle_many(owed)
    lab.accept_payments(lab.provider.address)
    bookings = [served(lab, terms, lab.receipt(terms, AMOUNT)) for terms in (gone, still)]
    wanted = plan(lab, *bookings)
    lab.settle_many(gone)
    outcome = claims.collect(lab.escrow, lab.provider, wanted, lambda _: None)
    assert [booking_id for booking_id, _ in outcome.claimed] == [lab.id(still)]
    assert outcome.withdrawn is not None
    (failed,) = outcome.failed
    assert failed.booking_id == lab.id(gone)
    assert "the contract refuses" in str(failed.error)
