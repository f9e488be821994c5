"""Tables of signing in. Rows are deleted once they have expired; times are UTC seconds."""

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class SignInNonce(SQLModel, table=True):
    """A nonce that nobody has used yet."""

    __tablename__ = "sign_in_nonce"

    nonce: str = Field(primary_key=True)
    expires_at: int = Field(sa_type=BigInteger, index=True)


class AccessToken(SQLModel, table=True):
    """A token that was given out. Who reads the database learns none of them."""

    __tablename__ = "access_token"

    digest: str = Field(primary_key=True)
    """SHA-256 of the token, in hex."""
    wallet: str
    expires_at: int = Field(sa_type=BigInteger, index=True)
