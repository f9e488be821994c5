"""Tomorrow as it is expected, and what power costs."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from priced import hours

from aitbc.protocol.pricing import STRATEGIES, MarketHour
from aitbc.protocol.pricing.cost import power_floor
from aitbc.protocol.pricing.simulation import Forecast, Offer, simulate, tomorrow
from aitbc.protocol.regions import REGIONS

ALL = list(STRATEGIES)
WEST = ZoneInfo("America/Los_Angeles")


def at(*clock: int, zone: ZoneInfo = WEST) -> int:
    return int(datetime(*clock, tzinfo=zone).timestamp())  # type: ignore[misc,arg-type]


NOW = at(2026, 6, 10, 12, 30)
OFFER = Offer("us-west", 10_000, 4_000, 20_000)


def seen_week(now: int, booked: dict[int, int], level: int = 10_000) -> list[MarketHour]:
    """A week's hours until `now`, `booked` of 10 GPUs by the hour of the west's clock."""
    found = []
    for starts_at in range(now // 3_600 * 3_600 - 167 * 3_600, now, 3_600):
        clock = datetime.fromtimestamp(starts_at, WEST).hour
        seen = MarketHour(
            starts_at=starts_at,
            listed=10,
            booked=booked.get(clock, 7),
            level_before_bps=level,
        )
        found.append(seen)
        level = seen.level_bps
    return found


def test_tomorrow_is_the_day_after_on_the_region_s_clock() -> None:
    evening = at(2026, 6, 10, 20)
    assert tomorrow("us-west", evening) == date(2026, 6, 11)
    assert tomorrow("eu-central", evening) == date(2026, 6, 12)


def test_the_mean_of_each_hour_of_the_clock_is_expected() -> None:
    day = simulate(OFFER, ALL, seen_week(NOW, {9: 10, 3: 0}), NOW)
    expected = {9: 10_000, 3: 0}
    for hour in day:
        clock = datetime.fromtimestamp(hour.starts_at, WEST)
        assert (clock.date(), clock.minute) == (date(2026, 6, 11), 0)
        assert hour.utilisation_bps == expected.get(clock.hour, 7_000)
    assert [hour.starts_at for hour in day] == [at(2026, 6, 11, h) for h in range(24)]


def test_hours_of_the_clock_that_nobody_saw_take_the_mean_of_all() -> None:
    nine, ten = at(2026, 6, 9, 9), at(2026, 6, 9, 10)
    seen = [
        MarketHour(starts_at=t, listed=10, booked=b, level_before_bps=10_000)
        for t, b in ((nine, 2), (ten, 4))
    ]
    unlisted = MarketHour(starts_at=ten + 3_600, listed=0, booked=0, level_before_bps=10_000)
    forecast = Forecast("us-west", [*seen, unlisted])
    assert forecast.hours_seen == 2
    found = [forecast.utilisation_bps(nine + h * 3_600) for h in (24, 25, 26)]
    assert found == [2_000, 4_000, 3_000]


def test_with_nothing_seen_the_target_is_assumed() -> None:
    day = simulate(OFFER, ALL, [], NOW)
    assert {hour.utilisation_bps for hour in day} == {7_000}
    assert {hour.prices["market-balance"].per_hour for hour in day} == {10_000}


def test_the_level_goes_on_from_the_newest_hour() -> None:
    seen = seen_week(NOW, dict.fromkeys(range(13, 24), 8), level=8_000)
    level = 9_000
    seen[-1] = seen[-1].model_copy(update={"level_before_bps": level})
    day = simulate(OFFER, ["market-balance"], seen[::-1], NOW)
    prices = [hour.prices["market-balance"].per_hour for hour in day]
    # A step up in each of the eleven hours that are left today, and in the same hours tomorrow.
    expected = [level + 1_100 + 100 * max(0, hour - 12) for hour in range(24)]
    assert prices == expected


def test_what_was_seen_is_expected_at_the_same_time_of_the_clock_after_it_changed() -> None:
    saturday = at(2026, 10, 31, 12)
    seen = seen_week(saturday, {9: 10})
    day = simulate(OFFER, ALL, seen, saturday)
    (busy,) = [hour for hour in day if hour.utilisation_bps == 10_000]
    assert datetime.fromtimestamp(busy.starts_at, WEST).hour == 9
    assert busy.starts_at - at(2026, 10, 31, 9) == 25 * 3_600


@pytest.mark.parametrize("seen", [0, 1])
def test_a_midnight_within_the_present_hour(seen: int) -> None:
    # Midnight in India is at half past an hour in UTC: this one began before the day did.
    zone = ZoneInfo("Asia/Kolkata")
    now = at(2026, 6, 10, 23, 45, zone=zone)
    hour = MarketHour(starts_at=now // 3_600 * 3_600, listed=10, booked=10, level_before_bps=12_000)
    offer = Offer("ap-south", 10_000, 4_000, 20_000)
    first, *rest = simulate(offer, ["market-balance"], [hour][:seen], now)
    assert first.starts_at == at(2026, 6, 11, zone=zone)
    assert first.starts_at // 3_600 * 3_600 == hour.starts_at
    assert first.prices["market-balance"].per_hour == (12_300 if seen else 10_000)
    assert len(rest) == 23


@pytest.mark.parametrize("when", [(2026, 6, 10, 15), (2026, 6, 3, 12)], ids=str)
def test_hours_that_have_not_begun_or_are_long_past_say_nothing(when: tuple[int, ...]) -> None:
    seen = seen_week(NOW, {})
    other = MarketHour(starts_at=at(*when), listed=1, booked=1, level_before_bps=20_000)
    assert simulate(OFFER, ALL, [*seen, other], NOW) == simulate(OFFER, ALL, seen, NOW)


def test_each_strategy_shows_its_day() -> None:
    day = simulate(OFFER, ALL, seen_week(NOW, {}), NOW)
    peaks = [hour.prices["peak-maximizer"].per_hour for hour in day]
    assert peaks == [11_400] * 9 + [14_400] * 12 + [11_400] * 3
    reason = day[9].prices["peak-maximizer"].factors[0].reason
    assert reason == "1 h of 1 h lie from 9:00 to 21:00 in us-west"
    falls = [hour.prices["utilization-guard"].per_hour for hour in day]
    assert falls == [10_000 - 250 * hour for hour in range(24)]


@pytest.mark.parametrize(
    ("now", "hours"),
    [((2026, 3, 7, 12), 23), ((2026, 10, 31, 12), 25), ((2026, 3, 8, 12), 24)],
    ids=str,
)
def test_days_on_which_the_clock_changes(now: tuple[int, ...], hours: int) -> None:
    day = simulate(OFFER, ALL, [], at(*now))
    assert len(day) == hours
    peaks = [hour for hour in day if hour.prices["peak-maximizer"].factors[0].change == 3_000]
    assert len(peaks) == 12
    assert datetime.fromtimestamp(peaks[0].starts_at, WEST).hour == 9


@settings(max_examples=40)
@given(
    region=st.sampled_from(sorted(REGIONS)),
    now=st.integers(at(2025, 1, 1), at(2027, 1, 1)),
    seen=st.lists(hours(), max_size=5),
    age=st.integers(0, 168),
)
def test_any_day_anywhere_is_simulated_alike_each_time(
    region: str, now: int, seen: list[MarketHour], age: int
) -> None:
    newest = now // 3_600 * 3_600 - age * 3_600
    week = [
        hour.model_copy(update={"starts_at": newest - i * 3_600}) for i, hour in enumerate(seen)
    ]
    offer = Offer(region, 10_000, 4_000, 20_000)
    day = simulate(offer, ALL, week, now)
    assert day == simulate(offer, ALL, week[::-1], now)
    zone = ZoneInfo(REGIONS[region])
    assert {datetime.fromtimestamp(h.starts_at, UTC).astimezone(zone).date() for h in day} == {
        tomorrow(region, now)
    }
    for hour in day:
        assert set(hour.prices) == set(STRATEGIES)
        assert all(4_000 <= price.per_hour <= 20_000 for price in hour.prices.values())


@pytest.mark.parametrize(
    ("watts", "kwh", "overhead", "floor"),
    [
        (1_000, 300_000, 0, 300_000),
        (450, 300_000, 30, 175_500),
        (333, 1, 0, 1),
        (1, 100_000, 0, 100),
        (1, 100_001, 0, 101),
        (700, 0, 30, 1),
    ],
)
def test_power_is_rounded_up(watts: int, kwh: int, overhead: int, floor: int) -> None:
    assert power_floor(watts, kwh, overhead) == floor
