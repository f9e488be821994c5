"""What the coordinator told its operator by webhooks: all that happened, whoever was killed."""

from __future__ import annotations

from collections.abc import Iterator

from aitbc_coordinator.webhooks import repository
from aitbc_coordinator.webhooks.messages import BookingData, Kind, Message
from faults.evidence import Evidence, some
from http_stub import Answer

TAKEN = Answer(204)


class Told:
    """A receiver that takes every message."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def take(self, _method: str, _path: str, body: bytes) -> Answer:
        message = Message.model_validate_json(body)
        if isinstance(message.data, BookingData):
            earned = message.data.paid + message.data.fee
            self._told.add(_named(message.type, message.data.booking_id, earned))
        return TAKEN

    def judge(self, evidence: Evidence) -> list[str]:
        """What is wrong, a line each."""
        missing = set(_planned(evidence)) - self._told
        return [f"webhooks: never told of {some(sorted(missing))}"] if missing else []


def is_delivered(evidence: Evidence) -> bool:
    with evidence.database.read() as session:
        return repository.counts(session).waiting == 0


def _planned(evidence: Evidence) -> Iterator[str]:
    for booking_id, lived in evidence.by_id.items():
        yield _named(Kind.BOOKED, booking_id)
        if lived.planned.used:
            yield _named(Kind.STARTED, booking_id)
        if lived.planned.earned:
            yield _named(Kind.PAID, booking_id, lived.planned.earned)


def _named(kind: Kind, booking_id: str, earned: int = 0) -> str:
    """`earned` is what was paid in all, with the fee."""
    return f"{kind} {earned} for {booking_id}" if kind is Kind.PAID else f"{kind} {booking_id}"
