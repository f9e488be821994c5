"""What a search asks for, and the place in its results where the next page begins."""

import re
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from aitbc.protocol.types import Address, Amount
from aitbc_coordinator import paging

_POSITION = re.compile(r"([0-9]{1,27}):(g-[0-9a-z]{1,14})")


class Position(NamedTuple):
    """Sort key of a GPU: results are ordered by base price, then id."""

    base_price: int
    gpu_id: str

    def cursor(self) -> str:
        """This place as an opaque string."""
        return paging.encode(self.base_price, self.gpu_id)

    @classmethod
    def of(cls, cursor: str) -> Self:
        """The place that `cursor` stands for. Raises Invalid when it stands for none."""
        base_price, gpu_id = paging.decode(cursor, _POSITION)
        return cls(int(base_price), gpu_id)


Printable = Annotated[str, Field(min_length=1, max_length=96, pattern=r"^[^\x00-\x1f]*$")]


class Filters(BaseModel):
    """Each filter that is given narrows the search."""

    model_config = ConfigDict(extra="forbid")

    region: Printable | None = None
    min_memory: int | None = Field(None, ge=1, le=4096, description="GiB")
    cuda: str | None = Field(
        None, pattern=r"^[1-9][0-9]?(\.[0-9]{1,2})?$", description="Lowest version, as `12.1`"
    )
    model: Printable | None = Field(None, description="Part of the model's name, in any case")
    max_price: Amount | None = Field(None, description="Highest price now, base units per hour")
    provider: Address | None = Field(None, description="Its GPUs, also those not listed")
    name: Printable | None = Field(None, description="The provider's whole name for it")

    @property
    def cuda_version(self) -> tuple[int, int] | None:
        """Lowest CUDA version, as major and minor."""
        if self.cuda is None:
            return None
        major, _, minor = self.cuda.partition(".")
        return int(major), int(minor or "0")


class SearchQuery(Filters):
    """The query string of a search."""

    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=128, description="`next_cursor` of a page")
