"""What becomes of each booking of a run, decided by a seed before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from aitbc.protocol import metering, units

DURATION = 6
"""Seconds that every booking lasts."""
FEE_BPS = 100
PRICES = (36_000, 72_000, 90_000)
"""Per hour, in base units of the token."""
RELAYED = 4
"""Most bookings that the coordinator's relayer pays: it sends few of them at a time."""


QUARTER = 4
"""What not every GPU needs, one of so many has."""


class Kind(StrEnum):
    WHOLE = "whole"
    """Delivered to its last second."""
    PART = "part"
    """Its machine goes silent."""
    NONE = "none"
    """Its machine is never heard."""
    CANCELLED = "cancelled"
    """Its buyer cancels before it starts."""
    DISPUTED = "disputed"
    """Its buyer disputes after some seconds."""
    REFUSED = "refused"
    """Funded on terms that the coordinator never offered."""


_KINDS = (
    *((Kind.WHOLE,) * 9),
    *((Kind.PART,) * 6),
    *((Kind.NONE,) * 2),
    *(Kind.CANCELLED, Kind.DISPUTED, Kind.REFUSED),
)


@dataclass(frozen=True)
class Planned:
    """One GPU and its one booking; everything about it that does not depend on the clock."""

    number: int
    kind: Kind
    price: int
    beats: tuple[tuple[int, int], ...]
    """What its heartbeats cover, in seconds from its start."""
    relayed: bool
    seen: bool
    """Its machine says that it is up, before it is booked."""
    updated: bool
    """Its listing is changed before it is booked."""
    unlisted: bool
    """It leaves the market when its booking is over."""

    @property
    def amount(self) -> int:
        return units.price_of(self.price, DURATION)

    @property
    def used(self) -> int:
        return metering.used_seconds(self.beats, 0, DURATION)

    @property
    def earned(self) -> int:
        return metering.earned(self.amount, self.used, DURATION)

    @property
    def fee(self) -> int:
        """As one payment of all that was earned; see the fee in the escrow's README."""
        return self._fee_of(self.amount) - self._fee_of(self.amount - self.earned)

    @staticmethod
    def _fee_of(amount: int) -> int:
        return amount * FEE_BPS // 10_000


def make_plan(seed: int, bookings: int) -> list[Planned]:
    """The same plan for the same seed; every kind is in it."""
    random = Random(seed)  # noqa: S311  # a plan, not a secret
    kinds = [*Kind, *random.choices(_KINDS, k=bookings - len(Kind))]
    random.shuffle(kinds)
    whole = [number for number, kind in enumerate(kinds) if kind is Kind.WHOLE]
    relayed = set(whole[:RELAYED])
    return [
        Planned(
            number=number,
            kind=kind,
            price=random.choice(PRICES),
            beats=_beats(kind, silent_from=random.randint(1, DURATION - 2)),
            relayed=number in relayed,
            seen=number % QUARTER == 0,
            updated=number % QUARTER == 1,
            unlisted=number % QUARTER == 2,  # noqa: PLR2004  # the third quarter
        )
        for number, kind in enumerate(kinds)
    ]


def _beats(kind: Kind, silent_from: int) -> tuple[tuple[int, int], ...]:
    heard = {
        Kind.WHOLE: ((0, 3), (3, DURATION)),
        Kind.PART: tuple((second, second + 1) for second in range(0, silent_from, 2)),
        Kind.DISPUTED: ((0, 2),),
    }
    return heard.get(kind, ())
