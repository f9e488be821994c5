"""settleMany: everything that remains to the providers."""

import pytest
from market import AMOUNT, NONE, OPEN, WINDOW, Market, fee

NET = AMOUNT - fee(AMOUNT)


def ended(market: Market, count: int = 1, **changes: object) -> list:
    """Bookings that have just ended."""
    now = market.now()
    times = {"fund_by": now + 1_000, "starts_at": now + 2_000, "ends_at": now + 3_000}
    batch = [market.funded(**times | changes) for _ in range(count)]
    market.at(batch[0].ends_at)
    return batch


def test_pays_each_in_full(market: Market) -> None:
    [one] = ended(market)

    with market.moves(provider=NET, buyer=0):
        receipt = market.settle_many([one])

    assert market.names(receipt) == ["SettledInFull"]
    settled = market.arguments(receipt, "SettledInFull")
    assert (settled["paid"], settled["fee"]) == (NET, fee(AMOUNT))
    assert market.state(one) == NONE


def test_pays_only_what_remains(market: Market) -> None:
    [terms] = ended(market)
    market.claim(terms, 250_000, market.actors.attester)
    rest = AMOUNT - 250_000

    with market.moves(provider=rest - fee(rest)):
        market.settle_many([terms])


def test_one_transfer_per_run_of_one_provider(token_market: Market) -> None:
    market = token_market
    other = market.actors.other_provider.address
    now = market.now()
    times = {"fund_by": now + 1_000, "starts_at": now + 2_000, "ends_at": now + 3_000}
    batch = [market.funded(**times) for _ in range(2)]
    batch += [market.funded(provider=other, **times) for _ in range(2)]
    batch += [market.funded(**times)]

    market.at(now + 3_000)
    with market.moves(provider=3 * NET, other_provider=2 * NET):
        receipt = market.settle_many(batch)

    transfers = [log.event_arguments for log in receipt.decode_logs([market.token.Transfer.abi])]
    assert [(t["to"], t["value"]) for t in transfers] == [
        (market.actors.provider.address, 2 * NET),
        (other, 2 * NET),
        (market.actors.provider.address, NET),
    ]


def test_what_cannot_be_settled_is_skipped(market: Market) -> None:
    [good, closed] = ended(market, 2)
    market.settle(closed, 0)
    never = market.terms(ends_at=good.ends_at)
    running = market.funded()

    with market.moves(provider=NET, buyer=0):
        receipt = market.settle_many([never, closed, good, running, good])

    assert market.names(receipt) == ["SettledInFull"]
    assert market.state(running) == OPEN


def test_before_its_end_a_booking_is_skipped(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at - 1)
    assert market.names(market.settle_many([terms])) == []
    market.at(terms.ends_at)
    assert market.names(market.settle_many([terms])) == ["SettledInFull"]


def test_just_before_the_claim_window_closes(market: Market) -> None:
    terms = market.funded()

    market.at(terms.ends_at + WINDOW - 1)
    assert market.names(market.settle_many([terms])) == ["SettledInFull"]


@pytest.mark.parametrize("late", [0, 1])
def test_after_the_claim_window_a_booking_is_skipped(market: Market, late: int) -> None:
    terms = market.funded()

    market.at(terms.ends_at + WINDOW + late)
    assert market.names(market.settle_many([terms])) == []
    assert market.state(terms) == OPEN


def test_an_empty_batch_is_nothing(market: Market) -> None:
    assert market.names(market.settle_many([])) == []
