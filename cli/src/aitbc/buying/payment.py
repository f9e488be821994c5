"""Paying for a booking on the chain: means, allowance, funding, and the proof of it.

Imports web3: commands load it when they pay. Functions raise ChainError, and move nothing when
they do, unless the message carries a transaction's hash.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import node_call
from aitbc.chain.transactions import Sent, send
from aitbc.errors import ChainError, UntrustedMarket
from aitbc.protocol.events import Funded
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Market


@dataclass(frozen=True, slots=True)
class Means:
    """What a buyer's wallet has for a booking, in base units."""

    buyer: str
    balance: int
    allowance: int | None
    """What the escrow may take from it; None where its money is the native coin."""

    def needs_approval(self, amount: int) -> bool:
        return self.allowance is not None and self.allowance < amount

    def require(self, amount: int, market: Market, *, may_approve: bool) -> None:
        """Raises ChainError unless these means can pay an amount."""
        cost = _shown(amount, market)
        if self.balance < amount:
            raise ChainError(
                f"not enough money: {self.buyer} has a balance of "
                f"{_shown(self.balance, market)}, and the booking costs {cost} or more",
                hint=f"send more {market.symbol} to that wallet, then try again",
            )
        if self.needs_approval(amount) and not may_approve:
            raise ChainError(
                f"the escrow's allowance is {_shown(self.allowance or 0, market)}, and the "
                f"booking costs {cost} or more",
                hint="leave --no-approve out to allow exactly what it costs",
            )


def read_means(escrow: Escrow, buyer: str) -> Means:
    """What a wallet has, and what of it the escrow may take."""
    holder, token = Web3.to_checksum_address(buyer), escrow.token
    with node_call("the wallet was read"):
        balance, allowance = escrow.balance_of(holder), None
        if token is not None:
            call = token.functions.allowance(holder, escrow.contract.address)
            allowance = int(call.call())
    return Means(holder, balance, allowance)


def require_unpaid(escrow: Escrow, booking_id: str) -> None:
    """Refuses a booking that was funded already, so that nobody pays twice."""
    with node_call("the booking was read"):
        state = escrow.slot(booking_id).state
    if state is not EscrowState.NONE:
        raise ChainError(
            f"booking {booking_id} is paid already",
            hint=f"look at it: aitbc booking show {booking_id}",
        )


def require_open(terms: Terms) -> None:
    """Refuses a quote whose time to be paid has passed."""
    if time.time() >= terms.fund_by:
        raise ChainError(
            "the quote has expired: nothing was paid",
            hint="ask for a new one with 'aitbc marketplace quote' or 'book'",
        )


def approve(
    escrow: Escrow, account: LocalAccount, terms: Terms, on_sent: Callable[[str], None]
) -> Sent:
    """Let the escrow take exactly a booking's amount of its token."""
    if escrow.token is None:
        raise ChainError("the chain's own coin needs no approval")
    require_open(terms)
    spender, functions = escrow.contract.address, escrow.token.functions
    with node_call("the allowance was read"):
        standing = int(functions.allowance(account.address, spender).call())
    if standing:
        # Some tokens refuse to change an allowance that is not zero.
        send(escrow, account, functions.approve(spender, 0), on_sent=on_sent)
        require_open(terms)
    return send(escrow, account, functions.approve(spender, terms.amount), on_sent=on_sent)


def fund(
    escrow: Escrow, account: LocalAccount, terms: Terms, on_sent: Callable[[str], None]
) -> Sent:
    """Lock a booking's amount, and check the event of it, whose id commits to all terms."""
    require_open(terms)
    value = terms.amount if escrow.token is None else 0
    function = escrow.functions.fund(terms.abi_values())
    sent = send(escrow, account, function, value=value, on_sent=on_sent)
    booking_id = terms.booking_id(escrow.domain)
    for event in escrow.events_of(sent.receipt["logs"]):
        if isinstance(event, Funded) and event.booking_id == booking_id:
            return sent
    raise UntrustedMarket(
        f"transaction {sent.tx_hash} was mined, and did not fund the booking",
        hint="look the transaction up, and do not pay again into this escrow",
    )


def _shown(amount: int, market: Market) -> str:
    return f"{format_amount(amount, market.decimals)} {market.symbol}"
