"""The market's state as prices see it: a region's newest hour, and how idle a GPU stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlmodel import Session

from aitbc.protocol.pricing import MarketHour, PricingInputs
from aitbc_coordinator.market import hours, repository
from aitbc_coordinator.market.models import Gpu


@dataclass(frozen=True, slots=True)
class MarketState:
    """What the prices of some GPUs depend on, for bookings in `[starts_at, ends_at)`."""

    now: int
    starts_at: int
    ends_at: int
    hours: dict[str, MarketHour]
    """By region: its newest hour."""
    busy_until: dict[str, int]
    """By GPU: end of the latest funded booking that has begun."""

    @classmethod
    def read(
        cls, session: Session, gpus: Sequence[Gpu], *, now: int, starts_at: int, ends_at: int
    ) -> Self:
        return cls(
            now=now,
            starts_at=starts_at,
            ends_at=ends_at,
            hours=hours.newest(session, {gpu.region for gpu in gpus}),
            busy_until=repository.busy_until(session, [gpu.id for gpu in gpus], now),
        )

    def inputs(self, gpu: Gpu) -> PricingInputs:
        """All that the price of a GPU depends on."""
        return PricingInputs(
            strategy=gpu.strategy,
            region=gpu.region,
            base_price=gpu.base_price,
            floor_price=gpu.floor_price,
            ceiling_price=gpu.ceiling_price,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            hour=self.hours[gpu.region],
            idle_seconds=self.idle_seconds(gpu),
        )

    def idle_seconds(self, gpu: Gpu) -> int:
        busy_until = min(self.now, self.busy_until.get(gpu.id, 0))
        return max(0, self.now - max(gpu.idle_since, busy_until))
