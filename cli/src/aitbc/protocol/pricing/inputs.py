"""What a price depends on, and the digest by which a signed quote commits to it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aitbc.protocol.digests import canonical_digest
from aitbc.protocol.pricing.level import (
    LEVEL_MAX_BPS,
    LEVEL_MIN_BPS,
    next_level,
    utilisation,
)
from aitbc.protocol.types import Amount, Timestamp, Uint32
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR

PRICING_VERSION: Literal[3] = 3

LevelBps = Annotated[int, Field(ge=LEVEL_MIN_BPS, le=LEVEL_MAX_BPS, strict=True)]


class MarketHour(BaseModel):
    """A region at the start of an hour, as the coordinator publishes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts_at: Annotated[Timestamp, Field(multiple_of=SECONDS_PER_HOUR)]
    listed: Uint32
    booked: Uint32 = Field(description="Those of the listed that a funded booking had taken")
    level_before_bps: LevelBps = Field(description="The region's price level until then")

    @model_validator(mode="after")
    def _booked_is_listed(self) -> Self:
        if self.booked > self.listed:
            raise ValueError("more GPUs are booked than listed")
        return self

    @property
    def utilisation_bps(self) -> int:
        return utilisation(self.listed, self.booked)

    @property
    def level_bps(self) -> int:
        """The region's price level from this hour on."""
        return next_level(self.level_before_bps, self.listed, self.booked)


NO_HOUR = MarketHour(starts_at=0, listed=0, booked=0, level_before_bps=BPS)
"""A region of which no hour has been recorded: nothing booked, and the level of base prices."""


class PricingInputs(BaseModel):
    """All that a price depends on. Prices are base units per hour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = PRICING_VERSION
    strategy: str
    region: str
    base_price: Annotated[Amount, Field(gt=0)]
    floor_price: Annotated[Amount, Field(gt=0)]
    ceiling_price: Amount
    starts_at: Timestamp
    ends_at: Timestamp
    hour: MarketHour = Field(description="The region's newest hour when the price was made")
    idle_seconds: Uint32 = Field(description="How long this GPU had stood without a booking")

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if not self.floor_price <= self.base_price <= self.ceiling_price:
            raise ValueError("prices are out of order: floor ≤ base ≤ ceiling")
        if self.starts_at >= self.ends_at:
            raise ValueError("the booking ends before it starts")
        return self

    @property
    def seconds(self) -> int:
        """How long the booking lasts."""
        return self.ends_at - self.starts_at

    def digest(self) -> str:
        """keccak-256 of the inputs as canonical JSON, as 0x-hex: what a signed quote commits to."""
        return canonical_digest(self)
