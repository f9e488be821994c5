"""SQL of the webhooks' outbox. Nothing here commits."""

from typing import NamedTuple

from sqlalchemy import String, and_, cast, delete, exists, func, literal, update
from sqlmodel import Session, col, select

from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.webhooks.messages import Kind
from aitbc_coordinator.webhooks.models import WebhookMessage

_IS_WAITING = col(WebhookMessage.due_at).is_not(None)


class Counts(NamedTuple):
    """Of messages; `failing_since` is when one that waits first failed (UTC seconds)."""

    waiting: int
    given_up: int
    failing_since: int | None


NO_MESSAGES = Counts(0, 0, None)


def add(session: Session, message: WebhookMessage) -> None:
    """Keep a message, unless one of its id is there."""
    there = select(col(WebhookMessage.number)).where(col(WebhookMessage.id) == message.id)
    if session.exec(there).first() is None:
        session.add(message)
        session.flush()


def take_back(session: Session, number: int) -> set[str]:
    """Delete what waits and tells of an event above a block; the ids of its bookings."""
    above = and_(_IS_WAITING, col(WebhookMessage.block_number) > number)
    found = session.exec(select(col(WebhookMessage.booking_id)).where(above)).all()
    session.exec(delete(WebhookMessage).where(above))
    return {booking_id for booking_id in found if booking_id is not None}


def next_due(session: Session, now: int) -> WebhookMessage | None:
    """What was never posted comes first, in the order in which it was written."""
    query = select(WebhookMessage).where(col(WebhookMessage.due_at) <= now)
    order = (col(WebhookMessage.due_at), col(WebhookMessage.number))
    return session.exec(query.order_by(*order).limit(1)).first()


def find_waiting(session: Session, message_id: str) -> WebhookMessage | None:
    query = select(WebhookMessage).where(col(WebhookMessage.id) == message_id, _IS_WAITING)
    return session.exec(query.with_for_update()).first()


def mark_delivered(session: Session, message_id: str, now: int) -> None:
    session.exec(
        update(WebhookMessage)
        .where(col(WebhookMessage.id) == message_id)
        .values(due_at=None, delivered_at=now, given_up_at=None)
    )


def prune(session: Session, before: int) -> None:
    """Delete what was delivered or given up before a time."""
    over_at = func.coalesce(col(WebhookMessage.delivered_at), col(WebhookMessage.given_up_at))
    session.exec(delete(WebhookMessage).where(~_IS_WAITING, over_at < before))


def counts(session: Session) -> Counts:
    given_up = col(WebhookMessage.given_up_at).is_not(None)
    query = select(
        func.count().filter(_IS_WAITING),
        func.count().filter(given_up),
        func.min(col(WebhookMessage.first_failed_at)).filter(_IS_WAITING),
    ).select_from(WebhookMessage)
    return Counts(*session.exec(query).one())


def fallen_silent(session: Session, since: int, now: int, limit: int) -> list[tuple[Gpu, str]]:
    """Listed GPUs that left the market in `(since, now]`, each with the id of its message.

    Those whose message was written already are left out.
    """
    own_id = (
        literal(f"{Kind.OFFLINE}_") + col(Gpu.id) + "_" + cast(col(Gpu.reachable_until), String)
    )
    query = select(Gpu, own_id).where(
        col(Gpu.listed),
        col(Gpu.reachable_until) > since,
        col(Gpu.reachable_until) <= now,
        ~exists().where(col(WebhookMessage.id) == own_id),
    )
    return list(session.exec(query.order_by(col(Gpu.reachable_until)).limit(limit)).all())
