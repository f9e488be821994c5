"""`./scripts/bench replay` on a small part of the trace, and its arithmetic by hand."""

from collections import Counter
from dataclasses import replace

import pytest

import bench
from aitbc.protocol.pricing import STRATEGIES
from benchmark import Measured
from replay import cases, measures, rules, trace
from replay.market import Booking
from replay.replaying import Week, replay
from replay.rules import WEEK, WEEK_START

CARDS = rules.supply(trace.nodes()[: cases.SMALL_NODES])
DEMAND = rules.demand(trace.tasks(), CARDS)[:: cases.SMALL_TASK_STEP]


@pytest.fixture(scope="module")
def measured() -> Measured:
    return cases.measure_small()


def test_the_whole_trace_is_there() -> None:
    tasks, nodes = trace.tasks(), trace.nodes()
    assert len(tasks) == len({task.name for task in tasks}) == 7_064
    assert (len(nodes), sum(node.gpus for node in nodes)) == (1_213, 6_212)
    assert {node.model for node in nodes} == set(rules.MODELS)
    assert sum(task.gpus * task.seconds for task in tasks) // 3_600 == 59_781
    attribution = (trace.DATA / "README.md").read_text()
    assert "alibaba/clusterdata" in attribution
    assert "Attribution 4.0" in (trace.DATA / "LICENSE").read_text()


def test_every_goal_is_of_a_row(measured: Measured) -> None:
    rows = {row.id: row for row in measured.rows}
    assert len(rows) == len(measured.rows)
    assert {row.id for row in measured.rows if row.goal is not None} == set(cases.GOALS)
    assert rows["overlaps"].value == rows["wrongly_refused"].value == 0
    assert rows["volatility_fixed"].value == 0
    for pricing in ("fixed", *(name.replace("-", "_") for name in STRATEGIES)):
        shares = [rows[f"{name}_{pricing}"].value for name in ("fill_rate", "too_dear", "taken")]
        assert sum(shares) == pytest.approx(100, abs=0.02)
        assert 0 < rows[f"utilisation_{pricing}"].value <= 100


@pytest.fixture(scope="module")
def week() -> Week:
    return replay("market-balance", CARDS, DEMAND)


def test_it_is_always_the_same(measured: Measured, week: Week) -> None:
    """In this process, and in the ones that the benchmark starts."""
    rows = {row.id: row.value for row in measured.rows}
    again = rules.demand(trace.tasks(), CARDS)[:: cases.SMALL_TASK_STEP]
    assert replay("market-balance", CARDS, again) == week
    assert rows["fill_rate_market_balance"] == round(measures.fill_percent(week), 2)
    assert rows["volatility_market_balance"] == round(measures.volatility_percent(week), 2)


def test_buyers_pay_no_more_than_they_would_and_get_what_they_came_for(week: Week) -> None:
    refused = (*week.too_dear, *week.taken)
    assert week.asked == len(week.bookings) + sum(r.count for r in refused)
    wanted = {(r.comes_at + 60, r.region, r.model, r.seconds): r for r in DEMAND}
    got: Counter[str] = Counter()
    for booking in week.bookings:
        length = booking.ends_at - booking.starts_at
        request = wanted[booking.starts_at, booking.region, booking.model, length]
        assert booking.price <= request.most
        got[request.task] += 1
    assert got == {r.task: r.count for r in DEMAND if r.task in got}
    assert set(map(len, week.prices.values())) == {7 * 24}


def test_a_cluster_gets_all_or_none() -> None:
    crowd = [replace(r, count=64, most=10**9) for r in DEMAND[:3]]
    week = replay("fixed", CARDS, crowd)
    assert (week.bookings, week.taken, week.too_dear) == ([], crowd, [])


def test_demand_is_within_the_week_and_its_bounds() -> None:
    cards = rules.supply(trace.nodes())
    demand = rules.demand(trace.tasks(), cards)
    assert len(demand) == 7_064
    for request in demand:
        assert WEEK_START <= request.comes_at < WEEK_START + WEEK
        assert rules.LEAST_SECONDS <= request.seconds <= WEEK
        base = rules.MODELS[request.model].base_price
        assert base / 2 <= request.most <= base * 2
    come_to = Counter(request.region for request in demand)
    assert [come_to[region] / 7_064 for region in rules.REGIONS] == pytest.approx(
        [3 / 6, 2 / 6, 1 / 6], abs=0.02
    )
    in_peak = sum(measures.peak_seconds(r.region, r.comes_at, r.comes_at + 1) for r in demand)
    assert in_peak > 0.6 * 7_064


ASKED = replace(DEMAND[0], count=1)


def booking(starts_in: int, lasts: int, gpu_id: str = "g-1", price: int = 100) -> Booking:
    start = WEEK_START + starts_in * 3_600
    return Booking(
        ends_at=start + lasts * 3_600,
        starts_at=start,
        booking_id=f"0x{starts_in}",
        gpu_id=gpu_id,
        region="eu-west",
        model="T4",
        amount=price * lasts,
        price=price,
        base_price=100,
    )


def week_of(*bookings: Booking, **changes: object) -> Week:
    week = Week(gpu_ids=["g-1", "g-2"], asked=4, bookings=list(bookings))
    return replace(week, **changes)  # type: ignore[arg-type]


def test_the_measures_by_hand() -> None:
    """Two GPUs, a week: 42 of 336 hours are booked."""
    week = week_of(
        booking(0, 24), booking(30, 18, "g-2", price=150), too_dear=[ASKED], taken=[ASKED]
    )
    assert measures.fill_percent(week) == 50
    assert measures.too_dear_percent(week) == measures.taken_percent(week) == 25
    assert measures.utilisation_percent(week) == 12.5
    assert measures.revenue(week) == 5_100
    # Of the first, 9:00 to 21:00; of the second, 9:00 to 21:00 of the next day, at 150.
    assert measures.peak_price(week) == pytest.approx(1.25)
    assert measures.overlaps(week) == 0
    over = week_of(booking(160, 24))
    assert measures.utilisation_percent(over) == pytest.approx(100 * 8 / 336)


def test_who_would_have_paid_the_base_price_was_wrongly_refused() -> None:
    base = rules.MODELS[ASKED.model].base_price
    refused = [replace(ASKED, most=base - 1), replace(ASKED, most=base)]
    assert measures.wrongly_refused(week_of(too_dear=refused)) == 1


def test_two_bookings_of_a_gpu_at_once_are_counted() -> None:
    assert measures.overlaps(week_of(booking(0, 24), booking(23, 5))) == 1
    assert measures.overlaps(week_of(booking(0, 24), booking(24, 5))) == 0
    assert measures.overlaps(week_of(booking(0, 24), booking(0, 5, "g-2"))) == 0


def test_earnings_vary_less_where_more_days_are_booked() -> None:
    idle, busy = week_of(booking(0, 24)), week_of(booking(0, 168), booking(0, 168, "g-2", 50))
    # One of 14 GPU-days earns 1, the others nothing: the deviation is the square root of 13.
    assert measures.day_to_day_percent(idle) == pytest.approx(360.55)
    # Half of them 1, half of them 1/2: 1/4 from the mean of 3/4.
    assert measures.day_to_day_percent(busy) == pytest.approx(33.33)


def test_volatility_is_the_mean_of_the_watched() -> None:
    week = week_of(prices={"g-1": [10_000, 10_300, 10_000], "g-2": [10_000] * 3})
    assert measures.volatility_percent(week) == pytest.approx(1.5)


def test_it_is_one_of_the_benchmarks() -> None:
    assert bench.BENCHMARKS["replay"] is cases.BENCHMARK
