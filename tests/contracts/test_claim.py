"""claim: Open -> Open, closed when nothing remains."""

import pytest
from market import AMOUNT, CLOSED, NONE, OPEN, WINDOW, Market, fee, reverts


def test_pays_what_the_attesters_receipt_proves(market: Market) -> None:
    terms = market.funded()
    half = AMOUNT // 2
    cost = fee(AMOUNT) - fee(AMOUNT - half)

    market.at(terms.ends_at)
    with market.moves(provider=half - cost, buyer=0):
        receipt = market.claim(terms, half, market.actors.attester)

    assert market.names(receipt) == ["Claimed"]
    claimed = market.arguments(receipt, "Claimed")
    assert (claimed["paid"], claimed["fee"]) == (half - cost, cost)
    assert market.slot(terms) == (terms.provider, AMOUNT - half, OPEN)
    assert market.owed(market.actors.fee_recipient) == cost


def test_pays_the_difference_to_the_receipt_before(market: Market) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.claim(terms, 300, market.actors.attester)

    with market.moves(provider=1_000 - 300 - (fee(AMOUNT - 300) - fee(AMOUNT - 1_000))):
        market.claim(terms, 1_000, market.actors.attester)

    assert market.remaining(terms) == AMOUNT - 1_000


@pytest.mark.parametrize("earned", [0, 999, 1_000])
def test_a_receipt_that_proves_nothing_new_is_a_no_op(market: Market, earned: int) -> None:
    terms = market.funded()
    market.at(terms.ends_at)
    market.claim(terms, 1_000, market.actors.attester)

    with market.moves(provider=0, buyer=0):
        receipt = market.claim(terms, earned, market.actors.attester)

    assert market.names(receipt) == []
    assert market.slot(terms) == (terms.provider, AMOUNT - 1_000, OPEN)


def test_the_whole_amount_closes(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at)
    with market.moves(provider=AMOUNT - fee(AMOUNT)):
        market.claim(terms, AMOUNT, market.actors.attester)

    assert market.state(terms) == NONE


@pytest.mark.parametrize("elapsed", [1, 500, 999])
def test_the_attester_cannot_pay_ahead_of_the_clock(market: Market, elapsed: int) -> None:
    terms = market.funded()
    cap = AMOUNT * elapsed // 1_000

    market.at(terms.starts_at + elapsed)
    with reverts("Escrow_AheadOfClock", earned=cap + 1, cap=cap):
        market.claim(terms, cap + 1, market.actors.attester)


@pytest.mark.parametrize("elapsed", [1, 500, 999])
def test_the_attester_can_pay_up_to_the_clock(market: Market, elapsed: int) -> None:
    terms = market.funded()
    cap = AMOUNT * elapsed // 1_000

    market.at(terms.starts_at + elapsed)
    market.claim(terms, cap, market.actors.attester)

    assert market.remaining(terms) == AMOUNT - cap


def test_the_attester_can_pay_nothing_until_the_start(market: Market) -> None:
    terms = market.funded()

    market.at(terms.starts_at)
    with reverts("Escrow_AheadOfClock", earned=1, cap=0):
        market.claim(terms, 1, market.actors.attester)


def test_the_buyer_can_sign_away_everything_before_the_start(market: Market) -> None:
    terms = market.funded()

    with market.moves(provider=AMOUNT - fee(AMOUNT)):
        market.claim(terms, AMOUNT, market.actors.buyer)

    assert market.state(terms) == CLOSED


def test_the_buyer_cannot_sign_away_more_than_the_amount(market: Market) -> None:
    terms = market.funded()

    with reverts("Escrow_EarnedAboveAmount", earned=AMOUNT + 1, amount=AMOUNT):
        market.claim(terms, AMOUNT + 1, market.actors.buyer)


def test_the_clock_binds_a_buyer_who_is_the_attester(market: Market) -> None:
    attester = market.actors.attester
    market.endow(attester)
    terms = market.terms(buyer=attester.address)
    market.fund(terms, sender=attester)

    with reverts("Escrow_AheadOfClock", earned=1, cap=0):
        market.claim(terms, 1, attester)


def test_just_before_the_claim_window_closes(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at + WINDOW - 1)
    market.claim(terms, AMOUNT, market.actors.attester)

    assert market.state(terms) == NONE


@pytest.mark.parametrize("signer", ["attester", "buyer"])
@pytest.mark.parametrize("late", [0, 1])
def test_after_the_claim_window_it_is_too_late(market: Market, late: int, signer: str) -> None:
    terms = market.funded()
    end = terms.ends_at + WINDOW

    market.at(end + late)
    with reverts("Escrow_TooLate", timestamp=end + late, before=end):
        market.claim(terms, 1, getattr(market.actors, signer))


def test_a_booking_that_was_never_funded_is_not_open(market: Market) -> None:
    terms = market.terms()

    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=NONE):
        market.claim(terms, 1, market.actors.buyer)


def test_altered_terms_are_another_booking(market: Market) -> None:
    terms = market.funded()
    altered = terms.model_copy(update={"amount": AMOUNT * 2})

    with reverts("Escrow_NotOpen", id=market.id_of(altered), state=NONE):
        market.claim(altered, AMOUNT * 2, market.actors.buyer)


def test_a_receipt_does_not_survive_the_buyers_cancel(market: Market) -> None:
    terms = market.funded()
    market.cancel(terms, market.actors.buyer)

    with reverts("Escrow_NotOpen", id=market.id_of(terms), state=CLOSED):
        market.claim(terms, AMOUNT, market.actors.buyer)
