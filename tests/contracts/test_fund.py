"""fund: None -> Open."""

import ape
import pytest
from market import AMOUNT, DURATION, OPEN, WINDOW, Market, reverts

ZERO_ADDRESS = "0x" + "00" * 20


def test_locks_the_amount_and_emits_the_terms(market: Market) -> None:
    terms = market.terms()

    with market.moves(buyer=-AMOUNT):
        receipt = market.fund(terms)

    assert market.balance(market.escrow) == AMOUNT
    assert market.slot(terms) == (terms.provider, AMOUNT, OPEN)
    [(name, arguments)] = market.events(receipt)
    assert name == "Funded"
    assert bytes(arguments["id"]) == market.id_of(terms)
    assert (arguments["buyer"], arguments["provider"]) == (terms.buyer, terms.provider)
    assert [str(value).lower() for value in arguments["terms"]] == [
        str(value).lower() for value in terms.abi_values()
    ]


def test_the_id_is_the_hash_of_the_terms_and_their_end(market: Market) -> None:
    terms = market.terms()

    booking_id = bytes(market.escrow.idOf(terms.abi_values()))

    assert booking_id == market.id_of(terms)
    assert int.from_bytes(booking_id[28:], "big") == terms.ends_at


@pytest.mark.parametrize(
    "change",
    [
        {"amount": AMOUNT + 1},
        {"listing": "0x" + "12" * 32},
        {"provider": "0x" + "77" * 20},
        {"buyer": "0x" + "77" * 20},
        {"salt": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_term_is_part_of_the_id(market: Market, change: dict[str, object]) -> None:
    terms = market.terms()

    assert market.id_of(terms) != market.id_of(terms.model_copy(update=change))


def test_takes_the_smallest_and_the_largest_amount(market: Market) -> None:
    largest = 2**64 if market.token is None else 2**88 - 1
    market.endow(market.actors.stranger, largest + 1)

    for amount in (1, largest):
        terms = market.terms(buyer=market.actors.stranger.address, amount=amount)
        market.fund(terms, sender=market.actors.stranger)
        assert market.remaining(terms) == amount


def test_only_the_buyer_funds(market: Market) -> None:
    terms = market.terms()
    stranger = market.actors.stranger

    with reverts("Escrow_SenderIsNotBuyer", sender=stranger.address, buyer=terms.buyer):
        market.fund(terms, sender=stranger)


def test_refuses_an_amount_of_zero(market: Market) -> None:
    with reverts("Escrow_AmountIsZero"):
        market.fund(market.terms(amount=0))


def test_refuses_a_provider_of_zero(market: Market) -> None:
    with reverts("Escrow_ProviderIsZero"):
        market.fund(market.terms(provider=ZERO_ADDRESS))


def test_just_before_fund_by(market: Market) -> None:
    terms = market.terms()

    market.at(terms.fund_by - 1)
    market.fund(terms)

    assert market.state(terms) == OPEN


@pytest.mark.parametrize("late", [0, 1])
def test_from_fund_by_on_it_is_too_late(market: Market, late: int) -> None:
    terms = market.terms()
    time = terms.fund_by + late

    market.at(time)
    with reverts("Escrow_FundingClosed", timestamp=time, fundBy=terms.fund_by):
        market.fund(terms)


def test_may_start_at_fund_by_and_last_a_second(market: Market) -> None:
    fund_by = market.now() + 100

    terms = market.funded(fund_by=fund_by, starts_at=fund_by, ends_at=fund_by + 1)

    assert market.state(terms) == OPEN


@pytest.mark.parametrize(("starts", "ends"), [(-1, DURATION), (5, 5), (5, 4)])
def test_times_must_be_in_order(market: Market, starts: int, ends: int) -> None:
    fund_by = market.now() + 100
    times = {"starts_at": fund_by + starts, "ends_at": fund_by + ends}

    with reverts(
        "Escrow_TimesOutOfOrder",
        fundBy=fund_by,
        startsAt=fund_by + starts,
        endsAt=fund_by + ends,
    ):
        market.fund(market.terms(fund_by=fund_by, **times))


def test_the_end_of_time_does_not_overflow(market: Market) -> None:
    terms = market.funded(ends_at=2**32 - 1)

    market.at(terms.starts_at + 100)
    reclaimable = {"from": 2**32 - 1 + WINDOW}
    with reverts("Escrow_TooEarly", timestamp=terms.starts_at + 100, **reclaimable):
        market.reclaim(terms)


def test_the_same_terms_are_funded_once(market: Market) -> None:
    terms = market.funded()

    with reverts("Escrow_AlreadyFunded", id=market.id_of(terms)):
        market.fund(terms)


def test_terms_closed_before_the_start_cannot_be_funded_again(market: Market) -> None:
    terms = market.funded()
    market.cancel(terms, market.actors.provider)

    with reverts("Escrow_AlreadyFunded", id=market.id_of(terms)):
        market.fund(terms)


def test_terms_whose_slot_was_deleted_cannot_be_funded_again(market: Market) -> None:
    terms = market.funded()
    market.at(terms.starts_at)
    market.settle(terms, 0)

    market.at(terms.starts_at + 5)
    with reverts("Escrow_FundingClosed", timestamp=terms.starts_at + 5, fundBy=terms.fund_by):
        market.fund(terms)


@pytest.mark.parametrize("difference", [-1, 1])
def test_native_coin_must_be_the_exact_amount(native_market: Market, difference: int) -> None:
    sent = AMOUNT + difference

    with reverts("Escrow_WrongValue", sent=sent, expected=AMOUNT):
        native_market.fund(native_market.terms(), value=sent)


def test_a_token_escrow_takes_no_native_coin(token_market: Market) -> None:
    with reverts("Escrow_WrongValue", sent=1, expected=0):
        token_market.fund(token_market.terms(), value=1)


def test_native_coin_cannot_be_sent_outside_the_verbs(market: Market) -> None:
    with ape.reverts():
        market.actors.stranger.transfer(market.escrow, 1)
