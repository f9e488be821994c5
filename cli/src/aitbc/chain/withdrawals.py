"""Fetching what the escrow owes an account: fees, and payments that failed."""

from collections.abc import Callable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract.contract import ContractFunction

from aitbc.chain.escrow import Escrow
from aitbc.chain.transactions import send
from aitbc.protocol.events import Withdrawn


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A mined withdrawal; `amount` is base units."""

    tx_hash: str
    amount: int


def withdraw_call(escrow: Escrow, account: str, to: str) -> ContractFunction:
    call: ContractFunction = escrow.functions.withdraw(
        Web3.to_checksum_address(account), Web3.to_checksum_address(to)
    )
    return call


def withdraw(
    escrow: Escrow, account: LocalAccount, to: str, on_sent: Callable[[str], None]
) -> Withdrawal:
    """Send all that is owed to the account to an address. Raises ChainError when it is refused."""
    sent = send(escrow, account, withdraw_call(escrow, account.address, to), on_sent=on_sent)
    events = escrow.events_of(sent.receipt["logs"])
    return Withdrawal(sent.tx_hash, sum(e.amount for e in events if isinstance(e, Withdrawn)))
