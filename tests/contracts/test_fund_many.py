"""fundMany: several bookings of one buyer, all or nothing."""

from market import AMOUNT, NONE, OPEN, Market, reverts


def test_locks_every_amount(market: Market) -> None:
    batch = [market.terms(amount=AMOUNT + i) for i in range(3)]

    with market.moves(buyer=-3 * AMOUNT - 3):
        receipt = market.fund_many(batch)

    assert market.names(receipt) == ["Funded"] * 3
    assert [market.state(terms) for terms in batch] == [OPEN] * 3
    assert [market.remaining(terms) for terms in batch] == [AMOUNT, AMOUNT + 1, AMOUNT + 2]


def test_an_empty_batch_is_nothing(market: Market) -> None:
    with market.moves(buyer=0):
        assert market.names(market.fund_many([])) == []


def test_one_bad_item_refuses_all(market: Market) -> None:
    good, bad = market.terms(), market.terms(amount=0)

    with reverts("Escrow_AmountIsZero"):
        market.fund_many([good, bad])

    assert market.state(good) == NONE


def test_a_duplicate_refuses_all(market: Market) -> None:
    terms = market.terms()

    with reverts("Escrow_AlreadyFunded", id=market.id_of(terms)):
        market.fund_many([terms, terms])

    assert market.state(terms) == NONE


def test_another_buyers_terms_refuse_all(market: Market) -> None:
    other = market.actors.other_buyer.address

    with reverts("Escrow_SenderIsNotBuyer", sender=market.actors.buyer.address, buyer=other):
        market.fund_many([market.terms(), market.terms(buyer=other)])


def test_native_coin_must_be_the_exact_sum(native_market: Market) -> None:
    batch = [native_market.terms(), native_market.terms()]

    with reverts("Escrow_WrongValue", sent=AMOUNT, expected=2 * AMOUNT):
        native_market.fund_many(batch, value=AMOUNT)
