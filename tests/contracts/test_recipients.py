"""Recipients that refuse money, burn gas or return too much: nobody else is held up."""

from collections.abc import Callable

import pytest
from ape.contracts import ContractInstance
from ape.exceptions import ContractLogicError, OutOfGasError
from market import AMOUNT, NONE, Market, Mood, fee, reverts, rolled_back

from aitbc.protocol.messages import Terms

NET = AMOUNT - fee(AMOUNT)
PUSH_GAS = 50_000


BAD_MOODS = [Mood.REJECT, Mood.BURN_GAS, Mood.RETURN_BOMB]


def set_mood(wallet: ContractInstance, mood: Mood, market: Market) -> None:
    wallet.setMood(mood, sender=market.actors.stranger)


def fund_from(wallet: ContractInstance, market: Market) -> Terms:
    """A booking whose buyer is the wallet."""
    terms = market.terms(buyer=wallet.address)
    call = market.escrow.fund.encode_input(terms.abi_values())
    wallet.execute(market.escrow, AMOUNT, call, sender=market.actors.stranger)
    market.bookings.append(terms)
    return terms


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_a_payout_that_fails_is_owed(
    native_market: Market, wallet: ContractInstance, mood: Mood
) -> None:
    terms = native_market.funded(provider=wallet.address)
    set_mood(wallet, mood, native_market)
    native_market.at(terms.ends_at)

    with native_market.moves(buyer=AMOUNT - 500_000):
        receipt = native_market.settle(terms, 500_000)

    paid = native_market.arguments(receipt, "Settled")["paid"]
    assert native_market.names(receipt) == ["Settled", "PayoutDeferred"]
    assert native_market.arguments(receipt, "PayoutDeferred") == {
        "account": wallet.address,
        "amount": paid,
    }
    assert native_market.owed(wallet) == paid
    assert native_market.state(terms) == NONE
    assert receipt.gas_used < 200_000 + PUSH_GAS

    set_mood(wallet, Mood.ACCEPT, native_market)
    before = native_market.balance(wallet)
    native_market.escrow.withdraw(wallet, wallet, sender=native_market.actors.buyer)
    assert native_market.balance(wallet) == before + paid


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_a_refund_that_fails_is_owed(
    native_market: Market, wallet: ContractInstance, mood: Mood
) -> None:
    terms = fund_from(wallet, native_market)
    set_mood(wallet, mood, native_market)
    native_market.at(terms.ends_at)

    with native_market.moves(provider=500_000 - (fee(AMOUNT) - fee(AMOUNT - 500_000))):
        receipt = native_market.settle(terms, 500_000)

    assert native_market.names(receipt) == ["Settled", "RefundDeferred"]
    assert native_market.owed(wallet) == AMOUNT - 500_000


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_a_batch_goes_on(native_market: Market, wallet: ContractInstance, mood: Mood) -> None:
    bad = native_market.funded(provider=wallet.address)
    good = native_market.funded()
    set_mood(wallet, mood, native_market)
    native_market.at(good.ends_at)

    with native_market.moves(provider=NET):
        receipt = native_market.settle_many([bad, good])

    assert native_market.names(receipt) == ["SettledInFull", "SettledInFull", "PayoutDeferred"]
    assert native_market.owed(wallet) == NET


def test_a_batch_of_completions_goes_on(native_market: Market, wallet: ContractInstance) -> None:
    bad = native_market.funded(provider=wallet.address)
    worse = fund_from(wallet, native_market)
    good = native_market.funded()
    set_mood(wallet, Mood.BURN_GAS, native_market)
    native_market.at(good.ends_at)

    with native_market.moves(provider=NET):
        receipt = native_market.settle_each([(bad, AMOUNT), (worse, 0), (good, AMOUNT)])

    assert native_market.names(receipt)[3:] == ["PayoutDeferred", "RefundDeferred"]
    assert native_market.owed(wallet) == NET + AMOUNT


def test_a_refused_cancel_and_reclaim_are_owed(
    native_market: Market, wallet: ContractInstance
) -> None:
    first, second = fund_from(wallet, native_market), fund_from(wallet, native_market)
    set_mood(wallet, Mood.REJECT, native_market)

    receipt = native_market.cancel(first, native_market.actors.provider)
    assert native_market.names(receipt) == ["Cancelled", "RefundDeferred"]
    native_market.at(second.ends_at + native_market.escrow.claimWindow())
    receipt = native_market.reclaim(second)
    assert native_market.names(receipt) == ["Reclaimed", "RefundDeferred"]

    assert native_market.owed(wallet) == 2 * AMOUNT


def test_a_bad_fee_recipient_blocks_nothing(
    make_market: Callable[..., Market], wallet: ContractInstance, native_market: Market
) -> None:
    set_mood(wallet, Mood.BURN_GAS, native_market)
    market = make_market(None, fee_recipient=wallet.address)
    terms = market.funded()
    market.at(terms.ends_at)

    with market.moves(provider=NET):
        market.settle(terms, AMOUNT)

    assert market.owed(wallet) == fee(AMOUNT)


def test_a_denied_token_holder_is_owed(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    market, actors = hostile_market, hostile_market.actors
    refunded, paid = market.funded(), market.funded(provider=actors.other_provider.address)
    hostile_token.deny(actors.buyer, sender=actors.deployer)
    hostile_token.deny(actors.other_provider, sender=actors.deployer)
    market.at(paid.ends_at)

    with market.moves(provider=1_000 - (fee(AMOUNT) - fee(AMOUNT - 1_000))):
        market.settle_each([(refunded, 1_000), (paid, AMOUNT)])

    assert market.owed(actors.buyer) == AMOUNT - 1_000
    assert market.owed(actors.other_provider) == NET


def test_no_gas_limit_lets_a_recipient_have_less_than_its_share(
    native_market: Market, wallet: ContractInstance
) -> None:
    terms = native_market.funded(provider=wallet.address)
    set_mood(wallet, Mood.RECORD_GAS, native_market)
    paid, refused = 0, 0

    for gas in range(60_000, 220_000, 4_000):
        with rolled_back():
            native_market.at(terms.ends_at)
            try:
                receipt = native_market.settle(terms, AMOUNT, gas=gas)
            except (ContractLogicError, OutOfGasError):
                refused += 1
                continue
            paid += 1
            assert native_market.names(receipt) == ["Settled"]
            assert wallet.gasSeen() > PUSH_GAS - 2_000

    assert paid > 0
    assert refused > 0


def test_paying_the_escrow_itself_harms_nobody_else(market: Market) -> None:
    trapped = market.funded(provider=market.escrow.address)
    good = market.funded()
    market.at(good.ends_at)

    with market.moves(provider=NET):
        receipt = market.settle_many([trapped, good])

    if market.token is None:
        assert "PayoutDeferred" in market.names(receipt)
        with reverts("Escrow_TransferFailed", to=market.escrow.address, amount=NET):
            market.escrow.withdraw(market.escrow, market.escrow, sender=market.actors.stranger)
    else:
        market.donated = NET


def test_money_sent_past_the_verbs_changes_nothing(token_market: Market) -> None:
    market, stranger = token_market, token_market.actors.stranger
    market.endow(stranger, 777)
    market.token.transfer(market.escrow, 777, sender=stranger)
    market.donated = 777
    terms = market.funded()
    market.at(terms.ends_at)

    with market.moves(provider=NET):
        market.settle(terms, AMOUNT)
