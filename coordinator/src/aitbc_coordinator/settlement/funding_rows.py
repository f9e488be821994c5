"""SQL of the fundings that buyers signed and relayers carry. Nothing here commits."""

from collections.abc import Sequence

from sqlalchemy import func, or_, update
from sqlmodel import Session, col, select

from aitbc_coordinator.settlement.models import Funding, RelayState, RelayTransaction
from aitbc_coordinator.settlement.outbox import MAX_ATTEMPTS


def find(session: Session, booking_id: str) -> Funding | None:
    return session.get(Funding, booking_id)


def add(session: Session, funding: Funding) -> None:
    session.add(funding)
    session.flush()


def waiting(session: Session, now: int, limit: int) -> Sequence[Funding]:
    """Those that can still be sent and are in no transaction; what never failed first."""
    query = (
        select(Funding)
        .where(
            col(Funding.batch_id).is_(None),
            col(Funding.attempts) < MAX_ATTEMPTS,
            col(Funding.fund_by) > now,
        )
        .order_by(col(Funding.attempts), col(Funding.accepted_at), col(Funding.booking_id))
    )
    return session.exec(query.limit(limit)).all()


def cost_since(session: Session, since: int, now: int, *, other_than: str) -> int:
    """What fundings accepted after a time cost at most, in gwei, but for one booking's.

    What expired before it was sent costs nothing.
    """
    sent_or_live = or_(col(Funding.batch_id).is_not(None), col(Funding.fund_by) > now)
    query = select(func.coalesce(func.sum(Funding.cost_gwei), 0)).where(
        col(Funding.accepted_at) > since, col(Funding.booking_id) != other_than, sent_or_live
    )
    return int(session.exec(query).one())


def take(session: Session, booking_id: str, batch_id: str, cost_gwei: int) -> bool:
    """Give a funding to a batch. Returns whether it was free."""
    taken = session.exec(
        update(Funding)
        .where(col(Funding.booking_id) == booking_id, col(Funding.batch_id).is_(None))
        .values(batch_id=batch_id, cost_gwei=cost_gwei)
    )
    return taken.rowcount == 1


def charge(session: Session, batch_id: str, cost_gwei: int) -> None:
    """A batch became dearer: where it carries a funding, the budget learns of it."""
    session.exec(
        update(Funding).where(col(Funding.batch_id) == batch_id).values(cost_gwei=cost_gwei)
    )


def count_attempt(session: Session, booking_id: str) -> None:
    session.exec(
        update(Funding)
        .where(col(Funding.booking_id) == booking_id)
        .values(attempts=col(Funding.attempts) + 1)
    )


def release_lost(session: Session) -> None:
    """Free what is in a transaction that can never be mined. One that reverted stays as it is."""
    lost = select(col(RelayTransaction.batch_id)).where(
        col(RelayTransaction.state) == RelayState.FAILED,
        col(RelayTransaction.mined_block).is_(None),
    )
    session.exec(
        update(Funding)
        .where(col(Funding.batch_id).in_(lost))
        .values(batch_id=None, attempts=col(Funding.attempts) + 1)
    )
