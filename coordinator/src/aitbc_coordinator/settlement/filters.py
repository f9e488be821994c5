"""What a list of bookings asks for, and the place in it where the next page begins."""

import re
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from aitbc.protocol.ids import GPU_ID_PATTERN
from aitbc.protocol.states import BookingStatus
from aitbc.protocol.types import Address
from aitbc_coordinator import paging

_PLACE = re.compile(r"([0-9]{1,10}):(0x[0-9a-f]{64})")


class BookingQuery(BaseModel):
    """The query string of a list. Each filter that is given narrows it."""

    model_config = ConfigDict(extra="forbid")

    buyer: Address | None = None
    provider: Address | None = None
    gpu: Annotated[str | None, Field(pattern=GPU_ID_PATTERN)] = None
    status: BookingStatus | None = None
    open: bool | None = Field(None, description="Whether money is still in the escrow")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=128, description="`next_cursor` of a page")


class Place(NamedTuple):
    """Sort key of a booking: lists go from the newest to the oldest."""

    funded_at: int
    booking_id: str

    def cursor(self) -> str:
        """This place as an opaque string."""
        return paging.encode(self.funded_at, self.booking_id)

    @classmethod
    def of(cls, cursor: str) -> Self:
        """The place that `cursor` stands for. Raises Invalid when it stands for none."""
        funded_at, booking_id = paging.decode(cursor, _PLACE)
        return cls(int(funded_at), booking_id)
