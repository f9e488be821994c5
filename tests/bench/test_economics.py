"""`./scripts/bench economics`: shares that follow from gas which is measured in the same run."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_gas import bench, rows_by_id

import economics
from aitbc.protocol.worth import SETTLE_GAS
from gas.cases import SNAPSHOT

KEYS = {"id", "what", "value", "unit", "floor", "ratio", "goal", "goal_of", "bound", "holds"}
UNITS = {
    "trust_cost_l2": "%",
    "trust_cost_l2_batch": "%",
    "trust_cost_l1": "%",
    "minimum_l2": "dollars",
    "minimum_l1": "dollars",
}
GAS = {"fund_3009": 100_000, "settle_relayed": 50_000, "settle_many_100x100": 10_000}


@pytest.fixture(scope="module")
def run() -> subprocess.CompletedProcess[str]:
    done = bench("economics", "--json")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def result(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(run.stdout))


def test_the_rows_say_what_they_rest_on(result: dict[str, Any]) -> None:
    rows = rows_by_id(result)
    assert {name: row["unit"] for name, row in rows.items()} == UNITS
    assert all(set(row) == KEYS for row in rows.values())
    for row in rows.values():
        assert "gwei" in row["what"]
        assert "3,000 dollars" in row["what"]
    assert result["name"] == "economics"
    assert result["coin_price"] == 3000


def test_the_gas_is_measured_as_the_benchmark_of_gas_does(result: dict[str, Any]) -> None:
    kept = rows_by_id(json.loads(Path(SNAPSHOT).read_text()))
    assert result["gas"] == {name: kept[name]["value"] for name in GAS}


def test_a_goal_holds_if_the_value_is_within_it(result: dict[str, Any]) -> None:
    rows = rows_by_id(result)
    assert [row["id"] for row in rows.values() if row["goal"] is not None] == ["trust_cost_l2"]
    assert rows["trust_cost_l2"]["goal"] == 2
    for row in rows.values():
        expected = None if row["goal"] is None else row["value"] <= row["goal"]
        assert row["holds"] is expected


def test_the_shares_by_hand() -> None:
    """150,000 gas at 0.02 gwei is 0.000003 of a coin: 0.9 cents."""
    values = {row.id: row.value for row in economics.priced(GAS)}
    assert values == {
        "trust_cost_l2": 1.9,
        "trust_cost_l2_batch": 1.66,
        "trust_cost_l1": 46,
        "minimum_l2": 0.3,
        "minimum_l1": 15,
    }


def test_a_share_is_rounded_up_and_may_miss_its_goal() -> None:
    dear = GAS | {"fund_3009": 116_667}
    row = next(row for row in economics.priced(dear) if row.id == "trust_cost_l2")
    assert (row.value, row.holds) == (2.0001, False)


def test_people_get_a_table() -> None:
    done = bench("economics")
    assert done.returncode == 0, done.stderr
    assert "trust_cost_l2" in done.stdout
    assert done.stdout.count("dollars") >= len(UNITS)


def test_the_gas_that_coordinators_count_is_what_was_measured() -> None:
    kept = rows_by_id(json.loads(Path(SNAPSHOT).read_text()))
    assert kept["settle_relayed"]["value"] == SETTLE_GAS
