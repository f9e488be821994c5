"""Delivers messages until they are taken: at least once each, by whoever leads."""

import secrets
from functools import partial

import structlog
from sqlmodel import Session

from aitbc_coordinator.context import Context
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.webhooks import repository
from aitbc_coordinator.webhooks.models import WebhookMessage
from aitbc_coordinator.webhooks.receiver import Receiver
from aitbc_coordinator.webhooks.secret import open_secret
from aitbc_coordinator.webhooks.silence import Silence

FIRST_PAUSE_SECONDS = 5
PAUSE_FACTOR = 4
LONGEST_PAUSE_SECONDS = 3600
PATIENCE_SECONDS = 86_400
"""From its first failure until a message is given up."""
KEPT_SECONDS = 7 * 86_400
"""How long a message is kept once it was delivered or given up."""
PRUNE_SECONDS = 3600
"""Between two looks for what is not kept any longer."""

_log = structlog.get_logger(__name__)


def open_courier(context: Context) -> "Courier | None":
    """None where no webhook is configured. Raises InvalidInput for a secret that is none."""
    settings = context.settings
    if not settings.webhook_url:
        return None
    return Courier(context, Receiver(settings.webhook_url, open_secret(settings)))


class Courier:
    """Holds one message in memory, and no transaction while its receiver is asked."""

    def __init__(self, context: Context, receiver: Receiver) -> None:
        self._database = context.database
        self._now = context.now
        self._receiver = receiver
        self._silence = Silence(context)
        self._pruned_at = 0
        self._trouble: str | None = None

    def step(self) -> bool:
        """Post one message. Returns whether it was taken: there may be more to do at once."""
        self._silence.look()
        self._prune()
        with self._database.read() as session:
            message = repository.next_due(session, self._now())
        return message is not None and self._post(message)

    def troubles(self) -> list[str]:
        """What a person may want to know: the receiver does not take messages."""
        return [] if self._trouble is None else [self._trouble]

    def _post(self, message: WebhookMessage) -> bool:
        reason = self._receiver.post(message.id, message.body.encode(), self._now())
        if reason is None:
            reach(FaultPoint.WEBHOOK_TAKEN)
            mark = partial(repository.mark_delivered, message_id=message.id, now=self._now())
            self._database.transact(mark)
            if self._trouble is not None:
                _log.info("webhooks are delivered again", receiver=self._receiver.shown)
            self._trouble = None
            return True
        if self._trouble is None:
            _log.warning("webhooks fail", receiver=self._receiver.shown, reason=reason)
        self._trouble = f"the webhook at {self._receiver.shown} fails: {reason}"
        self._database.transact(partial(self._put_off, message_id=message.id))
        return False

    def _put_off(self, session: Session, message_id: str) -> None:
        message, now = repository.find_waiting(session, message_id), self._now()
        if message is None:
            return
        message.attempts += 1
        message.first_failed_at = message.first_failed_at or now
        message.due_at = now + pause_seconds(message.attempts)
        if now - message.first_failed_at >= PATIENCE_SECONDS:
            message.due_at, message.given_up_at = None, now
            _log.error("webhook given up", message=message.id, attempts=message.attempts)
        session.flush()

    def _prune(self) -> None:
        now = self._now()
        if now - self._pruned_at >= PRUNE_SECONDS:
            self._database.transact(partial(repository.prune, before=now - KEPT_SECONDS))
            self._pruned_at = now


def pause_seconds(attempts: int) -> int:
    """After so many failures: ever longer, and up to half as much again, by chance."""
    pause = FIRST_PAUSE_SECONDS
    for _ in range(attempts - 1):
        pause = min(pause * PAUSE_FACTOR, LONGEST_PAUSE_SECONDS)
    return pause + secrets.randbelow(pause // 2 + 1)
