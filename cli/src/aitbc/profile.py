"""A user's home: which coordinator, node and wallet they use, and the market they pinned."""

import os
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from aitbc.errors import AitbcError
from aitbc.files import write_private
from aitbc.protocol.wire import DEFAULT_COORDINATOR_URL, Market

HOME_VARIABLE = "AITBC_HOME"
COORDINATOR_VARIABLE = "AITBC_COORDINATOR_URL"
RPC_VARIABLE = "AITBC_RPC_URL"
DEFAULT_WALLET = "default"

PINNED_FIELDS = (
    "chain_id",
    "contract",
    "escrow",
    "token",
    "symbol",
    "decimals",
    "attester",
    "arbiter",
    "fee_bps",
    "fee_recipient",
    "claim_window",
    "deploy_block",
)
"""What of a market must never change under a user; the rest is how it is run, and may."""


class Profile(BaseModel):
    """`config.toml` of a home."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coordinator_url: str = DEFAULT_COORDINATOR_URL
    rpc_url: str | None = None
    wallet: str = DEFAULT_WALLET
    market: Market | None = None


def home_path() -> Path:
    """`AITBC_HOME`, or `~/.aitbc`."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.aitbc").expanduser()


def load_profile(home: Path) -> Profile:
    """The profile of a home, or the defaults where there is none. Raises AitbcError."""
    path = home / "config.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profile()
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if isinstance(content.get("market"), dict):
        # TOML has no null: an absent key is one.
        nothing = dict.fromkeys(("token", "rpc_url"))
        content["market"] = nothing | content["market"]
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise _unreadable(path, f"{field}: {problem['msg']}") from error


def save_profile(home: Path, profile: Profile) -> None:
    """Write `config.toml`, whole or not at all."""
    content = profile.model_dump(mode="json", exclude_none=True)
    write_private(home / "config.toml", tomli_w.dumps(content))


def pinned_differences(pinned: Market, offered: Market) -> dict[str, tuple[Any, Any]]:
    """Field → (pinned, offered), for every pinned field on which the two disagree."""
    return {
        name: (getattr(pinned, name), getattr(offered, name))
        for name in PINNED_FIELDS
        if getattr(pinned, name) != getattr(offered, name)
    }


def _unreadable(path: Path, reason: str) -> AitbcError:
    return AitbcError(
        f"cannot read {path}: {reason}", hint="repair it, or move it away and run 'aitbc init'"
    )
