"""When a GPU may be booked, held against a clock that is asked minute by minute."""

from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aitbc.protocol import availability
from aitbc.protocol.availability import (
    DAYS,
    LOOK_AHEAD_SECONDS,
    MAX_WINDOWS,
    WEEK_MINUTES,
    WEEK_SECONDS,
    Hours,
    Window,
    canonical,
    hours_of,
    parse,
    show,
)
from aitbc.protocol.regions import REGIONS, time_zone

MINUTE = 60
HOUR = 3_600
DAY = 86_400

_days = st.sampled_from(DAYS)
_times = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
_ends = _times | st.just("24:00")
written = st.one_of(
    st.builds("{}-{} {}-{}".format, _days, _days, _times, _ends),
    st.builds("{} {}-{}".format, _days, _times, _ends),
    st.builds("{} {}-{} {}".format, _days, _times, _days, _ends),
)
listed = st.lists(written, min_size=1, max_size=4).map(canonical)
SPRING = {"us-west": "2027-03-14", "eu-central": "2027-03-28", "au-southeast": "2027-10-03"}
AUTUMN = {"us-west": "2027-11-07", "eu-central": "2027-10-31", "au-southeast": "2027-04-04"}
around = st.one_of(
    st.sampled_from([*SPRING.items(), *AUTUMN.items()]),
    st.tuples(st.sampled_from(sorted(REGIONS)), st.just("2027-06-01")),
)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def offered(
    available: str, region: str = "global", maintenance: tuple[int, int] = (0, 0)
) -> SimpleNamespace:
    begins, ends = maintenance
    return SimpleNamespace(
        region=region, available=available, maintenance_from=begins, maintenance_until=ends
    )


def minutes_of(windows: tuple[Window, ...]) -> set[int]:
    """The minutes of the week in some windows; all of them in none."""
    found = {m % WEEK_MINUTES for start, end in windows for m in range(start, end)}
    return found or set(range(WEEK_MINUTES))


def is_open(hours: Hours, minutes: set[int], moment: int) -> bool:
    """What the clock on the wall says of one second."""
    local = datetime.fromtimestamp(moment, hours.zone)
    begins, ends = hours.maintenance
    of_week = (local.weekday() * 24 + local.hour) * 60 + local.minute
    return of_week in minutes and not begins <= moment < ends


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["mon-fri 18:00-08:00"], "mon 18:00-tue 08:00,tue 18:00-wed 08:00,wed 18:00-thu 08:00,"
                                  "thu 18:00-fri 08:00,fri 18:00-sat 08:00"),
        (["sat-sun 00:00-24:00"], "sat 00:00-mon 00:00"),
        (["fri 18:00-mon 08:00"], "fri 18:00-mon 08:00"),
        (["sun-mon 22:00-02:00"], "mon 22:00-tue 02:00,sun 22:00-mon 02:00"),
        ([" Mon  09:00-12:00 ", "mon 11:00-13:00"], "mon 09:00-mon 13:00"),
        (["mon 09:00-12:00", "mon 12:00-13:00"], "mon 09:00-mon 13:00"),
        (["mon-sun 00:00-24:00"], ""),
        (["mon 00:00-mon 00:00"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_what_people_write_is_kept_in_one_form(typed: list[str], kept: str) -> None:
    assert canonical(typed) == kept
    assert canonical([kept] if kept else []) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("always", "mon", "mon 9:00-12:00", "mon 09:00", "mon 25:00-26:00", "mon 24:00-12:00"),
        *("xyz 09:00-12:00", "mon 09:00-12:60", "mon 09:00-12:00;", "tue-mon-sun 09:00-12:00"),
    ],
)
def test_what_is_no_window_is_named_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match="is no window: write such as 'mon-fri 18:00-08:00'"):
        canonical([text])


def test_the_number_of_windows_is_bounded() -> None:
    def windows(count: int) -> list[str]:
        return [f"{DAYS[n % 7]} {n // 7:02d}:00-{n // 7:02d}:30" for n in range(count)]

    assert len(parse(canonical(windows(MAX_WINDOWS)))) == MAX_WINDOWS
    with pytest.raises(ValueError, match="windows are more than"):
        canonical(windows(MAX_WINDOWS + 1))


@given(texts=st.lists(written, max_size=4))
def test_the_form_is_one_and_says_the_same(texts: list[str]) -> None:
    kept = canonical(texts)
    windows = parse(kept)
    assert show(windows) == kept
    assert canonical(kept.split(",") if kept else []) == kept
    spelled = set[int]()
    for text in texts:
        spelled |= minutes_of(parse(text))
    assert minutes_of(windows) == (spelled or set(range(WEEK_MINUTES)))
    assert all(a.end < b.start for a, b in pairwise(windows))
    assert availability.canonical(reversed(texts)) == kept


@given(
    available=listed,
    place=around,
    offset=st.integers(-2 * DAY, 2 * DAY),
    length=st.integers(1, 3 * DAY),
    pause=st.none() | st.tuples(st.integers(-DAY, 3 * DAY), st.integers(1, DAY)),
)
@example("sun 02:00-sun 03:00", ("us-west", "2027-03-14"), 10 * HOUR - 60, HOUR, None)
@example("sun 01:00-sun 02:00", ("us-west", "2027-11-07"), 8 * HOUR, 2 * HOUR, None)
@example("sun 01:00-sun 02:00", ("us-west", "2027-11-07"), 8 * HOUR, 2 * HOUR + 60, None)
def test_the_wall_clock_decides(
    available: str, place: tuple[str, str], offset: int, length: int, pause: tuple[int, int] | None
) -> None:
    region, day = place
    start = (utc(day) + offset) // MINUTE * MINUTE
    length = -(-length // MINUTE) * MINUTE
    pauses = (0, 0)
    if pause is not None:
        begins = start + pause[0] // MINUTE * MINUTE
        pauses = (begins, begins + -(-pause[1] // MINUTE) * MINUTE)
    hours = hours_of(offered(available, region, pauses))
    minutes = minutes_of(parse(available))
    states = [is_open(hours, minutes, at) for at in range(start, start + length, MINUTE)]
    assert hours.covers(start, start + length) == all(states)

    wanted = min(length, 2 * HOUR)
    expected, run = None, 0
    for at in range(start, start + 8 * DAY, MINUTE):
        run = run + 1 if is_open(hours, minutes, at) else 0
        if run * MINUTE == wanted:
            expected = at + MINUTE - wanted
            break
    found = hours.next_start(start, wanted)
    if expected is not None:
        assert found == expected
    else:
        assert found is None or found >= start + 8 * DAY - wanted


def test_seconds_at_the_edges_count() -> None:
    hours = hours_of(offered("mon 09:00-mon 12:00"))
    nine = utc("2027-06-07T09:00")
    noon = nine + 3 * HOUR
    assert hours.covers(nine, noon)
    assert not hours.covers(nine - 1, noon)
    assert not hours.covers(nine, noon + 1)
    assert hours.next_start(nine + 1, 3 * HOUR) == nine + 7 * DAY
    assert hours.next_start(nine + 1, 3 * HOUR - 1) == nine + 1
    assert hours.next_start(nine - 1, 1) == nine


def test_maintenance_is_left_out() -> None:
    now = utc("2027-06-07T09:00")
    hours = hours_of(offered("", maintenance=(now + 100, now + 200)))
    assert hours.covers(now, now + 100)
    assert not hours.covers(now, now + 101)
    assert not hours.covers(now + 199, now + 200)
    assert hours.covers(now + 200, now + 30 * DAY)
    assert hours.next_start(now, 100) == now
    assert hours.next_start(now, 101) == now + 200


def test_what_is_longer_than_every_window_is_never_offered() -> None:
    hours = hours_of(offered("mon 09:00-mon 12:00"))
    now = utc("2027-06-01")
    assert hours.next_start(now, 3 * HOUR + 1) is None
    assert hours.next_start(now, 3 * HOUR) == utc("2027-06-07T09:00")
    assert not hours.may_last(5 * HOUR)


@pytest.mark.parametrize(
    ("available", "day", "hours_long"),
    [
        # The clock skips what lies between the windows, or shows an hour of one window twice.
        ("sat 22:00-sun 02:00,sun 03:00-sun 07:00", SPRING["us-west"], 8),
        ("mon 00:00-mon 01:00,sat 22:00-sun 02:00,sun 03:00-sun 23:30", SPRING["us-west"], 24),
        ("sat 22:00-sun 07:00", AUTUMN["us-west"], 10),
    ],
)
def test_a_change_of_the_clock_makes_a_longer_stretch(
    available: str, day: str, hours_long: int
) -> None:
    hours = hours_of(offered(available, "us-west"))
    start = utc(day) - 3 * DAY
    found = hours.next_start(start, hours_long * HOUR)
    assert found is not None
    assert found < start + 5 * DAY
    assert hours.next_start(start, hours_long * HOUR + 3_600) is None


def test_the_next_start_is_looked_for_a_while_only() -> None:
    now = utc("2027-06-07T09:00")
    for ends, found in ((LOOK_AHEAD_SECONDS, True), (LOOK_AHEAD_SECONDS + 1, False)):
        hours = hours_of(offered("", maintenance=(now, now + ends)))
        assert hours.next_start(now, 1) == (now + ends if found else None)
        assert hours.may_last(2**32)


class Counted(tzinfo):
    """A zone's clock that counts how often it is looked at."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self.looks = 0

    def fromutc(self, moment: datetime) -> datetime:
        self.looks += 1
        return self._zone.fromutc(moment.replace(tzinfo=self._zone))


@pytest.mark.parametrize("maintenance", [(0, 0), (2**32 - 2, 2**32 - 1)])
def test_looking_for_what_there_is_not_takes_few_steps(maintenance: tuple[int, int]) -> None:
    windows = tuple(Window(n * 360, n * 360 + 180) for n in range(MAX_WINDOWS))
    clock = Counted(time_zone("us-west"))
    hours = Hours(windows, clock, maintenance)
    start = utc("2027-06-01")
    assert hours.next_start(start, 3 * HOUR + MINUTE) is None
    stretches = 2 * MAX_WINDOWS * LOOK_AHEAD_SECONDS // WEEK_SECONDS
    assert stretches < clock.looks < 5 * stretches
    clock.looks = 0
    assert hours.next_start(start, 5 * HOUR) is None
    assert clock.looks == 0


@pytest.mark.parametrize("region", SPRING)
def test_a_window_that_the_clock_skips_is_nowhere_that_week(region: str) -> None:
    zone = time_zone(region)
    hours = hours_of(offered("sun 02:15-sun 02:45", region))
    start = utc(SPRING[region]) - 4 * DAY
    found = hours.next_start(start, 30 * MINUTE)
    assert found is not None
    assert datetime.fromtimestamp(found, zone).strftime("%a %H:%M") == "Sun 02:15"
    assert found > start + 7 * DAY


def test_an_unknown_region_is_an_error_only_where_it_matters() -> None:
    assert hours_of(offered("", "nowhere")).covers(0, 10)
    with pytest.raises(ValueError, match="unknown region"):
        hours_of(offered("mon 09:00-mon 12:00", "nowhere"))
