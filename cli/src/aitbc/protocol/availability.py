"""When a GPU may be booked: weekly windows on its region's own clock, and a maintenance. Pure.

Windows are written `mon-fri 18:00-08:00` (on each of these days from 18:00, until 08:00 of the
next) or `fri 18:00-mon 08:00` (one stretch). A listing has them in one form only, stretches in the
order of the week that neither touch nor overlap, with commas between; empty is always. A second is
inside where the clock shows a minute that is inside: an hour that the clock skips is nowhere, one
that it repeats is there twice.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import pairwise, product
from typing import NamedTuple, Protocol

from aitbc.protocol.regions import time_zone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60
WEEK_MINUTES = 7 * MINUTES_PER_DAY
WEEK_SECONDS = WEEK_MINUTES * 60
MAX_WINDOWS = 28
"""How many stretches a listing has at most."""
LOOK_AHEAD_SECONDS = 5 * WEEK_SECONDS
"""How far a next time is looked for: beyond the longest that a booking may last."""
MAINTENANCE_DAYS = 366
"""How many days after a listing is signed its maintenance is over at the latest."""

_MONDAY = 4 * 86_400
"""A second of the epoch at which a week began."""
_DAY = "|".join(DAYS)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_EACH = re.compile(rf"({_DAY})(?:-({_DAY}))? ({_TIME})-({_TIME}|24:00)")
_STRETCH = re.compile(rf"({_DAY}) ({_TIME})-({_DAY}) ({_TIME}|24:00)")
_CLOCK_CHANGE = 60
"""Minutes by which a region's clock is put forward or back at most."""
_ONE = rf"(?:{_DAY}) {_TIME}-(?:{_DAY}) {_TIME}"
PATTERN = rf"^(?:{_ONE}(?:,{_ONE}){{0,{MAX_WINDOWS - 1}}})?$"
"""The shape of what a listing says."""
EXAMPLE = "mon-fri 18:00-08:00"


class Window(NamedTuple):
    """A stretch of the week in minutes from Monday's midnight; `end` may lie in the next week."""

    start: int
    end: int


class Hours(NamedTuple):
    """When a GPU may be booked: in `windows` on a zone's clock, but for `maintenance` (UTC)."""

    windows: tuple[Window, ...]
    zone: tzinfo
    maintenance: tuple[int, int] = (0, 0)

    def covers(self, starts_at: int, ends_at: int) -> bool:
        """Whether all of `[starts_at, ends_at)` may be booked."""
        return self._open_until(starts_at, ends_at) >= ends_at

    def may_last(self, seconds: int) -> bool:
        """Whether there can ever be so many seconds in a row which may be booked."""
        return not self.windows or seconds <= _longest(self.windows) * 60

    def next_start(self, start: int, seconds: int) -> int | None:
        """The first second from `start` on that begins so many seconds which may be booked.

        None where there is none within LOOK_AHEAD_SECONDS of it.
        """
        if not self.may_last(seconds):
            return None
        limit, reached = start + LOOK_AHEAD_SECONDS, start
        while reached <= limit:
            until = self._open_until(reached, reached + seconds)
            if until >= reached + seconds:
                return reached
            reached = self._open_from(until, limit + 1)
        return None

    def _open_until(self, moment: int, limit: int) -> int:
        """The first second from `moment` on that may not be booked; at most `limit`."""
        begins, ends = self.maintenance
        if begins <= moment < ends:
            return moment
        limit = min(limit, begins) if moment < begins < ends else limit
        return next(self._changes(moment, limit, wanted=False), limit)

    def _open_from(self, moment: int, limit: int) -> int:
        """The first second from `moment` on that may be booked; at most `limit`."""
        begins, ends = self.maintenance
        while moment < limit:
            moment = next(self._changes(moment, limit, wanted=True), limit)
            if not begins <= moment < ends:
                break
            moment = ends
        return min(moment, limit)

    def _changes(self, moment: int, limit: int, *, wanted: bool) -> Iterator[int]:
        """The first seconds from `moment` of stretches that lie inside the windows, or outside."""
        if not self.windows and wanted:
            yield moment
        while self.windows and moment < limit:
            inside, lasts = self._clock_at(moment)
            if inside is wanted:
                yield moment
            moment = self._same_clock(moment, min(moment + lasts, limit))

    def _clock_at(self, moment: int) -> tuple[bool, int]:
        """Whether a second is inside, and for how many seconds of an undisturbed clock it is so."""
        at = (moment + self._offset(moment) - _MONDAY) % WEEK_SECONDS
        number = bisect_right(self.windows, at // 60, key=_start)
        # Of those that have begun the last: before a week's first, the last of the week before.
        lasts = self.windows[number - 1].end * 60 - at - (0 if number else WEEK_SECONDS)
        if lasts > 0:
            return True, lasts
        following = self.windows[number % len(self.windows)]
        return False, (following.start * 60 - at) % WEEK_SECONDS

    def _same_clock(self, moment: int, until: int) -> int:
        """`until`, or the second before it at which the clock is put forward or back."""
        offset = self._offset(moment)
        if self._offset(until) == offset:
            return until
        before, after = moment, until
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if self._offset(middle) == offset else (before, middle)
        return after

    def _offset(self, moment: int) -> int:
        """Seconds by which the clock is ahead of UTC."""
        ahead = datetime.fromtimestamp(moment, self.zone).utcoffset()
        return 0 if ahead is None else int(ahead.total_seconds())


class Offered(Protocol):
    """What of a listing says when its GPU may be booked."""

    @property
    def region(self) -> str: ...
    @property
    def available(self) -> str: ...
    @property
    def maintenance_from(self) -> int: ...
    @property
    def maintenance_until(self) -> int: ...


def hours_of(offered: Offered) -> Hours:
    """When a GPU may be booked. Raises ValueError for windows in an unknown region."""
    zone = time_zone(offered.region) if offered.available else UTC
    maintenance = (offered.maintenance_from, offered.maintenance_until)
    return Hours(parse(offered.available), zone, maintenance)


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Window, ...]:
    """The windows of a listing. Raises ValueError, with a message for people."""
    windows = _merged(_written(part) for part in text.split(",")) if text else ()
    if len(windows) > MAX_WINDOWS:
        raise ValueError(f"{len(windows)} windows are more than {MAX_WINDOWS}")
    return windows


@lru_cache(maxsize=1024)
def _longest(windows: tuple[Window, ...]) -> int:
    """Minutes that no stretch outlasts, even where the clock is put back in it.

    Where it is put forward, what lies on both sides of the minutes that it skips is one stretch.
    """
    later = (Window(start + WEEK_MINUTES, end + WEEK_MINUTES) for start, end in windows)
    pairs = product(windows, (*windows, *later))
    joined = [b.end - a.start for a, b in pairs if a.start <= b.start <= a.end + _CLOCK_CHANGE]
    return max(joined) + _CLOCK_CHANGE


def _start(window: Window) -> int:
    return window.start


def show(windows: Iterable[Window]) -> str:
    """Windows in the form that a listing has."""
    return ",".join(f"{_moment(start)}-{_moment(end)}" for start, end in windows)


def canonical(texts: Iterable[str]) -> str:
    """What people write as what a listing has. Raises ValueError, with a message for people."""
    return show(parse(",".join(texts)))


def _written(text: str) -> Iterator[Window]:
    text = " ".join(text.lower().split())
    if each := _EACH.fullmatch(text):
        first, last, begins, ends = each.groups()
        start, end = _minute(begins), _minute(ends)
        lasts = end - start if end > start else end - start + MINUTES_PER_DAY
        day, stop = DAYS.index(first), DAYS.index(last or first)
        for number in range((stop - day) % len(DAYS) + 1):
            begin = (day + number) % len(DAYS) * MINUTES_PER_DAY + start
            yield Window(begin, begin + lasts)
    elif one := _STRETCH.fullmatch(text):
        first, begins, last, ends = one.groups()
        start = DAYS.index(first) * MINUTES_PER_DAY + _minute(begins)
        end = DAYS.index(last) * MINUTES_PER_DAY + _minute(ends)
        yield Window(start, end if end > start else end + WEEK_MINUTES)
    else:
        raise ValueError(
            f"'{text}' is no window: write such as '{EXAMPLE}' or 'fri 18:00-mon 08:00'"
        )


def _merged(windows: Iterable[Iterator[Window]]) -> tuple[Window, ...]:
    """The same minutes as stretches that neither touch nor overlap; () where all of them are."""
    minutes = bytearray(WEEK_MINUTES)
    for start, end in (window for written in windows for window in written):
        for minute in range(start, end):
            minutes[minute % WEEK_MINUTES] = 1
    edges = [m for m in range(WEEK_MINUTES) if minutes[m] != minutes[m - 1]]
    if edges and not minutes[edges[0]]:
        edges = [*edges[1:], edges[0] + WEEK_MINUTES]
    return tuple(Window(start, end) for start, end in list(pairwise(edges))[::2])


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _moment(minute: int) -> str:
    day, rest = divmod(minute % WEEK_MINUTES, MINUTES_PER_DAY)
    return f"{DAYS[day]} {rest // 60:02d}:{rest % 60:02d}"
