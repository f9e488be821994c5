"""`aitbc-coordinator doctor`: looks at all that a coordinator needs, and changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NODE_FAILURES, reason
from aitbc.errors import AitbcError
from aitbc.protocol.units import NATIVE_COIN, format_amount
from aitbc.protocol.wire import Market
from aitbc_coordinator import nodes, serve, signers
from aitbc_coordinator.context import utc_now
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.worth import why_not_counted
from aitbc_coordinator.provision import NODE_HINT
from aitbc_coordinator.settings import ENV_PREFIX, Settings
from aitbc_coordinator.settlement import clock
from aitbc_coordinator.webhooks.secret import read_secret, secret_path


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do about it. A `note` keeps nothing from work."""

    part: str
    state: Literal["ok", "note", "failed"]
    words: str
    hint: str | None = None


Look = Callable[[Settings], Finding]


def examine(settings: Settings) -> list[Finding]:
    """Every part that can be looked at, whatever is wrong with the others."""
    looks: list[tuple[str, Look]] = [("keys", _keys), ("database", _database)]
    if settings.webhook_url:
        looks.append(("webhook", _webhook))
    try:
        escrow, market = serve.open_market(settings, signers.attester_address(settings))
    except AitbcError as error:
        failed = Finding("escrow", "failed", str(error), error.hint)
        return [*(_finding(part, look, settings) for part, look in looks), failed]
    looks += [
        (
            "escrow",
            lambda _: Finding("escrow", "ok", f"{market.escrow} on chain {market.chain_id}"),
        ),
        ("clock", lambda settings: _clock(escrow, settings)),
        ("settling", lambda _: _settling(settings, market)),
    ]
    found = [_finding(part, look, settings) for part, look in looks]
    return [*found, *_relayers(escrow, settings), *_spare_nodes(settings)]


def _spare_nodes(settings: Settings) -> list[Finding]:
    """A note for each of several nodes that cannot be used: another one is."""
    if len(settings.rpc_urls) == 1:
        return []
    hint = "correct or replace it in rpc_url"
    found = nodes.troubles_of(settings.rpc_urls, settings.chain_id)
    return [Finding("node", "note", trouble, hint) for trouble in found]


def _finding(part: str, look: Look, settings: Settings) -> Finding:
    try:
        return look(settings)
    except AitbcError as error:
        return Finding(part, "failed", str(error), error.hint)
    except NODE_FAILURES as error:
        return Finding(part, "failed", reason(error), NODE_HINT)


def _keys(settings: Settings) -> Finding:
    keys = signers.open_all(settings)
    return Finding("keys", "ok", f"attester {keys.attester.address}")


def _database(settings: Settings) -> Finding:
    url = serve.database_url(settings)
    shown = url.render_as_string(hide_password=True)
    if url.drivername == "sqlite" and not Path(url.database or "").exists():
        return Finding("database", "note", f"{shown} does not exist yet", "serve makes it")
    database = Database(settings.database)
    try:
        with database.read() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        raise AitbcError(
            f"the database {shown} cannot be used: {type(error).__name__}",
            hint=f"check that it runs, and {ENV_PREFIX}DATABASE_URL",
        ) from error
    finally:
        database.close()
    return Finding("database", "ok", shown)


def _webhook(settings: Settings) -> Finding:
    path = secret_path(settings)
    if settings.webhook_secret_file is None and not path.exists():
        return Finding("webhook", "note", f"{path} does not exist yet", "serve makes it")
    read_secret(path)
    return Finding("webhook", "ok", f"messages are signed with the secret in {path}")


def _clock(escrow: Escrow, settings: Settings) -> Finding:
    clock.check(escrow.web3, utc_now(), oldest_head_seconds=settings.oldest_head_seconds)
    return Finding("clock", "ok", "it agrees with the newest block")


def _relayers(escrow: Escrow, settings: Settings) -> list[Finding]:
    """One for each. One without coin fails only where none has any: the others go on."""
    try:
        coin = {
            relayer: int(escrow.web3.eth.get_balance(Web3.to_checksum_address(relayer)))
            for relayer in signers.relayer_addresses(settings)
        }
    except AitbcError as error:
        return [Finding("relayer", "failed", str(error), error.hint)]
    except NODE_FAILURES as error:
        return [Finding("relayer", "failed", reason(error), NODE_HINT)]
    return [
        Finding(
            "relayer",
            "ok",
            f"{relayer} has {format_amount(wei, NATIVE_COIN.decimals)} of the chain's coin",
        )
        if wei
        else Finding(
            "relayer",
            "note" if any(coin.values()) else "failed",
            f"{relayer} has no coin for gas",
            "send it some of the chain's coin",
        )
        for relayer, wei in coin.items()
    ]


def _settling(settings: Settings, market: Market) -> Finding:
    uncounted = why_not_counted(settings, market.fee_bps)
    if uncounted is not None:
        return Finding("settling", "note", f"not counted: {uncounted}")
    return Finding("settling", "ok", "a booking whose fee does not cover its gas is refused")
