"""What a search asks for, and the place in its results where the next page begins."""

import re
from functools import lru_cache
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from aitbc.protocol.types import Address
from aitbc.protocol.where import (
    FIELD_NAMES,
    MAX_CHARS,
    OPERATOR_NAMES,
    Where,
    WhereError,
    parse,
)
from aitbc_coordinator import paging
from aitbc_coordinator.errors import Invalid

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


class SearchQuery(BaseModel):
    """The query string of a search."""

    model_config = ConfigDict(extra="forbid")

    where: Annotated[str, Field(json_schema_extra={"maxLength": MAX_CHARS})] | None = Field(
        None, description='A filter expression, such as `memory>=24 model~"A100" price<0.8`'
    )
    provider: Address | None = Field(None, description="Its GPUs, also those not listed")
    limit: int = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=128, description="`next_cursor` of a page")


@lru_cache(maxsize=256)
def _parse(text: str, decimals: int) -> Where:
    return parse(text, decimals)


def read_where(text: str | None, decimals: int) -> Where:
    """The conditions of a search, whose prices are decimals. Raises Invalid for no expression."""
    if text is None:
        return ()
    try:
        return _parse(text, decimals)
    except WhereError as error:
        raise Invalid(
            "invalid-where",
            f"where: position {error.position}: {error.problem}",
            hint=f"fields: {FIELD_NAMES}; operators: {OPERATOR_NAMES}",
        ) from error
