"""`aitbc init` and `aitbc config`: a home with a wallet and a market that was checked."""

import os
from typing import Annotated

import typer

from aitbc.cli.app import command, group
from aitbc.cli.retired import refuse_retired
from aitbc.cli.session import Session
from aitbc.client import Coordinator, check_url
from aitbc.errors import InvalidInput, UntrustedMarket
from aitbc.profile import (
    PINNED_FIELDS,
    RPC_VARIABLE,
    Profile,
    pinned_differences,
    save_profile,
)
from aitbc.protocol.wire import Market

SETTINGS = ("coordinator_url", "rpc_url", "wallet")

config = group("Show and change what this home uses.")


def init(
    session: Session,
    *,
    coordinator: Annotated[
        str | None, typer.Option(help="The coordinator's URL.", metavar="URL")
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option(help="A node of the market's chain. [default: the market's own]"),
    ] = None,
    wallet: Annotated[
        str | None, typer.Option(help="Name of the wallet to use, made if there is none.")
    ] = None,
    reset_market: Annotated[
        bool, typer.Option("--reset-market", help="Move to another market, after asking.")
    ] = False,
) -> None:
    """Set up this machine: a wallet, and a market whose contract was checked.

    The coordinator's claims are checked on the node first: the escrow's code against the one that
    ships with this program, then its parameters. Only when all agree is anything written.
    Run again, it changes nothing that is pinned.
    """
    from aitbc.chain.escrow import open_checked

    profile = session.profile
    url = check_url(coordinator or session.coordinator_url)
    with session.output.progress("asking the coordinator for its market"):
        market = Coordinator(url).market()
    refuse_retired(market)
    _agree_to_move(session, profile.market, market, url, allowed=reset_market)
    rpc_url = _choose_node(session, rpc, market)
    with session.output.progress("checking the escrow on the node"):
        open_checked(rpc_url, market)

    name = wallet or profile.wallet
    address = _own_wallet(session, name)
    chosen = Profile(coordinator_url=url, rpc_url=rpc_url, wallet=name, market=market)
    if chosen != profile:
        save_profile(session.home, chosen)
    session.output.record(
        {
            "home": str(session.home),
            "wallet": name,
            "address": address,
            "coordinator_url": url,
            "market": market.name,
            **{field: getattr(market, field) for field in PINNED_FIELDS},
        }
    )


@command(config, "show", examples=["aitbc config show"])
def show(session: Session) -> None:
    """Show what this home uses, and the market that it pinned."""
    profile = session.profile
    pinned = profile.market.model_dump(mode="json") if profile.market else None
    session.output.record(
        {
            "home": str(session.home),
            **{key: getattr(profile, key) for key in SETTINGS},
            "market": pinned,
        }
    )


@command(
    config,
    "set",
    examples=[
        "aitbc config set rpc_url http://127.0.0.1:8545",
        "aitbc config set wallet savings",
    ],
)
def set_value(
    session: Session,
    key: Annotated[str, typer.Argument(help=f"One of {', '.join(SETTINGS)}.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
) -> None:
    """Change one setting."""
    if key not in SETTINGS:
        raise InvalidInput(f"there is no setting '{key}': choose one of {', '.join(SETTINGS)}")
    if key == "wallet":
        session.keystore.address(value)
    else:
        value = check_url(value)
    save_profile(session.home, session.profile.model_copy(update={key: value}))
    session.output.record({key: value})


def _agree_to_move(
    session: Session, pinned: Market | None, offered: Market, url: str, *, allowed: bool
) -> None:
    differences = pinned_differences(pinned, offered) if pinned else {}
    if not differences:
        return
    if not allowed:
        name, (before, after) = next(iter(differences.items()))
        raise UntrustedMarket(
            f"the market of {url} is not the pinned one: its {name} is {after}, not {before}",
            hint="nothing was changed; to move there: aitbc init --reset-market",
        )
    session.output.summary(
        "This home would move to another market:",
        {name: f"{before} → {after}" for name, (before, after) in differences.items()},
    )
    session.output.confirm("Pin the new market?")


def _choose_node(session: Session, given: str | None, market: Market) -> str:
    chosen = given or os.environ.get(RPC_VARIABLE) or session.profile.rpc_url
    if chosen:
        return check_url(chosen)
    if market.rpc_url is None:
        raise InvalidInput("this market suggests no node", hint="choose one: aitbc init --rpc URL")
    session.output.note(
        f"using the node that the market suggests, {market.rpc_url.host}; "
        "one of your own is safer: aitbc config set rpc_url URL"
    )
    return str(market.rpc_url).rstrip("/")


def _own_wallet(session: Session, name: str) -> str:
    if name in session.keystore.names():
        return session.keystore.address(name)
    session.output.note(f"making the wallet '{name}'; its passphrase cannot be recovered")
    return session.keystore.create(name, session.passphrase(new=True))
