"""The market's state as prices see it: how booked a region is, and how idle a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlmodel import Session

from aitbc.protocol.messages import Listing
from aitbc.protocol.pricing import MarketHour, PricingInputs
from aitbc.protocol.units import BPS
from aitbc_coordinator.market import repository
from aitbc_coordinator.market.models import Gpu


@dataclass(frozen=True, slots=True)
class MarketState:
    """What the prices of some GPUs depend on, for bookings that start at `starts_at`."""

    now: int
    starts_at: int
    ends_at: int
    counts: dict[str, tuple[int, int]]
    """By region: listed GPUs, and those of them that are booked at `starts_at`."""
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
            counts=repository.listed_and_booked(session, starts_at),
            busy_until=repository.busy_until(session, [gpu.id for gpu in gpus], now),
        )

    def inputs(self, gpu: Gpu, listing: Listing) -> PricingInputs:
        """All that the price of a GPU depends on."""
        return PricingInputs(
            strategy=listing.strategy,
            region=listing.region,
            base_price=listing.base_price,
            floor_price=listing.floor_price,
            ceiling_price=listing.ceiling_price,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            hour=self.hour(listing.region),
            idle_seconds=self.idle_seconds(gpu),
        )

    def hour(self, region: str) -> MarketHour:
        listed, booked = self.counts.get(region, (0, 0))
        starts_at = self.now // 3600 * 3600
        return MarketHour(starts_at=starts_at, listed=listed, booked=booked, level_before_bps=BPS)

    def idle_seconds(self, gpu: Gpu) -> int:
        busy_until = min(self.now, self.busy_until.get(gpu.id, 0))
        return max(0, self.now - max(gpu.idle_since, busy_until))
