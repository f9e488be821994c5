"""How far the chain has been followed: the only clock by which a reservation may lapse.

And what gas costs there.
"""

from typing import Any, NamedTuple

from sqlalchemy import BigInteger
from sqlmodel import Field, Session, SQLModel, col, select

from aitbc_coordinator.database import AmountColumn
from aitbc_coordinator.errors import Unavailable


class ChainCursor(SQLModel, table=True):
    """The last confirmed block whose events are all in the database (one row)."""

    __tablename__ = "chain_cursor"

    id: int = Field(default=1, primary_key=True)
    block_number: int = Field(sa_type=BigInteger)
    block_hash: str
    block_timestamp: int = Field(sa_type=BigInteger)
    gas_price: int = Field(sa_type=AmountColumn)
    """Wei for a unit of gas: the block's base fee, and the tip that the node then suggested."""
    final_number: int | None = Field(default=None, sa_type=BigInteger)
    """The highest block that was final by then: the follower takes nothing back below it."""
    final_hash: str | None = None
    halted: str | None = None
    """Why the follower stopped: what is final was replaced. Nothing is settled meanwhile."""


class Seen(NamedTuple):
    """What the last followed block says."""

    timestamp: int
    gas_price: int
    halted: str | None = None


_SEEN = select(
    col(ChainCursor.block_timestamp), col(ChainCursor.gas_price), col(ChainCursor.halted)
)


def chain_time(session: Session) -> int:
    """Timestamp of the last followed block (UTC seconds), 0 before the first one.

    A quote that expired by this time and has no `Funded` event can never be funded any more; by
    the wall clock alone it might be, in a block that was not followed yet.
    """
    return last_seen(session).timestamp


def gas_price(session: Session) -> int:
    """Wei for a unit of gas as of the last followed block, 0 before the first one."""
    return last_seen(session).gas_price


def require_sound(seen: Seen) -> None:
    """Raises Unavailable (`chain-replaced`) while what is followed may not be so any more."""
    if seen.halted is not None:
        raise Unavailable(
            "chain-replaced",
            "what was final on the chain was replaced: nothing new is promised, and nothing paid",
            hint="pay no quote meanwhile; the operator must look at the chain before it goes on",
        )


def last_seen(session: Session) -> Seen:
    """What the last followed block says; zeros before the first one."""
    session.flush()
    row: Any = session.connection().execute(_SEEN).first()
    return Seen(0, 0) if row is None else Seen(*row)
