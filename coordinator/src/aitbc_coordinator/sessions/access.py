"""Nonces and tokens: what is given out, used up, and taken back."""

import hashlib
import secrets

from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.sign_in import Audience
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import NotSignedIn, Unauthorised
from aitbc_coordinator.sessions import repository
from aitbc_coordinator.sessions.models import AccessToken, SignInNonce
from aitbc_coordinator.sessions.verification import verify

NONCE_SECONDS = 300
NONCE_BYTES = 16
TOKEN_BYTES = 32


def issue_nonce(context: Context) -> wire.SignInNonce:
    """A nonce that anybody may use once, soon."""
    nonce, expires_at = secrets.token_hex(NONCE_BYTES), context.now() + NONCE_SECONDS

    def work(session: Session) -> None:
        repository.delete_expired(session, context.now())
        repository.add_nonce(session, SignInNonce(nonce=nonce, expires_at=expires_at))

    context.database.transact(work)
    longest = context.settings.session_seconds
    return wire.SignInNonce(nonce=nonce, expires_at=expires_at, session_seconds=longest)


def sign_in(context: Context, audience: Audience, signed: wire.SignInRequest) -> wire.AccessToken:
    """A token for the wallet that signed. Raises Invalid, Unauthorised, TooManyRequests."""
    found = verify(context, audience, signed)
    now = context.now()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    # Who issues in advance gains nothing by it.
    expires_at = min(found.expires_at, now + context.settings.session_seconds)

    def work(session: Session) -> None:
        if not repository.use_nonce(session, found.nonce, now):
            raise Unauthorised(
                "unknown-nonce",
                "the message's nonce was used, has expired, or is not of this coordinator",
                hint="ask for another one, then sign in with it",
            )
        context.wallets.spend(found.wallet)
        repository.delete_expired(session, now)
        repository.add_token(
            session,
            AccessToken(digest=_digest(token), wallet=found.wallet, expires_at=expires_at),
        )

    context.database.transact(work)
    return wire.AccessToken(token=token, address=found.wallet, expires_at=expires_at)


def wallet_of(context: Context, token: str) -> str:
    """The wallet that a token speaks for. Raises NotSignedIn."""
    with context.database.read() as session:
        found = repository.find_token(session, _digest(token), context.now())
    if found is None:
        raise NotSignedIn("the token has expired, was given back, or is not of this coordinator")
    return found.wallet


def sign_out(context: Context, token: str) -> None:
    """Nobody can use the token any more."""

    def work(session: Session) -> None:
        repository.delete_token(session, _digest(token))

    context.database.transact(work)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
