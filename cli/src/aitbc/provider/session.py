"""The session key: what the GPU host signs heartbeats with, so that the wallet stays locked.

It is stored in the clear, readable by its owner only: it holds no money, expires, and can do
nothing but send heartbeats for one provider in one market.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pydantic import ValidationError
from pydantic_core import from_json

from aitbc.errors import InvalidInput, WalletError
from aitbc.files import write_private
from aitbc.protocol.messages import Domain, Message, SessionGrant
from aitbc.protocol.metering import LONGEST_SESSION_DAYS, SignedSessionGrant
from aitbc.signing import sign

SECONDS_PER_DAY = 86_400
HOW_TO_MAKE_ONE = "make one with the provider's wallet: aitbc provider session create"


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A session key with the grant that its provider signed."""

    key: LocalAccount
    signed: SignedSessionGrant

    @property
    def grant(self) -> SessionGrant:
        return self.signed.grant

    def sign(self, message: Message, domain: Domain) -> str:
        return sign(self.key, message, domain)


def create_session(
    path: Path,
    wallet: LocalAccount,
    domain: Domain,
    *,
    days: int,
    now: int,
    register: Callable[[SignedSessionGrant], object],
) -> SessionKey:
    """Make a key, have the wallet grant it, register the grant, then store both at `path`.

    Nothing is stored unless `register`, which sends the grant to the coordinator, succeeds.
    Raises InvalidInput for a number of days that no coordinator takes.
    """
    check_days(days)
    key: LocalAccount = Account.create()
    grant = SessionGrant(
        provider=wallet.address,
        session_key=key.address,
        expires_at=now + days * SECONDS_PER_DAY,
    )
    signed = SignedSessionGrant(grant=grant, signature=sign(wallet, grant, domain))
    register(signed)
    content = {
        "market": _market(domain),
        "private_key": "0x" + bytes(key.key).hex(),
        "granted": signed.model_dump(mode="json"),
    }
    write_private(path, json.dumps(content, indent=2) + "\n")
    return SessionKey(key, signed)


def check_days(days: int) -> None:
    """Raises InvalidInput for a number of days that no coordinator takes."""
    if not 1 <= days <= LONGEST_SESSION_DAYS:
        raise InvalidInput(
            f"a session cannot last {days} days",
            hint=f"choose 1 to {LONGEST_SESSION_DAYS} with --days",
        )


def load_session(path: Path, domain: Domain, now: int) -> SessionKey:
    """The stored session. Raises WalletError: none, expired, or not usable in this market."""
    try:
        content = from_json(path.read_bytes())
        market = content["market"]
        key: LocalAccount = Account.from_key(content["private_key"])
        signed = SignedSessionGrant.model_validate(content["granted"])
    except FileNotFoundError:
        raise WalletError("this machine has no session key", hint=HOW_TO_MAKE_ONE) from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        # The cause may quote the file, and with it the key.
        raise WalletError(f"{path} is not a session file", hint=HOW_TO_MAKE_ONE) from None
    grant = signed.grant
    if market != _market(domain):
        raise WalletError("the session key was granted for another market", hint=HOW_TO_MAKE_ONE)
    if key.address != grant.session_key or grant.signer(domain, signed.signature) != grant.provider:
        raise WalletError(
            "the session key and what its provider signed differ", hint=HOW_TO_MAKE_ONE
        )
    if grant.expires_at <= now:
        raise WalletError("the session key has expired", hint=HOW_TO_MAKE_ONE)
    return SessionKey(key, signed)


def _market(domain: Domain) -> dict[str, object]:
    return {"chain_id": domain.chain_id, "escrow": domain.escrow}
