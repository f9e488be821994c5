"""SQL of the relayers' transactions. Nothing here commits.

A group is all that was signed for one nonce of one sender and has not failed, the newest last.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_, update
from sqlalchemy import select as sql_select
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from aitbc_coordinator.database import insert_rows
from aitbc_coordinator.settlement.models import (
    LIVE_STATES,
    PENDING_STATES,
    ChainEvent,
    RelayState,
    RelayTransaction,
)

Group = list[RelayTransaction]


class Load(NamedTuple):
    """What a sender has under way."""

    nonces: int
    cost: int
    """Wei that those cost at most that are in no block."""


NOTHING = Load(0, 0)


def _of_live_nonces() -> Any:
    """All that was signed for a nonce with a transaction under way, and has not failed."""
    under_way = aliased(RelayTransaction)
    nonces = (
        select(col(under_way.sender), col(under_way.nonce))
        .where(col(under_way.state).in_(LIVE_STATES))
        .distinct()
        .subquery()
    )
    its_nonce = and_(
        col(RelayTransaction.sender) == nonces.c.sender,
        col(RelayTransaction.nonce) == nonces.c.nonce,
    )
    order = (RelayTransaction.sender, RelayTransaction.nonce, RelayTransaction.bump)
    return (
        select(RelayTransaction)
        .join(nonces, its_nonce)
        .where(col(RelayTransaction.state) != RelayState.FAILED)
        .order_by(*(col(column) for column in order))
    )


# Made once: each pass asks several times, and making one takes longer than to answer it.
_LIVE = _of_live_nonces()
_LOADS = sql_select(
    *(
        col(column)
        for column in (
            RelayTransaction.sender,
            RelayTransaction.nonce,
            RelayTransaction.state,
            RelayTransaction.gas,
            RelayTransaction.max_fee,
        )
    )
).where(col(RelayTransaction.state).in_(LIVE_STATES))


def live(session: Session) -> list[Group]:
    """The group of each nonce with a transaction under way, by sender and nonce."""
    groups: dict[tuple[str, int], Group] = {}
    for transaction in session.exec(_LIVE):
        groups.setdefault((transaction.sender, transaction.nonce), []).append(transaction)
    return list(groups.values())


def pending(session: Session) -> list[Group]:
    """Of `live`, those that have no transaction in a block."""
    return [
        group
        for group in live(session)
        if all(transaction.state in PENDING_STATES for transaction in group)
    ]


def loads(session: Session) -> dict[str, Load]:
    """What each sender has under way, of those that have anything."""
    rows: Any = session.connection().execute(_LOADS)
    costs: dict[str, dict[int, int]] = {}
    for sender, nonce, state, gas, max_fee in rows:
        cost = gas * max_fee if state in PENDING_STATES else 0
        known = costs.setdefault(sender, {})
        known[nonce] = max(cost, known.get(nonce, 0))
    return {sender: Load(len(known), sum(known.values())) for sender, known in costs.items()}


def free_nonce(session: Session, sender: str, from_nonce: int) -> tuple[int, int]:
    """The lowest nonce from `from_nonce` on that no transaction owns, and its next `bump`."""
    query = (
        select(
            col(RelayTransaction.nonce),
            func.max(col(RelayTransaction.bump)),
            func.count().filter(
                or_(
                    col(RelayTransaction.state) != RelayState.FAILED,
                    col(RelayTransaction.mined_block).is_not(None),
                )
            ),
        )
        .where(col(RelayTransaction.sender) == sender, col(RelayTransaction.nonce) >= from_nonce)
        .group_by(col(RelayTransaction.nonce))
    )
    known = {nonce: (bump, owners) for nonce, bump, owners in session.exec(query)}
    nonce = from_nonce
    while nonce in known and known[nonce][1]:
        nonce += 1
    return nonce, known[nonce][0] + 1 if nonce in known else 0


def add(session: Session, signed: RelayTransaction) -> bool:
    """Persist the first transaction of a batch, unless its nonce is not free any more."""
    place = (signed.nonce, signed.bump)
    if free_nonce(session, signed.sender, signed.nonce) != place:
        return False
    _insert(session, signed)
    return True


def replace(session: Session, replaced: RelayTransaction, signed: RelayTransaction) -> bool:
    """Persist another transaction of a nonce, unless the replaced one is not its last any more.

    Nor is there anything to replace when one of them is in a block.
    """
    query = select(col(RelayTransaction.id), col(RelayTransaction.state)).where(
        col(RelayTransaction.sender) == replaced.sender,
        col(RelayTransaction.nonce) == replaced.nonce,
        col(RelayTransaction.bump) >= replaced.bump,
    )
    found = session.exec(query).all()
    if [id_ for id_, _ in found] != [replaced.id] or found[0][1] not in PENDING_STATES:
        return False
    _insert(session, signed)
    return True


def _insert(session: Session, signed: RelayTransaction) -> None:
    insert_rows(session, RelayTransaction, [signed.model_dump(exclude={"id"})])


def set_state(
    session: Session,
    transactions: Iterable[RelayTransaction],
    state: RelayState,
    *,
    mined_block: int | None = None,
) -> None:
    session.exec(
        update(RelayTransaction)
        .where(col(RelayTransaction.id).in_([found.id for found in transactions]))
        .values(state=state, mined_block=mined_block)
    )


def mark_sent(session: Session, transaction: RelayTransaction, head: int) -> None:
    session.exec(
        update(RelayTransaction)
        .where(
            col(RelayTransaction.id) == transaction.id,
            col(RelayTransaction.state) == RelayState.SIGNED,
        )
        .values(state=RelayState.SENT, sent_block=head)
    )


def count_refusal(session: Session, transaction: RelayTransaction) -> None:
    session.exec(
        update(RelayTransaction)
        .where(col(RelayTransaction.id) == transaction.id)
        .values(refusals=col(RelayTransaction.refusals) + 1)
    )


def give_up(session: Session, refused: RelayTransaction) -> None:
    """Free the nonce of a transaction that no node takes.

    What waits behind it could not be mined before it, and is given up too.
    """
    session.exec(
        update(RelayTransaction)
        .where(
            col(RelayTransaction.sender) == refused.sender,
            col(RelayTransaction.nonce) >= refused.nonce,
            col(RelayTransaction.state).in_(PENDING_STATES),
        )
        .values(state=RelayState.FAILED)
    )


def unmine(session: Session, transactions: Iterable[RelayTransaction]) -> None:
    """A reorg took their block back: they are to be sent again, the same bytes."""
    session.exec(
        update(RelayTransaction)
        .where(col(RelayTransaction.id).in_([found.id for found in transactions]))
        .values(state=RelayState.SIGNED, mined_block=None, sent_block=None)
    )


def unmine_above(session: Session, number: int) -> None:
    """Take back what was mined above a block, and what that had replaced."""
    _unmine_where(session, col(RelayTransaction.mined_block) > number)


def unmine_without_event(session: Session) -> None:
    """Take back what was mined, by what was known, and left no event: look for it again."""
    eventless = col(RelayTransaction.tx_hash).not_in(select(col(ChainEvent.tx_hash)))
    _unmine_where(session, and_(col(RelayTransaction.mined_block).is_not(None), eventless))


def _unmine_where(session: Session, condition: ColumnElement[bool]) -> None:
    for transaction in session.exec(select(RelayTransaction).where(condition)).all():
        of_its_nonce = select(RelayTransaction).where(
            col(RelayTransaction.sender) == transaction.sender,
            col(RelayTransaction.nonce) == transaction.nonce,
            or_(
                col(RelayTransaction.state) != RelayState.FAILED,
                col(RelayTransaction.id) == transaction.id,
            ),
        )
        unmine(session, session.exec(of_its_nonce).all())


def newest(session: Session, batch_ids: Sequence[str]) -> dict[str, RelayTransaction]:
    """The transaction that carries a batch, or will: the mined one, else the last signed."""
    query = (
        select(RelayTransaction)
        .where(
            col(RelayTransaction.batch_id).in_(batch_ids),
            col(RelayTransaction.state).in_(LIVE_STATES),
        )
        .order_by(col(RelayTransaction.bump))
    )
    found: dict[str, RelayTransaction] = {}
    for transaction in session.exec(query):
        kept = found.get(transaction.batch_id)
        if kept is None or kept.state != RelayState.MINED:
            found[transaction.batch_id] = transaction
    return found
