"""The outbox of webhooks."""

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class WebhookMessage(SQLModel, table=True):
    """A message as it is posted. Times are UTC seconds."""

    __tablename__ = "webhook_message"
    __table_args__ = (Index("ix_webhook_message_due", "due_at", "number"),)

    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    """`webhook-id`: made of what it tells of, so that nothing is told under two ids."""
    booking_id: str | None = None
    block_number: int | None = Field(default=None, sa_type=BigInteger)
    """Of the event that it tells of; none where that is not on the chain."""
    body: str
    """`messages.Message` as JSON."""
    due_at: int | None = Field(default=0, sa_type=BigInteger)
    """When to post it, or post it again; None once that is over."""
    attempts: int = 0
    """How often it was posted in vain."""
    first_failed_at: int | None = Field(default=None, sa_type=BigInteger)
    delivered_at: int | None = Field(default=None, sa_type=BigInteger)
    given_up_at: int | None = Field(default=None, sa_type=BigInteger)
