"""Reading what people type: durations, times, amounts and names. Raises InvalidInput."""

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from aitbc.cli.output import Moment
from aitbc.errors import InvalidInput
from aitbc.protocol.regions import time_zone
from aitbc.protocol.units import format_amount, parse_amount
from aitbc.protocol.wire import Market

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_LAST_SECOND = 2**32 - 1

_Given = TypeVar("_Given")
_Value = TypeVar("_Value")


def checked(option: str, read: Callable[[_Given], _Value], text: _Given) -> _Value:
    """What `read` makes of an option's text; its ValueError becomes a usage error."""
    try:
        return read(text)
    except ValueError as error:
        raise InvalidInput(f"{option}: {error}") from error


def amount(option: str, text: str, market: Market) -> int:
    """A decimal amount of the market's money, in base units."""
    return checked(option, lambda given: parse_amount(given, market.decimals), text)


def optional_amount(option: str, text: str | None, market: Market) -> int | None:
    return None if text is None else amount(option, text, market)


def duration(option: str, text: str) -> int:
    """Seconds of a text such as 90s, 30m, 2h or 1d."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{option}: '{text}' is not a duration: write 90s, 30m, 2h or 1d")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LAST_SECOND:
        raise InvalidInput(f"{option}: '{text}' is too long: write 90s, 30m, 2h or 1d")
    return seconds


def start_time(option: str, text: str | None, now: int) -> int:
    """UTC seconds of an ISO time or of +10m; 0, meaning as soon as possible, for none."""
    if text is None:
        return 0
    if text.startswith("+"):
        moment = now + duration(option, text[1:])
    else:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidInput(
                f"{option}: '{text}' is not a time: write 2030-01-31T09:00:00Z or +10m"
            ) from None
        # A time without a zone is read as UTC, as all times are shown.
        moment = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    if not now <= moment <= _LAST_SECOND:
        raise InvalidInput(f"{option}: {text} is not a time ahead: write a later one, or +10m")
    return moment


def shown_time(moment: int) -> str:
    """UTC seconds as an ISO time, for a sentence; data carries a Moment."""
    return str(Moment(moment))


def local_clock(moment: int, region: str) -> str:
    """UTC seconds on a region's own clock, such as 09:00 PDT."""
    return datetime.fromtimestamp(moment, time_zone(region)).strftime("%H:%M %Z")


def shown_amount(value: int, market: Market) -> str:
    """Base units as a decimal of the market's money, with its symbol, for a sentence."""
    return f"{format_amount(value, market.decimals)} {market.symbol}"


def random_salt() -> int:
    """A number that nobody else can guess, for listings and quote requests."""
    return secrets.randbits(64)
