"""`./scripts/bench settlement`, `takeover` and `soak` on tiny markets, and what makes them fail."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from settlement_bench.bare import RESERVATIONS, TABLES, write_bare
from settlement_bench.bookings import BEATS, PARTIAL_OF_TEN, booked
from settlement_bench.chain import Chain
from settlement_bench.follow import BUYER, Following, read_raw, read_with_web3
from settlement_bench.stub import serving
from settlement_bench.subject import Subject
from sqlalchemy import text
from test_gas import bench, rows_by_id

from aitbc.protocol.messages import Terms
from aitbc_coordinator.database import Database
from local_market import LocalMarketError
from market_bench.databases import Kind, kinds

BOTH = ("sqlite", "postgres")
GOALS = {
    "settle_ratio": ("least", 40),
    "settle_vs_pipelined": ("least", 15),
    "follow_vs_web3": ("least", 12),
    "follow_vs_raw": ("least", 0.25),
    "settle_growth": ("most", 1.2),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kind, Kind]]:
    with kinds(tmp_path_factory.mktemp("databases")) as found:
        yield found


@pytest.fixture(scope="module")
def sqlite(both: tuple[Kind, Kind]) -> Kind:
    return both[0]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    made = Chain(tmp_path_factory.mktemp("chain"))
    yield made
    made.stop()


def goals(rows: dict[str, Any]) -> dict[str, tuple[str, float]]:
    return {name: (row["bound"], row["goal"]) for name, row in rows.items() if row["goal"]}


def test_a_small_run_has_every_row() -> None:
    done = bench("settlement", "--small", "--json")
    assert done.returncode == 0, done.stderr
    rows = rows_by_id(json.loads(done.stdout))
    assert goals(rows) == GOALS
    beside = (*GOALS, "statements", "payout_blocks", "bound_vs_web3", "bound_vs_raw")
    assert rows.keys() > {f"{name}_{kind}" for name in beside for kind in BOTH}
    for name, (bound, _) in GOALS.items():
        values = [rows[f"{name}_{kind}"]["value"] for kind in BOTH]
        assert rows[name]["value"] == (min if bound == "least" else max)(values)


@pytest.mark.timeout(600)
def test_a_small_takeover_settles_all_once() -> None:
    done = bench("takeover", "--small", "--json")
    assert done.returncode == 0, done.stderr
    rows = rows_by_id(json.loads(done.stdout))
    assert goals(rows) == {
        "takeover_max_s": ("most", 10),
        "kills": ("least", 1),
        "settled_once": ("least", 30),
    }
    assert rows["settled_once"]["value"] == 30
    assert 0 < rows["takeover_median_s"]["value"] <= rows["takeover_max_s"]["value"]
    assert rows["takeover_max_s"]["value"] <= rows["resumed_max_s"]["value"]


@pytest.mark.timeout(600)
def test_a_small_soak_ends_as_planned() -> None:
    done = bench("soak", "--small", "--json")
    assert done.returncode == 0, done.stderr
    rows = rows_by_id(json.loads(done.stdout))
    assert goals(rows) == {
        "soak_seconds": ("least", 3600),
        "soak_memory_growth": ("most", 1.1),
        "soak_lag_blocks": ("most", 1),
    }
    assert rows["soak_wrong"]["holds"], done.stderr
    assert rows["soak_lag_blocks"]["holds"]
    assert rows["soak_memory"]["value"] > 0
    assert rows["soak_lives"]["value"] > 0


def test_three_of_ten_bookings_are_delivered_by_half() -> None:
    made = booked(BUYER, [BUYER], 20, 1_000)
    halves = [each for each in made if each.beats < BEATS]
    assert len(halves) == 2 * PARTIAL_OF_TEN
    assert {each.earned * 2 for each in halves} == {made[-1].earned} == {made[-1].terms.amount}


def test_a_payout_that_was_not_earned_is_noticed(sqlite: Kind, chain: Chain) -> None:
    subject = Subject(sqlite, chain)
    bookings = subject.book(10)
    subject.settle()
    subject.check(bookings)
    other = bookings[-1]._replace(beats=1)
    with pytest.raises(LocalMarketError, match="otherwise"):
        subject.check([*bookings[:-1], other])
    subject.stop()


def test_both_loops_settle_what_they_are_given(chain: Chain) -> None:
    bookings = chain.book([chain.account().address], 6)
    chain.fund(bookings)
    chain.mine(at=bookings[0].terms.ends_at)
    chain.settle_one_by_one(bookings[:3])
    chain.settle_pipelined(bookings[3:])
    slots = [chain.escrow.slot(each.terms.booking_id(chain.escrow.domain)) for each in bookings]
    assert {slot.remaining for slot in slots} == {0}


def test_what_is_followed_is_what_the_node_has(sqlite: Kind) -> None:
    following = Following(50)
    database = following.database(sqlite)
    with serving(following.history) as url:
        seconds, ranges = following.follow(url, sqlite.copy(database))
        assert min(seconds, read_with_web3(url, ranges), read_raw(url, ranges)) > 0
        logs = [log for block in following.history.logs for log in block]
        assert len(logs) == following.events
        assert ranges[0][0] == 0
        assert ranges[-1][1] == following.history.head
        unknown = Terms(**{**following.bookings[0].terms.model_dump(), "salt": 0})
        following.bookings.append(following.bookings[0]._replace(terms=unknown))
        with pytest.raises(LocalMarketError, match="50 of 51"):
            following.follow(url, sqlite.copy(database))


@pytest.mark.parametrize("number", [0, 1], ids=BOTH)
def test_bare_rows_are_those_of_the_follower(both: tuple[Kind, Kind], number: int) -> None:
    def rows(url: str) -> dict[str, list[Any]]:
        database = Database(url)
        with database.read() as session:
            found = {
                table: sorted(
                    map(repr, session.connection().execute(text(f"SELECT * FROM {table}")))
                )
                for table in (*TABLES, RESERVATIONS)
            }
        database.close()
        return found

    kind, following = both[number], Following(30)
    template = following.database(kind)
    followed, bare = kind.copy(template), kind.copy(template)
    with serving(following.history) as url:
        following.follow(url, followed)
    assert len(rows(template)[RESERVATIONS]) == 30
    assert write_bare(kind, followed, bare) > 0
    assert rows(bare) == rows(followed)
    assert [len(found) for found in rows(bare).values()] == [60, 30, 30, 0]
