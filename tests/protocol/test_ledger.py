"""The ledger balances for every history that an escrow can have, and for no altered one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aitbc.protocol import events as ev
from aitbc.protocol.ledger import Ledger, Money, Rules, build_ledger, compare, moves
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import ARBITER_WINDOW, BookingStatus
from aitbc.protocol.types import ZERO_ADDRESS
from escrow_model import EscrowModel, cap, times
from strategies import DOMAIN

ACCOUNTS = ["0x" + f"{n:02x}" * 20 for n in range(1, 6)]
FEE_RECIPIENT = "0x" + "fe" * 20
ARBITER = "0x" + "ab" * 20
WINDOW = 1_000
NOTHING_OWED = dict.fromkeys(ACCOUNTS, 0)
START = 1_000_000


def rules(fee_bps: int = 100, arbiter: str = ARBITER) -> Rules:
    return Rules(DOMAIN, fee_bps, FEE_RECIPIENT, WINDOW, arbiter)


@st.composite
def histories(draw: st.DrawFn) -> EscrowModel:
    """Up to five bookings, each through claims, a close or none, among accounts of which some
    refuse what is pushed to them."""
    model = EscrowModel(
        rules=rules(
            draw(st.integers(0, 1_000)), draw(st.sampled_from([ARBITER, ARBITER, ZERO_ADDRESS]))
        ),
        rejecting=frozenset(draw(st.sets(st.sampled_from([*ACCOUNTS, FEE_RECIPIENT])))),
        now=START,
        donations=draw(st.integers(0, 10)),
    )
    for salt in range(draw(st.integers(1, 5))):
        model.mine(draw(st.integers(0, 3)))
        fund_by = model.now + draw(st.integers(1, 20))
        starts_at = fund_by + draw(st.integers(0, 20))
        model.fund(
            Terms(
                buyer=draw(st.sampled_from(ACCOUNTS)),
                provider=draw(st.sampled_from(ACCOUNTS)),
                amount=draw(st.one_of(st.integers(1, 30_000), st.just(2**88 - 1))),
                fund_by=fund_by,
                starts_at=starts_at,
                ends_at=starts_at + draw(st.integers(1, 60)),
                listing="0x" + "00" * 32,
                salt=salt,
            )
        )
    for _ in range(draw(st.integers(0, 12))):
        _act(draw, model)
    return model


def _act(draw: st.DrawFn, model: EscrowModel) -> None:
    model.mine(draw(st.one_of(st.integers(0, 40), st.sampled_from([WINDOW, ARBITER_WINDOW]))))
    debtors = sorted(account for account, amount in model.owed.items() if amount)
    verbs = ["claim", "claim", "settle", "settle", "dispute", "dispute", "resolve"]
    verbs += ["cancel", "reclaim", *(["withdraw"] if debtors else [])]
    verb = draw(st.sampled_from(verbs))
    if verb == "withdraw":
        model.withdraw(draw(st.sampled_from(debtors)))
        return
    candidates = list(filter(ALLOWED[verb](model), model.remaining))
    if not candidates:
        return
    if verb == "settle":
        _settle(draw, model, draw(st.lists(st.sampled_from(candidates), min_size=1, unique=True)))
        return
    booking = draw(st.sampled_from(candidates))
    terms = model.terms[booking]
    claimed = terms.amount - model.remaining[booking]
    match verb:
        case "claim":
            model.claim(booking, draw(st.integers(claimed + 1, terms.amount)))
        case "resolve":
            model.resolve(booking, draw(st.integers(0, terms.amount)))
        case "cancel":
            early = model.now < terms.starts_at
            model.cancel(booking, draw(st.sampled_from([terms.buyer, terms.provider][not early :])))
        case _:
            getattr(model, verb)(booking)


def _settle(draw: st.DrawFn, model: EscrowModel, wanted: list[str]) -> None:
    ended = [b for b in wanted if model.now >= model.terms[b].ends_at]
    together: bool = draw(st.booleans())
    if ended and together:
        model.settle_many(ended)
    else:
        model.settle_each([(b, draw(st.integers(0, cap(model, b)))) for b in wanted])


def _payable(model: EscrowModel) -> Callable[[str], bool]:
    return lambda b: model.now < times(model, b).claim_before


ALLOWED: dict[str, Callable[[EscrowModel], Callable[[str], bool]]] = {
    "claim": _payable,
    "settle": lambda m: lambda b: _payable(m)(b) and b not in m.disputed,
    "dispute": lambda m: (
        lambda b: (
            m.rules.arbiter != ZERO_ADDRESS
            and b not in m.disputed
            and m.terms[b].starts_at <= m.now < m.terms[b].ends_at
        )
    ),
    "resolve": lambda m: (
        lambda b: b in m.disputed and times(m, b).claim_before <= m.now < times(m, b).reclaim_from
    ),
    "cancel": lambda _: lambda _: True,
    "reclaim": lambda m: lambda b: m.now >= times(m, b).reclaim_from,
}
"""Which bookings a verb can be used on now."""


def books(model: EscrowModel) -> Ledger:
    return build_ledger(model.events, model.rules)


@given(model=histories())
def test_every_history_reconciles_to_the_unit(model: EscrowModel) -> None:
    ledger = books(model)
    assert ledger.violations == []
    assert compare(ledger, model.state) == []
    assert ledger.balanced
    assert ledger.funded == sum(terms.amount for terms in model.terms.values())
    assert ledger.left == model.left
    assert ledger.left.total == sum(model.received.values())
    assert ledger.open == sum(model.remaining.values())
    assert {a: m for a, m in ledger.owed.items() if m.total} == {
        a: m for a, m in model.owed_by_kind.items() if m.total
    }
    assert model.state.balance - ledger.held == model.donations
    for line in ledger.bookings.values():
        assert line.terms.amount == line.paid + line.fee + line.refunded + line.remaining
        assert line.status.closed == (line.booking_id not in model.remaining)


AMOUNTS = {
    ev.Funded: ("terms",),
    ev.Disputed: (),
    ev.Resolved: ("paid", "fee", "refunded"),
    ev.Claimed: ("paid", "fee"),
    ev.Settled: ("paid", "fee", "refunded"),
    ev.SettledInFull: ("fee",),
    ev.Cancelled: ("refunded",),
    ev.Reclaimed: ("refunded",),
    ev.PayoutDeferred: ("amount",),
    ev.RefundDeferred: ("amount",),
    ev.Withdrawn: ("amount",),
}


def altered(event: ev.EscrowEvent, name: str, by: int) -> ev.EscrowEvent:
    value = getattr(event, name)
    if isinstance(value, Terms):
        by = by if 0 <= value.amount + by < 2**88 else -by
        value = value.model_copy(update={"amount": value.amount + by})
    else:
        value += by
    changes: dict[str, Any] = {name: value}
    return dataclasses.replace(event, **changes)


def concerned(model: EscrowModel, event: ev.EscrowEvent) -> set[str]:
    """The bookings that may rightly be named for a change of this event."""
    if isinstance(event, ev.BookingEvent):
        return {event.booking_id}
    account = str(getattr(event, "account", ""))
    if account == FEE_RECIPIENT:
        return set(model.terms)
    return {b for b, t in model.terms.items() if account in {t.buyer, t.provider}}


def totals(ledger: Ledger) -> Any:
    lines = {(b, line.paid, line.fee, line.refunded) for b, line in ledger.bookings.items()}
    return lines, ledger.left, ledger.owed


def made_up_for(event: ev.EscrowEvent, before: Ledger, after: Ledger) -> bool:
    """Whether a settlement in full paid what a claim did not: the total is then the same."""
    if not isinstance(event, ev.Claimed):
        return False
    last = after.bookings[event.booking_id].events[-1]
    return isinstance(last, ev.SettledInFull) and totals(before) == totals(after)


@given(model=histories(), data=st.data())
def test_one_unit_off_names_the_booking(model: EscrowModel, data: st.DataObject) -> None:
    altering = [n for n, event in enumerate(model.events) if AMOUNTS[type(event)]]
    index = data.draw(st.sampled_from(altering))
    event = model.events[index]
    name = data.draw(st.sampled_from(AMOUNTS[type(event)]))
    by = data.draw(st.sampled_from([-1, 1]))
    state, before = model.state, books(model)
    model.events[index] = altered(event, name, by)
    ledger = books(model)
    violations = [*ledger.violations, *compare(ledger, state)]
    named = {booking for violation in violations for booking in violation.bookings}
    unseen = not violations and name == "paid" and made_up_for(event, before, ledger)
    assert named & concerned(model, event) or unseen, violations


@given(model=histories(), data=st.data())
def test_an_event_left_out_repeated_or_moved_is_noticed(
    model: EscrowModel, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(model.events) - 1))
    event = model.events[index]
    state, before = model.state, books(model)
    change = data.draw(st.sampled_from(["omit", "repeat", "swap"]))
    match change:
        case "omit":
            del model.events[index]
        case "repeat":
            model.events.insert(index, event)
        case "swap":
            assume(index > 0)
            model.events[index], model.events[index - 1] = model.events[index - 1], event
    if change == "omit" and isinstance(event, ev.Funded):
        # The books cannot miss what nothing else mentions, except in the balance.
        ledger = books(model)
        later = any(getattr(e, "booking_id", "") == event.booking_id for e in model.events)
        surplus = state.balance - ledger.held - model.donations
        assert ledger.violations if later else surplus == event.terms.amount
        return
    if change == "omit" and isinstance(event, ev.Disputed):
        # It moves no money: once its booking is closed, the escrow's slot is silent about it.
        assume(event.booking_id in state.disputed)
    ledger = books(model)
    noticed = [*ledger.violations, *compare(ledger, state)]
    assert noticed or (change == "omit" and made_up_for(event, before, ledger))


BUYER, PROVIDER, STRANGER = ACCOUNTS[:3]


class Story:
    """One booking of 6,000 units for a minute, at a fee of one percent."""

    def __init__(self) -> None:
        self.model = EscrowModel(rules(), frozenset(), START)
        self.terms = Terms(
            buyer=BUYER,
            provider=PROVIDER,
            amount=6_000,
            fund_by=START + 10,
            starts_at=START + 20,
            ends_at=START + 80,
            listing="0x" + "00" * 32,
            salt=1,
        )
        self.model.mine(0)
        self.id = self.model.fund(self.terms)

    def at(self, second: int) -> EscrowModel:
        """The model in a new block, `second` seconds into the booking."""
        self.model.mine(self.terms.starts_at + second - self.model.now)
        return self.model

    def only_violation(self) -> str:
        violations = books(self.model).violations
        assert [violation.bookings for violation in violations] == [(self.id,)], violations
        return violations[0].message


@pytest.fixture
def story() -> Story:
    return Story()


def test_partial_use_is_split(story: Story) -> None:
    story.at(60).settle_each([(story.id, 4_000)])
    ledger = books(story.model)
    assert ledger.violations == []
    assert ledger.left == Money(paid=3_960, refunded=2_000)
    assert ledger.owed == {FEE_RECIPIENT: Money(fees=40)}
    assert ledger.bookings[story.id].status is BookingStatus.SETTLED


def test_a_full_claim_closes(story: Story) -> None:
    story.at(10).claim(story.id, 6_000)
    assert books(story.model).bookings[story.id].status is BookingStatus.SETTLED


def test_a_settlement_ahead_of_the_clock(story: Story) -> None:
    story.at(30).settle_each([(story.id, 3_001)])
    assert "ahead of the clock" in story.only_violation()


def test_a_buyers_receipt_may_run_ahead_and_be_settled_below(story: Story) -> None:
    story.at(1).claim(story.id, 5_000)
    story.at(30).settle_each([(story.id, 3_000)])
    assert books(story.model).violations == []


def test_settled_in_full_before_the_end(story: Story) -> None:
    story.at(59).settle_many([story.id])
    assert "before its end" in story.only_violation()


@pytest.mark.parametrize("verb", ["claim", "settle_each", "settle_many"])
def test_a_payout_after_the_claim_window(story: Story, verb: str) -> None:
    model = story.at(60 + WINDOW)
    argument: Any = {"settle_each": [(story.id, 100)], "settle_many": [story.id]}.get(verb)
    if verb == "claim":
        model.claim(story.id, 100)
    else:
        getattr(model, verb)(argument)
    assert "after its claim window" in story.only_violation()


def test_a_reclaim_inside_the_claim_window(story: Story) -> None:
    story.at(59 + WINDOW).reclaim(story.id)
    assert "before the time of all others" in story.only_violation()


def test_a_dispute_stops_the_meter_and_is_resolved(story: Story) -> None:
    story.at(30).dispute(story.id)
    disputed = books(story.model).bookings[story.id]
    assert (disputed.status, disputed.disputed_at) == (BookingStatus.DISPUTED, START + 50)
    story.at(40).claim(story.id, 1_000)
    assert books(story.model).bookings[story.id].status is BookingStatus.DISPUTED
    story.at(30 + WINDOW).resolve(story.id, 4_000)
    ledger = books(story.model)
    assert ledger.violations == []
    assert ledger.left == Money(paid=3_960, refunded=2_000)
    assert ledger.owed == {FEE_RECIPIENT: Money(fees=40)}
    assert ledger.bookings[story.id].status is BookingStatus.RESOLVED


def test_the_arbiter_divides_without_the_clock(story: Story) -> None:
    story.at(0).dispute(story.id)
    story.at(WINDOW).resolve(story.id, 6_000)
    assert books(story.model).violations == []


def test_a_full_claim_closes_a_disputed_booking(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(29 + WINDOW).claim(story.id, 6_000)
    ledger = books(story.model)
    assert ledger.violations == []
    assert ledger.bookings[story.id].status is BookingStatus.SETTLED


@pytest.mark.parametrize("second", [-1, 60])
def test_a_dispute_while_the_booking_does_not_run(story: Story, second: int) -> None:
    story.at(second).dispute(story.id)
    assert "while it does not run" in story.only_violation()


@pytest.mark.parametrize("second", [0, 59])
def test_a_dispute_at_the_edges(story: Story, second: int) -> None:
    story.at(second).dispute(story.id)
    assert books(story.model).violations == []


def test_a_dispute_without_an_arbiter(story: Story) -> None:
    story.model.rules = rules(arbiter=ZERO_ADDRESS)
    story.at(30).dispute(story.id)
    assert "without an arbiter" in story.only_violation()


def test_a_second_dispute(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(31).dispute(story.id)
    assert "disputed twice" in story.only_violation()


def test_a_dispute_of_what_is_closed(story: Story) -> None:
    story.at(30).cancel(story.id, PROVIDER)
    story.at(31).dispute(story.id)
    assert "Disputed after it was cancelled" in story.only_violation()
    assert books(story.model).open_bookings == []


def test_a_resolution_without_a_dispute(story: Story) -> None:
    story.at(60).resolve(story.id, 3_000)
    assert "without a dispute" in story.only_violation()


@pytest.mark.parametrize("second", [29 + WINDOW, 30 + WINDOW + ARBITER_WINDOW])
def test_a_resolution_outside_of_the_arbiters_time(story: Story, second: int) -> None:
    story.at(30).dispute(story.id)
    story.at(second).resolve(story.id, 3_000)
    assert "outside of the arbiter's time" in story.only_violation()


def test_the_last_second_of_the_arbiter(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(29 + WINDOW + ARBITER_WINDOW).resolve(story.id, 3_000)
    assert books(story.model).violations == []


@pytest.mark.parametrize("together", [True, False])
def test_a_settlement_of_a_disputed_booking(story: Story, together: bool) -> None:
    story.at(30).dispute(story.id)
    model = story.at(60)
    if together:
        model.settle_many([story.id])
    else:
        model.settle_each([(story.id, 3_000)])
    assert "although it is disputed" in story.only_violation()


def test_a_claim_after_a_disputes_claim_window(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(30 + WINDOW).claim(story.id, 100)
    assert "after its claim window" in story.only_violation()


def test_a_disputed_booking_is_not_reclaimed_in_the_arbiters_time(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(29 + WINDOW + ARBITER_WINDOW).reclaim(story.id)
    assert "before the time of all others" in story.only_violation()


def test_a_disputed_booking_is_reclaimed_after_the_arbiters_time(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(30 + WINDOW + ARBITER_WINDOW).reclaim(story.id)
    assert books(story.model).violations == []


def test_a_buyer_does_not_cancel_what_is_disputed(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(31).cancel(story.id, BUYER)
    assert "its buyer cancelled after the start" in story.only_violation()


def test_a_provider_cancels_what_is_disputed(story: Story) -> None:
    story.at(30).dispute(story.id)
    story.at(31).cancel(story.id, PROVIDER)
    assert books(story.model).violations == []


def test_a_buyers_cancel_after_the_start(story: Story) -> None:
    story.at(0).cancel(story.id, BUYER)
    assert "after the start" in story.only_violation()


def test_a_strangers_cancel(story: Story) -> None:
    story.at(-1).cancel(story.id, STRANGER)
    assert "no party" in story.only_violation()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("fund_by", START, "too late"),
        ("starts_at", START + 5, "out of order"),
        ("ends_at", START + 20, "out of order"),
        ("amount", 0, "with nothing"),
    ],
)
def test_funding_that_the_escrow_refuses(field: str, value: int, says: str) -> None:
    model = EscrowModel(rules(), frozenset(), START)
    booking = model.fund(Story().terms.model_copy(update={field: value}))
    violations = books(model).violations
    assert [violation.bookings for violation in violations] == [(booking,)]
    assert says in violations[0].message


def test_an_id_that_is_not_that_of_its_terms(story: Story) -> None:
    funded = story.model.events[0]
    story.model.events[0] = dataclasses.replace(funded, booking_id="0x" + "77" * 32)  # type: ignore[call-arg]  # it is a Funded
    (violation,) = books(story.model).violations
    assert violation.bookings == ("0x" + "77" * 32,)
    assert "its id" in violation.message


def test_funding_twice(story: Story) -> None:
    story.at(-15).fund(story.terms)
    assert "funded twice" in story.only_violation()
    assert books(story.model).funded == 6_000


def test_an_event_after_the_close(story: Story) -> None:
    story.at(-1).cancel(story.id, BUYER)
    story.model.remaining[story.id] = 0
    story.at(60).settle_each([(story.id, 0)])
    assert "after it was cancelled" in story.only_violation()


def test_a_booking_that_was_never_funded(story: Story) -> None:
    story.at(-1).cancel(story.id, BUYER)
    del story.model.events[0]
    assert "never funded" in story.only_violation()


def test_a_settlement_in_full_pays_the_rest_less_the_fee(story: Story) -> None:
    story.at(30).claim(story.id, 1_050)
    story.at(60).settle_many([story.id])
    ledger = books(story.model)
    assert ledger.violations == []
    assert ledger.left == Money(paid=5_940)
    line = ledger.bookings[story.id]
    assert (line.paid, line.fee, line.remaining) == (5_940, 60, 0)
    assert list(moves(line.terms.amount, line.events)) == [
        Money(),
        Money(paid=1_039, fees=11),
        Money(paid=4_901, fees=49),
    ]


@pytest.mark.parametrize(
    ("fee", "says"),
    [
        (0, "a fee of 0, due is 49"),
        (48, "a fee of 48, due is 49"),
        (50, "a fee of 50, due is 49"),
        (4_950, "a fee of 4950, due is 49"),
        (4_951, "moves 1 more than remained"),
    ],
)
def test_a_wrong_fee_of_a_settlement_in_full(story: Story, fee: int, says: str) -> None:
    story.at(30).claim(story.id, 1_050)
    story.at(60).settle_many([story.id])
    story.model.events[2] = dataclasses.replace(story.model.events[2], fee=fee)  # type: ignore[call-arg]  # it is a SettledInFull
    assert says in story.only_violation()


def test_a_wrong_fee_of_a_claim(story: Story) -> None:
    story.at(30).claim(story.id, 1_000)
    story.model.events[1] = dataclasses.replace(story.model.events[1], paid=989, fee=11)  # type: ignore[call-arg]  # it is a Claimed
    assert "a fee of 11, due is 10" in story.only_violation()


def test_a_close_that_leaves_a_unit_behind(story: Story) -> None:
    story.at(-1).cancel(story.id, BUYER)
    story.model.events[1] = altered(story.model.events[1], "refunded", -1)
    assert "closed with 1 unaccounted for" in story.only_violation()
    assert not books(story.model).balanced


def deferred(story: Story, amount: int) -> None:
    story.model._emit(ev.PayoutDeferred, account=PROVIDER, amount=amount)


def test_only_the_second_of_two_payments_is_deferred(story: Story) -> None:
    other = story.model.fund(story.terms.model_copy(update={"salt": 2, "amount": 9_000}))
    story.at(60).settle_each([(story.id, 6_000), (other, 9_000)])
    deferred(story, 8_910)
    ledger = books(story.model)
    assert ledger.violations == []
    assert ledger.left.paid == 5_940
    assert ledger.owed[PROVIDER] == Money(paid=8_910)


def test_a_payment_is_deferred_once_at_most(story: Story) -> None:
    story.at(60).settle_many([story.id])
    deferred(story, 5_940)
    assert books(story.model).violations == []
    deferred(story, 5_940)
    (violation,) = books(story.model).violations
    assert "which no payment of it announced" in violation.message


def test_a_payment_is_deferred_in_its_own_transaction(story: Story) -> None:
    story.at(60).settle_many([story.id])
    story.at(61)
    deferred(story, 5_940)
    (violation,) = books(story.model).violations
    assert "which no payment of it announced" in violation.message


def test_a_withdrawal_of_what_is_not_owed(story: Story) -> None:
    story.at(60).settle_many([story.id])
    story.at(61).withdraw(FEE_RECIPIENT)
    story.at(62).owed[FEE_RECIPIENT] = 60
    story.model.withdraw(FEE_RECIPIENT)
    (violation,) = books(story.model).violations
    assert "withdraws 60, owed is 0" in violation.message


def test_a_deficit_and_a_surplus(story: Story) -> None:
    ledger = books(story.model)
    state = story.model.state
    short = dataclasses.replace(state, balance=state.balance - 1)
    (violation,) = compare(ledger, short)
    assert violation.bookings == (story.id,)
    assert "1 less" in violation.message
    assert compare(ledger, dataclasses.replace(state, balance=state.balance + 1)) == []


def test_the_escrows_own_word_is_compared(story: Story) -> None:
    story.at(10).claim(story.id, 1_000)
    ledger, state = books(story.model), story.model.state
    (slot,) = compare(ledger, dataclasses.replace(state, remaining={story.id: 4_999}))
    assert slot.bookings == (story.id,)
    (disputed,) = compare(ledger, dataclasses.replace(state, disputed={story.id: START + 25}))
    assert disputed.bookings == (story.id,)
    (owed,) = compare(ledger, dataclasses.replace(state, owed={**NOTHING_OWED, FEE_RECIPIENT: 11}))
    assert owed.bookings == (story.id,)
