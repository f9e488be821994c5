"""`aitbc marketplace price backtest`: no coordinator, no node, no wallet."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offers import Offer

from aitbc.cli import demand as demand_files
from aitbc.profile import Profile, save_profile
from aitbc.protocol.pricing import STRATEGIES
from checks import USAGE, assert_refused
from in_process import run_here
from local_market import User
from replay import shipped_demand

Run = Callable[..., Any]
Write = Callable[[str], str]
BACKTEST = ("marketplace", "price", "backtest", "--base-price", "0.05", "--region", "us-west")
HEADER = "start,duration,max_price\n"
ROW = "2026-01-05T09:30:00,2h,0.08\n"


@pytest.fixture
def run(newcomer: User) -> Run:
    save_profile(newcomer.home, Profile(market=Offer().market))
    return lambda *args: run_here(newcomer, *args, AITBC_COORDINATOR_URL="http://127.0.0.1:1")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a trace, and names it."""

    def to_file(text: str) -> str:
        path = tmp_path / "demand.csv"
        path.write_text(text)
        return str(path)

    return to_file


def result(run: Run, *args: str) -> Any:
    done = run(*BACKTEST, *args, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_strategies_are_compared_on_the_demand_that_ships(run: Run) -> None:
    said = result(run)
    assert said == result(run)
    assert [row["strategy"] for row in said["strategies"]] == ["fixed", *STRATEGIES]
    fixed = said["strategies"][0]
    assert (fixed["vs_fixed_percent"], fixed["price_per_booked_hour"]) == ("100", "0.05")
    assert fixed["volatility_percent"] == "0"
    for row in said["strategies"]:
        assert row["bookings"] + row["too_dear"] + row["taken"] == said["buyers"] > 300
    assert len(said["days"]) == 35
    assert said["days"][0]["day"] == "2026-01-05"


def test_people_see_tables_and_bars(run: Run) -> None:
    done = run(*BACKTEST)
    assert done.returncode == 0, done.stderr
    assert "which ships with aitbc" in done.stdout
    assert "OF FIXED %" in done.stdout
    assert "█" in done.stdout
    assert done.stderr.strip() == ""


def test_a_trace_of_one_s_own(run: Run, write: Write) -> None:
    rows = ROW + "2026-01-06T01:00:00Z,30m,1\n" + "2026-01-05T09:00:00,1h,0.049\n"
    said = result(run, "--trace", write(HEADER + rows), "--strategy", "Peak Maximizer")
    fixed, peak = said["strategies"]
    assert (fixed["bookings"], fixed["too_dear"], fixed["revenue"]) == (2, 1, "0.125")
    assert (peak["strategy"], peak["revenue"]) == ("peak-maximizer", "0.1625")
    assert said["days"] == [{"day": "2026-01-05", "fixed": "0.125", "peak_maximizer": "0.1625"}]


def test_a_spreadsheet_s_mark_at_the_front_of_a_file_is_no_part_of_it(
    run: Run, write: Write
) -> None:
    assert result(run, "--trace", write("\ufeff" + HEADER + ROW))["buyers"] == 1


def test_limits_as_percent_of_the_base_price(run: Run, write: Write) -> None:
    rows = "start,duration,max_percent\n2026-01-05T00:00:00,1h,100\n2026-01-05T02:00:00,1h,99\n"
    fixed = result(run, "--trace", write(rows))["strategies"][0]
    assert (fixed["bookings"], fixed["too_dear"]) == (1, 1)


def test_where_nothing_is_sold_nothing_is_compared(run: Run, write: Write) -> None:
    said = result(run, "--trace", write(HEADER + "2026-01-05T00:00:00,1h,0\n"))
    assert {row["vs_fixed_percent"] for row in said["strategies"]} == {None}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: the columns are missing"),
        ("start,duration\n", "line 1: the columns are missing"),
        ("start,duration,max_price,max_percent\n", "line 1: the columns are missing"),
        (HEADER, "it has no row"),
        (HEADER + ROW + "\n" + "soon,2h,1\n", "line 4: start: 'soon' is not a time"),
        (HEADER + "1969-01-01T00:00:00,2h,1\n", "is not a time"),
        (HEADER + "2106-12-31T00:00:00Z,2h,1\n", "is not a time"),
        (HEADER + "0001-01-01T00:00:00,2h,1\n", "is not a time"),
        (HEADER + "0001-01-01T00:00:00+23:59,2h,1\n", "is not a time"),
        (HEADER + "9999-12-31T23:59:59-23:59,2h,1\n", "is not a time"),
        (HEADER + ROW.replace("2h", "2"), "line 2: duration: '2' is not a duration"),
        (HEADER + ROW.replace("2h", "-2h"), "is not a duration"),
        (HEADER + ROW.replace("0.08", "8 cents"), "line 2: max_price: '8 cents' is not an amount"),
        (HEADER + ROW.replace(",0.08", ""), "line 2: max_price: '' is not an amount"),
        (HEADER + ROW.replace("0.08", "0,08"), "line 2: it has more cells"),
        (HEADER + ROW.replace("0.08", "9" * 200), "is not an amount"),
        (HEADER.replace("price", "percent") + ROW, "'0.08' is not a percentage"),
        (HEADER + '"' + ROW, "it is no CSV"),
        (HEADER + ROW.replace("2h", "2\x00h"), "line 2"),
        (HEADER + ROW + ROW.replace("2026", "2036"), "it spans 3652 days"),
    ],
)
def test_a_bad_row_is_named(run: Run, write: Write, text: str, says: str) -> None:
    done = run(*BACKTEST, "--trace", write(text))
    assert_refused(done, USAGE, "demand.csv")
    assert says in done.stderr


def test_a_file_that_is_none(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(run(*BACKTEST, "--trace", str(tmp_path)), USAGE, "it cannot be read")
    assert_refused(run(*BACKTEST, "--trace", str(tmp_path / "no.csv")), USAGE, "it cannot be read")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe" + HEADER.encode())
    assert_refused(run(*BACKTEST, "--trace", str(binary)), USAGE, "no text in UTF-8")
    monkeypatch.setattr(demand_files, "MAX_FILE_BYTES", 10)
    assert_refused(run(*BACKTEST, "--trace", str(binary)), USAGE, "larger than")


def test_the_offer_is_checked_as_when_a_day_is_simulated(run: Run) -> None:
    assert_refused(run(*BACKTEST, "--floor", "0.06"), USAGE, "between the floor")
    assert_refused(run(*BACKTEST, "--strategy", "luck"), USAGE, "unknown strategy")


def test_the_demand_that_ships_is_what_the_trace_yields() -> None:
    assert shipped_demand.SHIPPED.read_text() == shipped_demand.text()
    attribution = shipped_demand.SHIPPED.with_name("README.md").read_text()
    assert "alibaba/clusterdata" in attribution
    assert "Attribution 4.0" in shipped_demand.SHIPPED.with_name("LICENSE").read_text()
