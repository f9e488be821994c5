"""Every point is somewhere in the code, does nothing by itself, and kills when it is told to."""

import ast
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import aitbc_coordinator
from aitbc_coordinator.fault_points import COUNT_POINTS_IN, KILL_AT, FaultPoint
from local_market import clean_environment

SOURCE = Path(aitbc_coordinator.__file__).parent
PASSES = """
from aitbc_coordinator.fault_points import FaultPoint, reach
for number in range(1, 4):
    reach(FaultPoint.QUOTE_WRITING)
    reach(FaultPoint.QUOTE_WRITTEN)
    print(number, flush=True)
"""


def reached_in(path: Path) -> list[str]:
    """Names of the points that a file passes."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    arguments = [
        call.args[0]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "reach"
    ]
    assert all(isinstance(argument, ast.Attribute) for argument in arguments), path
    return [argument.attr for argument in arguments if isinstance(argument, ast.Attribute)]


def run(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASSES],
        env={**clean_environment(), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_point_is_at_one_place_of_the_code() -> None:
    places = Counter(name for path in SOURCE.rglob("*.py") for name in reached_in(path))
    assert places == Counter(point.name for point in FaultPoint)


def test_every_point_says_what_has_happened_there() -> None:
    tree = ast.parse((SOURCE / "fault_points.py").read_text())
    (points,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "FaultPoint")
    members = points.body[1:]
    assert [type(node) for node in members] == [ast.Assign, ast.Expr] * len(FaultPoint)


def test_nothing_happens_unless_it_is_asked_for() -> None:
    assert not {KILL_AT, COUNT_POINTS_IN} & set(os.environ)
    done = run()
    assert (done.returncode, done.stdout) == (0, "1\n2\n3\n")


def test_the_process_is_killed_at_the_passage_that_was_asked_for() -> None:
    done = run(**{KILL_AT: "quote.written:2"})
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "1\n")


def test_passages_are_counted(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    assert run(**{COUNT_POINTS_IN: str(counts)}).returncode == 0
    assert json.loads(counts.read_text()) == {"quote.writing": 3, "quote.written": 3}


@pytest.mark.parametrize("wrong", ["quote.forgotten:1", "quote.written", "quote.written:x"])
def test_what_names_no_passage_is_refused(wrong: str) -> None:
    done = run(**{KILL_AT: wrong})
    assert done.returncode == 1
    assert "is no POINT:NUMBER" in done.stderr
