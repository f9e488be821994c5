"""`aitbc wallet`: keys in an encrypted keystore. A private key is never an argument."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aitbc.cli.app import command, group
from aitbc.cli.arguments import checked, shown_amount
from aitbc.cli.session import Session
from aitbc.errors import ChainError, InvalidInput, WalletError
from aitbc.profile import DEFAULT_WALLET
from aitbc.protocol.types import ZERO_ADDRESS, parse_address
from aitbc.protocol.units import NATIVE_COIN, format_amount
from aitbc.protocol.wire import Market

if TYPE_CHECKING:
    from aitbc.chain.withdrawals import Withdrawal

wallet = group("Make, import and look at wallets; fetch what is owed to them.")

NameOption = Annotated[str, typer.Option("--name", help="The wallet's name.")]


@command(wallet, "create", examples=["aitbc wallet create --name savings"])
def create(session: Session, *, name: NameOption = DEFAULT_WALLET) -> None:
    """Make a new wallet, encrypted with a passphrase that you choose."""
    _report(session, name, session.keystore.create(name, session.passphrase(new=True)))


@command(
    wallet,
    "import",
    examples=["aitbc wallet import --name old", "aitbc wallet import --name old < key.txt"],
)
def import_key(session: Session, *, name: NameOption = DEFAULT_WALLET) -> None:
    """Store an existing private key, read from a hidden prompt or from standard input."""
    typed = sys.stdin.isatty()
    key = getpass.getpass("private key: ") if typed else sys.stdin.readline()
    if not key.strip():
        raise WalletError("no private key was given", hint="type it in, or pipe it in")
    _report(session, name, session.keystore.import_key(name, key, session.passphrase(new=True)))


@command(wallet, "list", examples=["aitbc wallet list --format json"])
def list_wallets(session: Session) -> None:
    """List the wallets of this home."""
    rows = [
        {
            "name": name,
            "address": session.keystore.address(name),
            "in_use": name == session.profile.wallet,
        }
        for name in session.keystore.names()
    ]
    session.output.table(
        rows,
        {"name": "WALLET", "address": "ADDRESS", "in_use": "IN USE"},
        empty="there is no wallet yet: make one with 'aitbc init'",
    )


@command(wallet, "show", examples=["aitbc wallet show", "aitbc wallet show --name savings"])
def show(
    session: Session,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="The wallet's name. [default: the one in use]")
    ] = None,
) -> None:
    """Show a wallet's address and what it holds: the market's money, and coin for gas."""
    name = name or session.profile.wallet
    address = session.keystore.address(name)
    values: dict[str, Any] = {"name": name, "address": address}
    if session.profile.market is None:
        session.output.note("no market is pinned yet, so balances are not shown: run 'aitbc init'")
    else:
        values |= _balances(session, address)
    session.output.record(values)
    if values.get("coin_balance") == "0":
        _say_what_needs_no_gas(session)


def _say_what_needs_no_gas(session: Session) -> None:
    relays = session.market.relays
    session.output.hint(
        "without coin for gas you can book, as this coordinator sends it for you; to cancel you "
        "need some"
        if relays
        else "without coin for gas this wallet can send nothing: send it some coin of the chain"
    )


@command(
    wallet,
    "withdraw",
    examples=["aitbc wallet withdraw", "aitbc wallet withdraw --to 0x…"],
)
def withdraw(
    session: Session,
    *,
    to: Annotated[
        str | None, typer.Option(help="Send it there. [default: this wallet]", metavar="ADDRESS")
    ] = None,
) -> None:
    """Fetch all that the escrow owes this wallet: fees, or a payment that could not be made.

    Needs a node, and no coordinator.
    """
    market, output = session.market, session.output
    recipient = session.address if to is None else _recipient(to, market)
    with output.progress("asking the escrow"):
        owed = _owed(session)
    result: dict[str, Any] = {"account": session.address, "to": recipient, "symbol": market.symbol}
    if not owed:
        output.note("the escrow owes this wallet nothing")
        output.record({**result, "withdrawn": "0", "tx": None})
        return
    output.summary("To withdraw:", {"amount": shown_amount(owed, market), "to": recipient})
    output.confirm("Send it?")
    done = _withdraw(session, recipient)
    withdrawn = format_amount(done.amount, market.decimals)
    output.record({**result, "withdrawn": withdrawn, "tx": done.tx_hash})


def _withdraw(session: Session, recipient: str) -> "Withdrawal":
    from aitbc.chain.withdrawals import withdraw as send_withdrawal

    escrow, account = session.escrow, session.account
    try:
        with session.output.progress("waiting for the chain"):
            return send_withdrawal(
                escrow, account, recipient, lambda tx: session.output.note(f"sent: {tx}")
            )
    except ChainError as error:
        if "Escrow_TransferFailed" not in str(error):
            raise
        raise ChainError(
            f"{recipient} cannot be paid: {error}", hint="name another address: --to ADDRESS"
        ) from error


def _recipient(text: str, market: Market) -> str:
    address = checked("--to", parse_address, text)
    if address in {ZERO_ADDRESS, market.escrow, market.token}:
        raise InvalidInput(f"--to: {address} would keep it for good", hint="name your own wallet")
    return address


def _owed(session: Session) -> int:
    from aitbc.chain.node import node_call

    escrow = session.escrow
    with node_call("the wallet was read"):
        return escrow.owed(session.address)


def _balances(session: Session, address: str) -> dict[str, str]:
    from web3 import Web3

    from aitbc.chain.node import NODE_FAILURES, node_down

    market, escrow = session.market, session.escrow
    try:
        money = escrow.balance_of(address)
        coin = escrow.web3.eth.get_balance(Web3.to_checksum_address(address))
        owed = escrow.owed(address)
    except NODE_FAILURES as error:
        raise node_down(session.rpc_url) from error
    return {
        "balance": format_amount(money, market.decimals),
        "symbol": market.symbol,
        "coin_balance": format_amount(coin, NATIVE_COIN.decimals),
        "owed_by_escrow": format_amount(owed, market.decimals),
    }


def _report(session: Session, name: str, address: str) -> None:
    session.output.record({"name": name, "address": address})
    if name != session.profile.wallet:
        session.output.hint(f"to use it: aitbc config set wallet {name}")
