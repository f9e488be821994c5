"""What the matrix is made of, what counts as wrong, and that it goes on where it stopped."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

import record
from aitbc_coordinator.fault_points import FaultPoint
from aitbc_coordinator.webhooks.messages import BookingData, Message
from faults import __main__ as program
from faults import matrix
from faults.__main__ import rows_of
from faults.databases import Store
from faults.evidence import HISTORIES, Outcome
from faults.matrix import SEEDS, Case
from faults.mischief import KINDS, Mischief
from faults.plan import Kind, make_plan
from faults.running import Result, Spec
from faults.state import Kept, State
from faults.told import Told
from local_market import ROOT

PASSAGES = {point.value: 40 for point in FaultPoint}
OUTCOME = Outcome(0, "whole", ("Funded", "SettledInFull"), 100, 99, 1, 0, 6)
STORES = {kind: Store() for kind in KINDS}


class InTurn:
    """A pool that runs what it is given at once."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        future: Future[Result] = Future()
        future.set_result(work(*arguments))
        return future


@pytest.fixture
def attempted(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """The runs that the matrix makes; every one is right."""
    specs: list[Spec] = []

    def attempt(spec: Spec, store: Store) -> Result:
        specs.append(spec)
        return Result([], [OUTCOME], PASSAGES if spec.point is None else {}, 1)

    monkeypatch.setattr(matrix, "ProcessPoolExecutor", InTurn)
    monkeypatch.setattr(matrix, "attempt", attempt)
    return specs


def find(cases: list[Case], state: State, say: Callable[[str], None] = str) -> None:
    matrix.find(cases, 200, state, STORES, jobs=2, say=say)  # type: ignore[arg-type]


def test_every_point_is_tried_three_times_on_each_database() -> None:
    tried = Counter((case.point, case.database) for case in matrix.kills())
    assert tried == {(point, kind): len(SEEDS) for point in FaultPoint for kind in KINDS}
    assert len({case.name for case in matrix.kills()}) == len(matrix.kills())


def test_every_trouble_comes_on_each_database_that_can_have_it() -> None:
    assert {case.mischief for case in matrix.troubles()} == set(Mischief) - {Mischief.NONE}
    names = [case.name for case in (*matrix.troubles(), *matrix.kills())]
    assert len(set(names)) == len(names)


def test_a_plan_has_every_kind_and_is_the_same_for_its_seed() -> None:
    for bookings in (len(Kind), 200):
        plan = make_plan(1, bookings)
        assert plan == make_plan(1, bookings) != make_plan(2, bookings)
        assert {planned.kind for planned in plan} == set(Kind) == set(HISTORIES)
        assert any(planned.relayed for planned in plan)


def test_positions_are_drawn_from_passages_that_surely_come(tmp_path: Path) -> None:
    case = Case("sqlite", 1, Mischief.NONE, FaultPoint.QUOTE_WRITTEN)
    assert case.position(1) == case.position(0) == 1
    assert all(1 <= case.position(passages) <= passages for passages in range(1, 200))
    assert len({other.position(1000) for other in matrix.kills()}) > len(FaultPoint)


def test_undisturbed_runs_come_first_and_nothing_is_run_twice(
    attempted: list[Spec], tmp_path: Path
) -> None:
    cases = matrix.kills()
    path = tmp_path / "state.json"

    def interrupt(line: str) -> None:
        if len(attempted) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(cases, State(path), interrupt)
    find(cases, State(path))
    undisturbed = [spec for spec in attempted if spec.point is None]
    comes_with = {case.mischief for case in cases}
    assert len(undisturbed) == len(KINDS) * len(SEEDS) * len(comes_with)
    assert len(attempted) <= len(cases) + len(undisturbed) + 2
    again = len(attempted)
    find(cases, State(path))
    assert len(attempted) == again
    find(cases[:1], State(path, fresh=True))
    assert len(attempted) == again + 2


def test_a_run_that_ends_otherwise_than_the_undisturbed_one_is_wrong(tmp_path: Path) -> None:
    case = Case("sqlite", 1, Mischief.NONE, FaultPoint.QUOTE_WRITTEN)
    state = State(tmp_path / "state.json")
    judged = matrix.judged
    assert judged(case, 1, Result([], [OUTCOME]), state).wrong == ["the undisturbed run was wrong"]
    state.keep(case.undisturbed.name, judged(case.undisturbed, 0, Result([], [OUTCOME]), state))
    again = State(tmp_path / "state.json")
    assert judged(case, 1, Result([], [OUTCOME]), again).wrong == []
    paid_twice = Outcome(**{**vars(OUTCOME), "paid": 198})
    assert len(judged(case, 1, Result([], [paid_twice]), again).wrong) == 1
    assert len(judged(case, 1, Result([], []), again).wrong) == 1
    assert judged(case, 1, Result(["lost"], []), again).wrong == ["lost"]


def test_rows_count_what_was_run_and_what_was_wrong() -> None:
    cases = [case for case in matrix.kills() if case.point is FaultPoint.QUOTE_WRITTEN]
    cases += [case for case in matrix.troubles() if case.mischief is Mischief.DISK_FULL]
    right = {case: Kept(1, [], 1) for case in cases}
    assert [(row["value"], row["holds"]) for row in rows_of(cases, right)] == [
        (1, True),
        (6, True),
        (0, True),
        (2, True),
        (0, True),
    ]
    some = {**right, cases[0]: Kept(1, ["paid twice"], 1), cases[-1]: Kept(1, ["lost"], 1)}
    del some[cases[1]]
    assert [(row["value"], row["holds"]) for row in rows_of(cases, some)] == [
        (0, False),
        (5, False),
        (1, False),
        (2, True),
        (1, False),
    ]


def test_what_was_found_so_far_of_the_whole_matrix_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path / "state.json")
    path = tmp_path / "FAULTS.md"
    monkeypatch.setattr(program, "RECORD", path)
    monkeypatch.setattr(program, "State", lambda *_, **__: state)

    def interrupted(*_: object, **__: object) -> None:
        state.keep(matrix.kills()[0].name, Kept(1, [], 2))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(matrix, "find", interrupted)
        assert faults(monkeypatch, "--only", "quote.*") == 130
        assert not path.exists()
        assert faults(monkeypatch) == 130
    rows = {row.id: row for row in record.read(path)}
    assert list(rows) == ["kill_points", "kill_runs", "kill_wrong", "faults_runs", "faults_wrong"]
    assert (rows["kill_runs"].value, rows["kill_runs"].holds) == (1, False)

    for case in (*matrix.kills(), *matrix.troubles()):
        state.keep(case.name, Kept(1, [], 2))
    assert faults(monkeypatch) == 0
    whole = record.read(path)
    assert all(row.holds and row.note.startswith("40 bookings") for row in whole)
    assert whole[0].seconds == 2 * (len(matrix.kills()) + len(matrix.troubles()))


def faults(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["faults", "--json", "--bookings", "40", *args])
    return program.main()


def test_a_point_that_is_not_there_is_said() -> None:
    done = subprocess.run(
        ["./scripts/faults", "--json", "--only", "no.such.point"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no case is called 'no.such.point'" in done.stderr


def test_what_the_receiver_was_never_told_is_wrong() -> None:
    planned = next(one for one in make_plan(1, len(Kind)) if one.kind is Kind.WHOLE)
    booking_id, account = "0x" + "01" * 32, "0x" + "01" * 20
    evidence: Any = SimpleNamespace(by_id={booking_id: SimpleNamespace(planned=planned)})
    told = Told()
    for number, kind in enumerate(("booked", "started", "paid")):
        [line] = told.judge(evidence)
        assert line.count(booking_id) == 3 - number
        data = BookingData(
            booking_id=booking_id,
            short_id="b-1",
            gpu_id=None,
            refused=False,
            buyer=account,
            provider=account,
            amount=planned.amount,
            starts_at=1,
            ends_at=2,
            paid=planned.earned - planned.fee,
            fee=planned.fee,
            refunded=0,
            tx_hash=None,
        )
        message = Message(type=kind, timestamp=1, chain_id=1, escrow=account, data=data)
        told.take("POST", "/", message.model_dump_json().encode())
    assert told.judge(evidence) == []
