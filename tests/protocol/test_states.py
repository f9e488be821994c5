"""The contract's arithmetic: the fee telescopes, the clock is monotone and never ahead."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol.messages import Terms
from aitbc.protocol.states import (
    MAXIMUM_CLAIM_WINDOW,
    TRANSITIONS,
    BookingStatus,
    EscrowState,
    clock_cap,
    fee,
    payout_fee,
    phases,
)
from strategies import amounts, terms

bps = st.integers(0, 1_000)


@given(amount=amounts, cuts=st.lists(amounts, max_size=6), fee_bps=bps)
def test_the_fee_does_not_depend_on_how_payments_are_split(
    amount: int, cuts: list[int], fee_bps: int
) -> None:
    stops = sorted({min(cut, amount) for cut in cuts} | {0, amount}, reverse=True)
    parts = [payout_fee(a, b, fee_bps) for a, b in pairwise(stops)]
    assert sum(parts) == fee(amount, fee_bps)
    assert all(part >= 0 for part in parts)


@given(amount=amounts, left=amounts, fee_bps=bps)
def test_a_fee_is_at_most_the_payment(amount: int, left: int, fee_bps: int) -> None:
    left = min(left, amount)
    assert 0 <= payout_fee(amount, left, fee_bps) <= amount - left


def test_fees_round_down() -> None:
    assert fee(9_999, 1) == 0
    assert fee(10_000, 1) == 1
    assert fee(19_999, 1) == 1
    assert payout_fee(10_000, 9_999, 1) == 1


@given(terms=terms(), a=st.integers(0, 2**32 - 1), b=st.integers(0, 2**32 - 1))
def test_the_clock_is_monotone_and_bounded(terms: Terms, a: int, b: int) -> None:
    a, b = sorted((a, b))
    assert 0 <= clock_cap(terms, a) <= clock_cap(terms, b) <= terms.amount


@given(terms=terms(), data=st.data())
def test_the_clock_is_exact(terms: Terms, data: st.DataObject) -> None:
    assert clock_cap(terms, terms.starts_at) == 0
    assert clock_cap(terms, terms.starts_at - 1) == 0
    assert clock_cap(terms, terms.ends_at) == terms.amount
    assert clock_cap(terms, terms.ends_at + 1) == terms.amount
    length = terms.ends_at - terms.starts_at
    elapsed = data.draw(st.integers(0, length))
    assert clock_cap(terms, terms.starts_at + elapsed) == terms.amount * elapsed // length


def test_the_table_opens_once_and_never_reopens() -> None:
    for transition in TRANSITIONS:
        if transition.before is EscrowState.NONE:
            assert transition.after == (EscrowState.OPEN,)
        else:
            assert EscrowState.NONE not in transition.after
        assert transition.before is not EscrowState.CLOSED
    rows = {(transition.verb, transition.before) for transition in TRANSITIONS}
    assert len(rows) == len(TRANSITIONS)


def test_states_are_numbered_as_in_the_contract() -> None:
    assert [state.name for state in EscrowState] == ["NONE", "OPEN", "DISPUTED", "CLOSED"]
    assert [int(state) for state in EscrowState] == [0, 1, 2, 3]


def test_closed_statuses() -> None:
    closed = {status for status in BookingStatus if status.closed}
    assert closed == {
        BookingStatus.SETTLED,
        BookingStatus.RESOLVED,
        BookingStatus.CANCELLED,
        BookingStatus.RECLAIMED,
    }


@given(terms=terms(), window=st.integers(1, MAXIMUM_CLAIM_WINDOW), data=st.data())
def test_the_phases_follow_one_another(terms: Terms, window: int, data: st.DataObject) -> None:
    undisputed = phases(terms, window, None)
    assert undisputed == (terms.ends_at, terms.ends_at + window, terms.ends_at + window)
    at = data.draw(st.integers(terms.starts_at, terms.ends_at - 1))
    assert phases(terms, window, at) == (at, at + window, at + window + 14 * 86_400)
