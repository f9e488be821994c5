"""Whatever happens to a booking, every unit of its amount is accounted for."""

from typing import Any

import pytest
from ape.exceptions import ContractLogicError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from market import OPEN, WINDOW, Market, fee, rolled_back

from aitbc.protocol.states import clock_cap

START, END = 2_000, 3_000
# Mostly during the booking, where most verbs can do something.
MOMENTS = st.one_of(st.integers(START, END), st.integers(100, END + WINDOW + 100))
VERBS = ["claim", "claim", "claim_by_buyer", "claim_by_buyer", "settle", "settle_many"]
VERBS += ["settle_each", "cancel_by_buyer", "cancel_by_provider", "reclaim"]


@st.composite
def histories(draw: Any) -> tuple[list[int], list[tuple[int, str, int, int]]]:
    """Amounts of some bookings, and (time, verb, booking, percent of what may be earned)."""
    amounts = draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=2))
    times = draw(st.lists(MOMENTS, min_size=4, max_size=8, unique=True))
    indices = st.integers(0, len(amounts) - 1)
    percents = st.integers(0, 105)
    steps = [
        (t, draw(st.sampled_from(VERBS)), draw(indices), draw(percents)) for t in sorted(times)
    ]
    return amounts, steps


def perform(market: Market, verb: str, terms: Any, earned: int) -> None:
    actors = market.actors
    match verb:
        case "claim":
            market.claim(terms, earned, actors.attester)
        case "claim_by_buyer":
            market.claim(terms, earned, actors.buyer)
        case "settle":
            market.settle(terms, earned)
        case "settle_many":
            market.settle_many([terms])
        case "settle_each":
            market.settle_each([(terms, earned)])
        case "cancel_by_buyer":
            market.cancel(terms, actors.buyer)
        case "cancel_by_provider":
            market.cancel(terms, actors.provider)
        case "reclaim":
            market.reclaim(terms)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # histories are short; shrinking one would replay hundreds
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=histories())
def test_any_history_conserves(market: Market, history: Any) -> None:
    amounts, steps = history
    with rolled_back():
        fresh = Market(market.escrow, market.token, market.actors)
        begin = fresh.now()
        times = {"fund_by": begin + 1_000, "starts_at": begin + START, "ends_at": begin + END}
        bookings = [fresh.terms(amount=amount, **times) for amount in amounts]
        fresh.fund_many(bookings)

        for time, verb, index, percent in steps:
            terms, now = bookings[index], begin + time
            most = terms.amount if verb == "claim_by_buyer" else clock_cap(terms, now)
            fresh.at(now)
            try:
                perform(fresh, verb, terms, most * percent // 100)
            except ContractLogicError:
                continue

        fresh.check_books()
        check_outcomes(fresh, bookings)


def check_outcomes(market: Market, bookings: list[Any]) -> None:
    """The fee telescopes: F(amount) - F(what was refunded or still remains)."""
    outcomes = market.outcomes()
    for terms in bookings:
        outcome = outcomes[market.id_of(terms)]
        remaining = market.remaining(terms)
        assert sum(outcome.values()) + remaining == terms.amount
        assert outcome["fee"] == fee(terms.amount) - fee(outcome["refunded"] + remaining)
        assert (market.state(terms) == OPEN) == (remaining > 0)


@pytest.mark.parametrize("parts", [2, 7])
def test_the_fee_does_not_depend_on_how_claims_are_split(market: Market, parts: int) -> None:
    whole, split = market.funded(amount=99_999), market.funded(amount=99_999)
    market.at(split.ends_at)
    market.settle(whole, 99_999)

    for part in range(1, parts + 1):
        market.claim(split, 99_999 * part // parts, market.actors.attester)

    outcomes = market.outcomes()
    assert outcomes[market.id_of(whole)] == outcomes[market.id_of(split)]
