"""Whether the market's escrow is retired: its attester's signed word, of which there is one."""

from sqlalchemy import BigInteger
from sqlmodel import Field, Session, SQLModel, col, select

from aitbc.protocol import messages, wire
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc_coordinator.errors import Conflict

_ROW = 1


class Retirement(SQLModel, table=True):
    """At most one row; it is never changed."""

    __tablename__ = "retirement"

    id: int = Field(default=_ROW, primary_key=True)
    retired_at: int = Field(sa_type=BigInteger)
    successor: str
    signature: str


_SUCCESSOR = select(col(Retirement.successor))


def find(session: Session) -> wire.SignedRetirement | None:
    """What the attester signed; None while the escrow is in use."""
    row = session.get(Retirement, _ROW)
    if row is None:
        return None
    return wire.SignedRetirement(
        retirement=messages.Retirement(retired_at=row.retired_at, successor=row.successor),
        signature=row.signature,
    )


def keep(session: Session, signed: wire.SignedRetirement) -> wire.SignedRetirement:
    """Keep what the attester signed, unless it retired the escrow before; what counts."""
    earlier = find(session)
    if earlier is not None:
        return earlier
    fields = signed.retirement.model_dump()
    session.add(Retirement(id=_ROW, **fields, signature=signed.signature))
    session.flush()
    return signed


def require_in_use(session: Session) -> None:
    """Raises Conflict (`market-retired`)."""
    successor = session.connection().execute(_SUCCESSOR).scalar()
    if successor is None:
        return
    named = "" if successor == ZERO_ADDRESS else f"; its successor is {successor}"
    raise Conflict(
        "market-retired",
        "this market's escrow is retired: nothing new is booked",
        hint=f"what is booked already goes on and is paid{named}",
    )
