"""Whether a wallet signed in: an EIP-4361 message, read and verified by the standard's library."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from aitbc.protocol import wire
from aitbc.protocol.sign_in import Audience
from aitbc.protocol.types import parse_address
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Invalid, Unauthorised
from aitbc_coordinator.market.signatures import require_fresh

if TYPE_CHECKING:
    from siwe import SiweMessage  # type: ignore[import-untyped]  # it has no types

CODES = ("wrong-domain", "wrong-chain", "stale-signature", "message-expired", "wrong-signer")
"""Of what `verify` raises, other than `invalid-message`."""


class SignedIn(NamedTuple):
    """What a verified message says. Whether its nonce is one to be used, the database knows."""

    wallet: str
    nonce: str
    expires_at: int
    """UTC seconds."""


def verify(context: Context, audience: Audience, signed: wire.SignInRequest) -> SignedIn:
    """Raises Invalid for what is no such message, Unauthorised for one that is not good here."""
    # It brings web3 with it, which takes a second to load.
    import siwe

    message = _read(signed.message)
    now = context.now()
    chain_id = context.market.chain_id
    try:
        message.verify(
            signed.signature,
            scheme=None if message.scheme is None else audience.uri.partition(":")[0],
            domain=audience.domain,
            uri=audience.uri,
            chain_id=chain_id,
            timestamp=datetime.fromtimestamp(now, UTC),
        )
    except (siwe.DomainMismatch, siwe.UriMismatch, siwe.SchemeMismatch) as error:
        raise Unauthorised(
            "wrong-domain",
            f"the message is for {message.domain} and {message.uri}, this coordinator is "
            f"{audience.domain} and {audience.uri}",
            hint="use the coordinator by that URL; its operator sets it in public_url",
        ) from error
    except siwe.ChainIdMismatch as error:
        raise Unauthorised(
            "wrong-chain",
            f"the message is for chain {message.chain_id}, this market is on chain {chain_id}",
            hint="sign in for this market's chain",
        ) from error
    except (siwe.ExpiredMessage, siwe.NotYetValidMessage) as error:
        raise Unauthorised(
            "message-expired",
            f"the message is good from {message.not_before or message.issued_at} until "
            f"{message.expiration_time}",
            hint="check this machine's clock, then sign in again",
        ) from error
    except siwe.VerificationError as error:
        raise Unauthorised(
            "wrong-signer",
            f"the message as it was sent is not signed by the key of {message.address}",
            hint="sign exactly what is sent, with that wallet; contract wallets cannot sign in",
        ) from error
    return SignedIn(message.address, message.nonce, _expiry(context, message))


def _read(text: str) -> "SiweMessage":
    from siwe import SiweMessage

    try:
        message = SiweMessage.from_message(text)
        exact = parse_address(message.address)
    except ValueError as error:
        raise Invalid(
            "invalid-message",
            "message: it is no EIP-4361 message of version 1",
            hint="see docs/protocol.md for one",
        ) from error
    if message.address != exact:
        raise Invalid(
            "invalid-message",
            "message: its address is without its checksum",
            hint=f"write {exact}",
        )
    return message


def _expiry(context: Context, message: "SiweMessage") -> int:
    """When the message says that it ends. Raises Unauthorised where that is too late, or never."""
    issued_at = _seconds(message.issued_at)
    require_fresh(context, issued_at)
    longest = context.settings.session_seconds
    expires_at = None if message.expiration_time is None else _seconds(message.expiration_time)
    if expires_at is None or expires_at > issued_at + longest:
        raise Unauthorised(
            "message-expired",
            f"the message must say that it expires, and at most {longest} s after it was issued",
            hint="sign in for a shorter time",
        )
    return expires_at


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
