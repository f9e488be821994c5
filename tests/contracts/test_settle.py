"""settle: Open -> closed."""

import pytest
from market import AMOUNT, CLOSED, EVIDENCE, NONE, WINDOW, Market, fee, reverts


def test_splits_between_provider_and_buyer(market: Market) -> None:
    terms = market.funded()
    earned = 600_001
    cost = fee(AMOUNT) - fee(AMOUNT - earned)

    market.at(terms.ends_at)
    with market.moves(provider=earned - cost, buyer=AMOUNT - earned):
        receipt = market.settle(terms, earned)

    assert market.names(receipt) == ["Settled"]
    settled = market.arguments(receipt, "Settled")
    assert (settled["paid"], settled["fee"]) == (earned - cost, cost)
    assert settled["refunded"] == AMOUNT - earned
    assert bytes(settled["evidence"]).hex() == EVIDENCE[2:]
    assert market.state(terms) == NONE
    assert market.owed(market.actors.fee_recipient) == cost


def test_in_full(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at)
    with market.moves(provider=AMOUNT - fee(AMOUNT), buyer=0):
        market.settle(terms, AMOUNT)


def test_a_refund_bears_no_fee(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at)
    with market.moves(provider=0, buyer=AMOUNT):
        market.settle(terms, 0)

    assert market.owed(market.actors.fee_recipient) == 0


def test_before_the_start_nothing_is_earned_and_the_id_stays_closed(market: Market) -> None:
    terms = market.funded()

    with market.moves(provider=0, buyer=AMOUNT):
        market.settle(terms, 0)

    assert market.state(terms) == CLOSED


@pytest.mark.parametrize("earned", [0, 399_999])
def test_what_was_claimed_stays_claimed(market: Market, earned: int) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.claim(terms, 400_000, market.actors.attester)

    with market.moves(provider=0, buyer=AMOUNT - 400_000):
        market.settle(terms, earned)


def test_pays_the_difference_to_what_was_claimed(market: Market) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.claim(terms, 333_333, market.actors.attester)
    cost = fee(AMOUNT - 333_333) - fee(AMOUNT - 777_777)

    with market.moves(provider=777_777 - 333_333 - cost, buyer=AMOUNT - 777_777):
        market.settle(terms, 777_777)


@pytest.mark.parametrize(("elapsed", "cap"), [(0, 0), (1, 1_000), (999, 999_002)])
def test_cannot_pay_ahead_of_the_clock(market: Market, elapsed: int, cap: int) -> None:
    terms = market.funded()

    market.at(terms.starts_at + elapsed)
    with reverts("Escrow_AheadOfClock", earned=cap + 1, cap=cap):
        market.settle(terms, cap + 1)


def test_can_pay_up_to_the_clock(market: Market) -> None:
    terms = market.funded()

    market.at(terms.starts_at + 999)
    with market.moves(buyer=AMOUNT - 999_002):
        market.settle(terms, 999_002)


def test_never_more_than_the_amount(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at + 5)
    with reverts("Escrow_AheadOfClock", earned=AMOUNT + 1, cap=AMOUNT):
        market.settle(terms, AMOUNT + 1)


def test_just_before_the_claim_window_closes(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at + WINDOW - 1)
    with market.moves(provider=AMOUNT - fee(AMOUNT)):
        market.settle(terms, AMOUNT)


@pytest.mark.parametrize("late", [0, 1])
def test_after_the_claim_window_it_is_too_late(market: Market, late: int) -> None:
    terms = market.funded()
    end = terms.ends_at + WINDOW

    market.at(end + late)
    with reverts("Escrow_TooLate", timestamp=end + late, before=end):
        market.settle(terms, AMOUNT)


def test_settles_once(market: Market) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.settle(terms, AMOUNT)

    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=NONE):
        market.settle(terms, AMOUNT)


def test_not_after_a_reclaim(market: Market) -> None:
    terms = market.funded()
    market.at(terms.ends_at + WINDOW)
    market.reclaim(terms)

    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=NONE):
        market.settle(terms, AMOUNT)
