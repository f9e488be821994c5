"""No verb can be entered while another runs."""

from collections.abc import Callable
from typing import Any

import pytest
from ape.contracts import ContractInstance
from eth_utils import keccak
from market import AMOUNT, NO_SIGNATURE, Market, Mode, fee

GUARD = keccak(text="ReentrancyGuardReentrantCall()")[:4]
NET = AMOUNT - fee(AMOUNT)
EVIDENCE = b"\xe1" * 32

CALLS: dict[str, Callable[[Any, Market, Any], tuple[Any, ...]]] = {
    "fund": lambda t, m, w: (t,),
    "fundMany": lambda t, m, w: ([t],),
    "claim": lambda t, m, w: (t, 1, NO_SIGNATURE),
    "settle": lambda t, m, w: (t, 1, EVIDENCE, NO_SIGNATURE),
    "settleMany": lambda t, m, w: ([], NO_SIGNATURE),
    "settleEach": lambda t, m, w: ([], NO_SIGNATURE),
    "cancel": lambda t, m, w: (t,),
    "reclaim": lambda t, m, w: (t,),
    "withdraw": lambda t, m, w: (w, w),
}


def aim(wallet: ContractInstance, market: Market, verb: str) -> None:
    """Makes the wallet call `verb` when it is paid."""
    terms = market.funded(provider=wallet.address)
    arguments = CALLS[verb](terms.abi_values(), market, wallet.address)
    call = getattr(market.escrow, verb).encode_input(*arguments)
    wallet.setReentry(market.escrow, call, sender=market.actors.stranger)


@pytest.mark.parametrize("verb", CALLS)
def test_a_recipient_cannot_enter(
    calling_market: Market, wallet: ContractInstance, verb: str
) -> None:
    market = calling_market
    terms = market.funded(provider=wallet.address)
    aim(wallet, market, verb)

    market.at(terms.ends_at)
    receipt = market.settle(terms, AMOUNT)

    assert market.names(receipt) == ["Settled"]
    assert (wallet.reentered(), bytes(wallet.reentryError())) == (False, GUARD)


def test_a_withdrawing_account_cannot_enter(
    calling_market: Market, wallet: ContractInstance
) -> None:
    market = calling_market
    terms = market.funded()
    market.at(terms.ends_at)
    market.settle(terms, AMOUNT)
    aim(wallet, market, "withdraw")
    recipient = market.actors.fee_recipient

    market.escrow.withdraw(recipient, wallet, sender=recipient)

    assert market.owed(recipient) == 0
    assert (wallet.reentered(), bytes(wallet.reentryError())) == (False, GUARD)


def test_a_funding_buyer_cannot_enter(
    hostile_market: Market, hostile_token: ContractInstance, wallet: ContractInstance
) -> None:
    market, owner = hostile_market, hostile_market.actors.stranger
    hostile_token.mint(wallet, AMOUNT, sender=owner)
    approve = hostile_token.approve.encode_input(market.escrow.address, AMOUNT)
    wallet.execute(hostile_token, 0, approve, sender=owner)
    terms = market.terms(buyer=wallet.address)
    aim(wallet, market, "cancel")
    hostile_token.setMode(Mode.CALLS_BACK, sender=owner)

    fund = market.escrow.fund.encode_input(terms.abi_values())
    wallet.execute(market.escrow, 0, fund, sender=owner)
    market.bookings.append(terms)

    assert market.remaining(terms) == AMOUNT
    assert (wallet.reentered(), bytes(wallet.reentryError())) == (False, GUARD)
