"""cancel: Open -> closed, by the buyer before the start or the provider at any time."""

import pytest
from market import AMOUNT, CLOSED, NONE, WINDOW, Market, reverts


@pytest.mark.parametrize("party", ["buyer", "provider"])
def test_refunds_the_buyer(market: Market, party: str) -> None:
    terms = market.funded()
    sender = getattr(market.actors, party)

    with market.moves(buyer=AMOUNT, provider=0):
        receipt = market.cancel(terms, sender)

    assert market.names(receipt) == ["Cancelled"]
    cancelled = market.arguments(receipt, "Cancelled")
    assert (cancelled["by"], cancelled["refunded"]) == (sender.address, AMOUNT)
    assert market.state(terms) == CLOSED


def test_refunds_only_what_remains(market: Market) -> None:
    terms = market.funded()
    market.claim(terms, 400_000, market.actors.buyer)

    with market.moves(buyer=AMOUNT - 400_000):
        market.cancel(terms, market.actors.buyer)


def test_by_the_buyer_just_before_the_start(market: Market) -> None:
    terms = market.funded()

    market.at(terms.starts_at - 1)
    market.cancel(terms, market.actors.buyer)

    assert market.state(terms) == CLOSED


@pytest.mark.parametrize("late", [0, 1])
def test_by_the_buyer_it_is_too_late_from_the_start_on(market: Market, late: int) -> None:
    terms = market.funded()
    time = terms.starts_at + late

    market.at(time)
    with reverts("Escrow_TooLate", timestamp=time, before=terms.starts_at):
        market.cancel(terms, market.actors.buyer)


@pytest.mark.parametrize("after_start", [0, 1_000, 1_000 + WINDOW])
def test_by_the_provider_at_any_time(market: Market, after_start: int) -> None:
    terms = market.funded()

    market.at(terms.starts_at + after_start)
    with market.moves(buyer=AMOUNT):
        market.cancel(terms, market.actors.provider)

    assert market.state(terms) == NONE


@pytest.mark.parametrize("who", ["stranger", "attester", "fee_recipient", "other_buyer"])
def test_by_nobody_else(market: Market, who: str) -> None:
    terms = market.funded()
    sender = getattr(market.actors, who)

    with reverts("Escrow_NotAParty", sender=sender.address):
        market.cancel(terms, sender)


def test_only_what_is_open(market: Market) -> None:
    terms = market.terms()
    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=NONE):
        market.cancel(terms, market.actors.buyer)

    market.fund(terms)
    market.cancel(terms, market.actors.buyer)
    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=CLOSED):
        market.cancel(terms, market.actors.buyer)


def test_a_buyer_who_is_the_provider_may_cancel_at_any_time(market: Market) -> None:
    terms = market.funded(provider=market.actors.buyer.address)

    market.at(terms.starts_at)
    with market.moves(buyer=AMOUNT):
        market.cancel(terms, market.actors.buyer)
