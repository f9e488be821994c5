"""The bookings that are measured: many providers, one buyer, some delivered by half."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from aitbc.protocol.messages import Terms

COIN = 10**18
AMOUNT = COIN // 1000
DURATION = 60
"""Of a booking, in seconds."""
BEATS = 2
"""Heartbeats that deliver a booking whole."""
PARTIAL_OF_TEN = 3
"""So many of ten bookings are delivered by half."""


class Booked(NamedTuple):
    """A booking, and for how many of its heartbeats it is delivered."""

    terms: Terms
    beats: int

    @property
    def earned(self) -> int:
        return self.terms.amount * self.beats // BEATS


def booked(
    buyer: str,
    providers: Sequence[str],
    count: int,
    starts_at: int,
    duration: int = DURATION,
) -> list[Booked]:
    """Bookings that begin at a time (UTC seconds) and last so many, the providers taking turns."""
    return [
        Booked(
            Terms(
                buyer=buyer,
                provider=providers[number % len(providers)],
                amount=AMOUNT,
                fund_by=starts_at,
                starts_at=starts_at,
                ends_at=starts_at + duration,
                listing="0x" + "11" * 32,
                salt=secrets.randbits(64),
            ),
            BEATS // 2 if number % 10 < PARTIAL_OF_TEN else BEATS,
        )
        for number in range(count)
    ]
