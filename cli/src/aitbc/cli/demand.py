"""Demand as a file: a CSV with a row for each buyer that wanted a GPU.

    start,duration,max_price
    2026-01-05T09:30:00,2h,0.08

`start` is an ISO time, on the region's clock where it names no zone. `duration` is as in 90s, 30m,
2h or 1d. The most that the buyer pays is `max_price`, per hour in the market's money, or
`max_percent`, whole percent of the base price.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from aitbc.cli import arguments
from aitbc.errors import InvalidInput
from aitbc.protocol.pricing.backtest import Demand
from aitbc.protocol.pricing.simulation import Offer
from aitbc.protocol.regions import time_zone
from aitbc.protocol.units import MAX_AMOUNT, parse_amount
from aitbc.protocol.wire import Market

SHIPPED = "openb-gpu-2023.csv"
MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_DAYS = 1_100
"""From the first start to the last."""
_LAST_SECOND = 2**32 - 1
_DAY_SECONDS = 86_400
_SHOWN_CHARS = 60
_PRICE, _PERCENT = "max_price", "max_percent"
_EXPECTED = f"start,duration,{_PRICE} (or {_PERCENT})"


def read_demand(path: Path | None, offer: Offer, market: Market) -> list[Demand]:
    """The rows of a file, or of the one that ships with the program.

    Raises InvalidInput, naming the line, for a file that is no such CSV.
    """
    name = str(path or SHIPPED)
    try:
        found = list(_rows(_text(path), offer, market))
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}", hint=error.hint) from error
    if not found:
        raise InvalidInput(f"{name}: it has no row", hint=f"write rows of {_EXPECTED}")
    starts = [one.starts_at for one in found]
    days = (max(starts) - min(starts)) // _DAY_SECONDS
    if days > MAX_DAYS:
        raise InvalidInput(
            f"{name}: it spans {days} days: at most {MAX_DAYS} are replayed",
            hint="leave out the rows that lie far from the others",
        )
    return found


def _text(path: Path | None) -> str:
    if path is None:
        return (resources.files("aitbc.data") / "demand" / SHIPPED).read_text(encoding="utf-8")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"it cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidInput("it is larger than 16 MiB", hint="cut it into shorter spans of time")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("it is no text in UTF-8", hint="save it as CSV in UTF-8") from error


def _rows(text: str, offer: Offer, market: Market) -> Iterator[Demand]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = set(reader.fieldnames or ())
        if not {"start", "duration"} < columns or len(columns & {_PRICE, _PERCENT}) != 1:
            raise InvalidInput("line 1: the columns are missing", hint=f"begin with {_EXPECTED}")
        for row in reader:
            try:
                yield _demand(row, offer, market)
            except InvalidInput as error:
                raise InvalidInput(f"line {reader.line_num}: {error}", hint=error.hint) from error
    except csv.Error as error:
        raise InvalidInput(
            f"line {reader.line_num}: it is no CSV: {error}", hint=f"write rows of {_EXPECTED}"
        ) from error


def _demand(row: dict[str | Any, str | Any], offer: Offer, market: Market) -> Demand:
    if None in row:
        raise InvalidInput(
            "it has more cells than line 1 has columns", hint="write decimals with a point: 0.08"
        )

    def most_of_price(text: str) -> int:
        return parse_amount(text, market.decimals)

    def most_of_percent(text: str) -> int:
        return offer.base_price * _percent(text) // 100

    read_most, column = (most_of_price, _PRICE) if _PRICE in row else (most_of_percent, _PERCENT)
    return Demand(
        starts_at=_value(row, "start", lambda text: _moment(text, offer.region)),
        seconds=arguments.duration("duration", _shown(row, "duration")),
        most=_value(row, column, read_most),
    )


def _value(row: Mapping[str, str | None], column: str, read: Callable[[str], int]) -> int:
    return arguments.checked(column, read, _shown(row, column))


def _shown(row: Mapping[str, str | None], column: str) -> str:
    """A cell's text, cut where it is so long that no message could show it."""
    text = (row.get(column) or "").strip()
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _moment(text: str, region: str) -> int:
    try:
        read = datetime.fromisoformat(text)
        moment = int((read if read.tzinfo else read.replace(tzinfo=time_zone(region))).timestamp())
    except ValueError:
        moment = -1
    if not 0 <= moment <= _LAST_SECOND:
        raise ValueError(f"'{text}' is not a time: write 2026-01-05T09:30:00, or with a Z for UTC")
    return moment


def _percent(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_AMOUNT:
        raise ValueError(f"'{text}' is not a percentage: write a whole number such as 125")
    return int(text)
