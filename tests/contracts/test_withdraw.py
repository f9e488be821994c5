"""withdraw: what is owed leaves the escrow."""

import pytest
from ape.contracts import ContractInstance
from market import AMOUNT, Market, Mood, fee, reverts

OWED = fee(AMOUNT)


@pytest.fixture
def earned_fee(market: Market) -> Market:
    """The market once it owes its fee recipient a fee."""
    terms = market.funded()
    market.at(terms.ends_at)
    market.settle(terms, AMOUNT)
    assert market.owed(market.actors.fee_recipient) == OWED
    return market


def test_by_the_account_to_anywhere(earned_fee: Market) -> None:
    market, actors = earned_fee, earned_fee.actors

    with market.moves(stranger=OWED, fee_recipient=0):
        receipt = market.escrow.withdraw(
            actors.fee_recipient, actors.stranger, sender=actors.fee_recipient
        )

    assert market.events(receipt) == [
        (
            "Withdrawn",
            {
                "account": actors.fee_recipient.address,
                "to": actors.stranger.address,
                "amount": OWED,
            },
        )
    ]
    assert market.owed(actors.fee_recipient) == 0


def test_by_anyone_to_the_account(earned_fee: Market) -> None:
    actors = earned_fee.actors

    with earned_fee.moves(fee_recipient=OWED):
        earned_fee.escrow.withdraw(
            actors.fee_recipient, actors.fee_recipient, sender=actors.stranger
        )


def test_by_anyone_to_elsewhere(earned_fee: Market) -> None:
    actors = earned_fee.actors

    with reverts(
        "Escrow_SenderIsNotAccount",
        sender=actors.stranger.address,
        account=actors.fee_recipient.address,
    ):
        earned_fee.escrow.withdraw(actors.fee_recipient, actors.stranger, sender=actors.stranger)


def test_once(earned_fee: Market) -> None:
    actors = earned_fee.actors
    account = actors.fee_recipient
    earned_fee.escrow.withdraw(account, account, sender=account)

    with reverts("Escrow_NothingOwed", account=account.address):
        earned_fee.escrow.withdraw(account, account, sender=account)


def test_a_failing_transfer_reverts(native_market: Market, wallet: ContractInstance) -> None:
    market, actors = native_market, native_market.actors
    terms = market.funded()
    market.at(terms.ends_at)
    market.settle(terms, AMOUNT)
    wallet.setMood(Mood.REJECT, sender=actors.stranger)

    with reverts("Escrow_TransferFailed", to=wallet.address, amount=OWED):
        market.escrow.withdraw(actors.fee_recipient, wallet, sender=actors.fee_recipient)

    assert market.owed(actors.fee_recipient) == OWED
