"""Tokens that break the standard hurt nobody but their own escrow."""

import ape
from ape.contracts import ContractInstance
from market import AMOUNT, Market, Mode, fee, reverts

NET = AMOUNT - fee(AMOUNT)


def set_mode(token: ContractInstance, mode: Mode, market: Market) -> None:
    token.setMode(mode, sender=market.actors.deployer)


def test_a_fee_on_transfer_is_refused(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    set_mode(hostile_token, Mode.TAKES_FEE, hostile_market)
    received = AMOUNT - AMOUNT // 100

    with reverts("Escrow_ReceivedShort", received=received, expected=AMOUNT):
        hostile_market.fund(hostile_market.terms())


def test_a_token_that_says_no_funds_nothing(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    set_mode(hostile_token, Mode.RETURNS_FALSE, hostile_market)

    with reverts("SafeERC20FailedOperation", token=hostile_token.address):
        hostile_market.fund(hostile_market.terms())


def test_funding_needs_an_allowance(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    hostile_token.approve(hostile_market.escrow, AMOUNT - 1, sender=hostile_market.actors.buyer)

    with ape.reverts():
        hostile_market.fund(hostile_market.terms())


def test_a_token_that_returns_nothing_is_taken_at_its_word(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    set_mode(hostile_token, Mode.RETURNS_NOTHING, hostile_market)
    terms = hostile_market.funded()
    hostile_market.at(terms.ends_at)

    with hostile_market.moves(provider=NET):
        receipt = hostile_market.settle(terms, AMOUNT)

    assert hostile_market.names(receipt) == ["Settled"]


def test_a_payout_that_returns_false_is_owed(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    market = hostile_market
    terms = market.funded()
    set_mode(hostile_token, Mode.RETURNS_FALSE, market)
    market.at(terms.ends_at)

    assert market.names(market.settle(terms, AMOUNT)) == ["Settled", "PayoutDeferred"]

    set_mode(hostile_token, Mode.HONEST, market)
    with market.moves(provider=NET):
        market.escrow.withdraw(terms.provider, terms.provider, sender=market.actors.stranger)


def test_anything_returned_but_true_is_a_failure(
    hostile_market: Market, hostile_token: ContractInstance
) -> None:
    market = hostile_market
    terms = market.funded()
    set_mode(hostile_token, Mode.RETURNS_NONSENSE, market)
    market.at(terms.ends_at)

    assert market.names(market.settle(terms, AMOUNT)) == ["Settled", "PayoutDeferred"]
    assert market.owed(terms.provider) == NET

    # The token moved the money and denied it: its own escrow has that much less than it owes.
    market.donated = -NET
