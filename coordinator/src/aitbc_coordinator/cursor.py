"""How far the chain has been followed: the only clock by which a reservation may lapse.

And what gas costs there.
"""

from sqlalchemy import BigInteger
from sqlmodel import Field, Session, SQLModel

from aitbc_coordinator.database import AmountColumn


class ChainCursor(SQLModel, table=True):
    """The last confirmed block whose events are all in the database (one row)."""

    __tablename__ = "chain_cursor"

    id: int = Field(default=1, primary_key=True)
    block_number: int = Field(sa_type=BigInteger)
    block_hash: str
    block_timestamp: int = Field(sa_type=BigInteger)
    gas_price: int = Field(sa_type=AmountColumn)
    """Wei for a unit of gas: the block's base fee, and the tip that the node then suggested."""


def chain_time(session: Session) -> int:
    """Timestamp of the last followed block (UTC seconds), 0 before the first one.

    A quote that expired by this time and has no `Funded` event can never be funded any more; by
    the wall clock alone it might be, in a block that was not followed yet.
    """
    cursor = _cursor(session)
    return 0 if cursor is None else cursor.block_timestamp


def gas_price(session: Session) -> int:
    """Wei for a unit of gas as of the last followed block, 0 before the first one."""
    cursor = _cursor(session)
    return 0 if cursor is None else cursor.gas_price


def _cursor(session: Session) -> ChainCursor | None:
    # A session reads a row only once while somebody holds what it read.
    held = session.get(ChainCursor, 1)
    session.info["chain_cursor"] = held
    return held
