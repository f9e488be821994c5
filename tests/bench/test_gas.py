"""`./scripts/bench gas`, as a person runs it, beside its snapshot."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aitbc.protocol.artifacts import load_artifact
from gas.cases import SNAPSHOT

ROOT = Path(__file__).resolve().parents[2]
UPDATE = "if that is meant, run `./scripts/bench gas --snapshot` and commit the file"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts/bench"), *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    done = bench("gas", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def rows_by_id(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in document["rows"]}


def test_gas_is_what_the_snapshot_says(result: dict[str, Any]) -> None:
    snapshot = json.loads(SNAPSHOT.read_text())
    kept, measured = rows_by_id(snapshot), rows_by_id(result)

    changed = [
        f"{name}: {kept.get(name)} -> {measured.get(name)}"
        for name in kept | measured
        if kept.get(name) != measured.get(name)
    ]
    assert not changed, "\n".join([*changed, UPDATE])
    assert {k: v for k, v in result.items() if k not in {"name", "commit"}} == snapshot, UPDATE


def test_every_verb_is_measured(result: dict[str, Any]) -> None:
    verbs = {
        item["name"]
        for item in load_artifact("TokenEscrow").abi
        if item["type"] == "function" and item["stateMutability"] in {"payable", "nonpayable"}
    }

    assert set(result["verbs"]) == verbs


def test_the_commit_is_that_of_the_tree(result: dict[str, Any]) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()

    assert result["name"] == "gas"
    assert result["commit"] in {head, f"{head}-dirty"}


def test_an_unknown_benchmark_is_a_usage_error() -> None:
    done = bench("speed")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "invalid choice: 'speed' (choose from" in done.stderr
    assert "Traceback" not in done.stderr
