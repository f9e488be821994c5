"""settleEach: several completions; one that settle would refuse is skipped."""

import ape
from market import AMOUNT, NONE, OPEN, WINDOW, Market, fee


def test_splits_each(market: Market) -> None:
    other = {
        "buyer": market.actors.other_buyer.address,
        "provider": market.actors.other_provider.address,
    }
    first, second = market.funded(), market.funded(**other)
    cost = fee(AMOUNT) - fee(AMOUNT - 700_000)

    market.at(second.ends_at)
    with market.moves(
        provider=700_000 - cost,
        buyer=AMOUNT - 700_000,
        other_provider=AMOUNT - fee(AMOUNT),
        other_buyer=0,
    ):
        receipt = market.settle_each([(first, 700_000), (second, AMOUNT)])

    assert market.names(receipt) == ["Settled", "Settled"]
    assert market.owed(market.actors.fee_recipient) == cost + fee(AMOUNT)


def test_what_settle_would_refuse_is_skipped(market: Market) -> None:
    expired = market.funded()
    ape.chain.mine(timestamp=expired.ends_at + WINDOW)
    good, greedy = market.funded(), market.funded()
    running = market.funded(starts_at=greedy.ends_at, ends_at=greedy.ends_at + 1_000)
    never = market.terms()

    market.at(greedy.ends_at)
    receipt = market.settle_each(
        [
            (expired, AMOUNT),
            (greedy, AMOUNT + 1),
            (running, 1),
            (never, 0),
            (good, 1_000),
            (good, 2_000),
        ]
    )

    assert market.names(receipt) == ["Settled"]
    assert market.arguments(receipt, "Settled")["refunded"] == AMOUNT - 1_000
    assert [market.state(t) for t in (expired, greedy, running, never)] == [OPEN, OPEN, OPEN, NONE]


def test_an_empty_batch_is_nothing(market: Market) -> None:
    assert market.names(market.settle_each([])) == []
