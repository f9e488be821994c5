"""A coordinator with messages, and their receiver."""

import base64
from dataclasses import dataclass
from typing import Any

from signed import Clock
from sqlmodel import select

import webhook_receiver
from aitbc_coordinator.context import Context
from aitbc_coordinator.webhooks import repository
from aitbc_coordinator.webhooks.courier import Courier
from aitbc_coordinator.webhooks.models import WebhookMessage

SECRET = "whsec_" + base64.b64encode(bytes(range(200, 232))).decode()


@dataclass
class Scene:
    """The receiver fails as `endpoint` is told to."""

    context: Context
    clock: Clock
    endpoint: webhook_receiver.Receiver
    messenger: Courier

    def write(self, message_id: str, **columns: Any) -> None:
        """As what it tells of does."""
        body = f'{{"said":"{message_id}"}}'
        with self.context.database.session() as session:
            repository.add(session, WebhookMessage(id=message_id, body=body, **columns))

    def steps(self, number: int) -> list[bool]:
        return [self.messenger.step() for _ in range(number)]

    def row(self, message_id: str) -> WebhookMessage:
        return self.rows()[message_id]

    def rows(self) -> dict[str, WebhookMessage]:
        with self.context.database.read() as session:
            return {row.id: row for row in session.exec(select(WebhookMessage)).all()}

    def counts(self) -> repository.Counts:
        with self.context.database.read() as session:
            return repository.counts(session)
