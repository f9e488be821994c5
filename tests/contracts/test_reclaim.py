"""reclaim: Open -> closed, by anyone once the claim window has passed."""

import pytest
from market import AMOUNT, NONE, WINDOW, Market, reverts


@pytest.mark.parametrize("late", [0, 1])
def test_refunds_the_buyer(market: Market, late: int) -> None:
    terms = market.funded()

    market.at(terms.ends_at + WINDOW + late)
    with market.moves(buyer=AMOUNT, provider=0):
        receipt = market.reclaim(terms)

    assert market.names(receipt) == ["Reclaimed"]
    assert market.arguments(receipt, "Reclaimed")["refunded"] == AMOUNT
    assert market.state(terms) == NONE


def test_refunds_only_what_remains(market: Market) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.claim(terms, 123_456, market.actors.attester)

    market.at(terms.ends_at + WINDOW)
    with market.moves(buyer=AMOUNT - 123_456):
        market.reclaim(terms)


def test_too_early_until_the_claim_window_has_passed(market: Market) -> None:
    terms = market.funded()
    end = terms.ends_at + WINDOW

    market.at(end - 1)
    with reverts("Escrow_TooEarly", timestamp=end - 1, **{"from": end}):
        market.reclaim(terms)


def test_only_what_is_open(market: Market) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.settle(terms, AMOUNT)

    market.at(terms.ends_at + WINDOW)
    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=NONE):
        market.reclaim(terms)
