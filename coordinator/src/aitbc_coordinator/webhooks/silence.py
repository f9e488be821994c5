"""Finds listed GPUs whose machines fell silent, which no request and no event says."""

from functools import partial

from sqlmodel import Session

from aitbc_coordinator.context import Context
from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.webhooks import news, repository

LOOK_SECONDS = 10
"""Between two looks, each of which reads through the listed GPUs."""
REMEMBERED_SECONDS = 86_400
"""What left the market longer ago is no news; its message is kept for longer."""
MOST_AT_ONCE = 100


class Silence:
    """One leader's look-out. While nobody served, no machine could be heard: it waits for them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._began_at = context.now()
        self._looked_at = 0

    def look(self) -> None:
        """Tell of the GPUs that left the market, unless it was looked a moment ago."""
        now, settings = self._context.now(), self._context.settings
        is_deaf = now - self._began_at < settings.unreachable_seconds
        if is_deaf or now - self._looked_at < LOOK_SECONDS:
            return
        with self._context.database.read() as session:
            is_news = bool(self._fallen(session, now, limit=1))
        told = self._context.database.transact(partial(self._tell, now=now)) if is_news else 0
        if told < MOST_AT_ONCE:
            self._looked_at = now

    def _tell(self, session: Session, now: int) -> int:
        fallen = self._fallen(session, now, limit=MOST_AT_ONCE)
        for gpu, message_id in fallen:
            news.offline(self._context.settings, session, gpu, message_id)
        return len(fallen)

    def _fallen(self, session: Session, now: int, limit: int) -> list[tuple[Gpu, str]]:
        return repository.fallen_silent(session, now - REMEMBERED_SECONDS, now, limit)
