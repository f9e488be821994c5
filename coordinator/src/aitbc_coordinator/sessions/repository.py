"""SQL of nonces and tokens. Nothing here commits."""

from sqlalchemy import delete
from sqlmodel import Session, col, select

from aitbc_coordinator.sessions.models import AccessToken, SignInNonce


def add_nonce(session: Session, nonce: SignInNonce) -> None:
    session.add(nonce)
    session.flush()


def use_nonce(session: Session, nonce: str, now: int) -> bool:
    """Whether it was there to be used: from now on it is not, for any replica."""
    used = delete(SignInNonce).where(
        col(SignInNonce.nonce) == nonce, col(SignInNonce.expires_at) > now
    )
    return bool(session.exec(used).rowcount)


def add_token(session: Session, token: AccessToken) -> None:
    session.add(token)
    session.flush()


def find_token(session: Session, digest: str, now: int) -> AccessToken | None:
    """One that has not expired."""
    query = select(AccessToken).where(
        col(AccessToken.digest) == digest, col(AccessToken.expires_at) > now
    )
    return session.exec(query).first()


def delete_token(session: Session, digest: str) -> None:
    session.exec(delete(AccessToken).where(col(AccessToken.digest) == digest))


def delete_expired(session: Session, now: int) -> None:
    """Keep what can still be used, and nothing else."""
    session.exec(delete(SignInNonce).where(col(SignInNonce.expires_at) <= now))
    session.exec(delete(AccessToken).where(col(AccessToken.expires_at) <= now))
