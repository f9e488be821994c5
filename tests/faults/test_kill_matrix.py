"""A short selection of the kill matrix and of the troubles, and proof that they can fail.

The runs mostly wait for their blocks, so they are made side by side before the first test.
"""

import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from aitbc_coordinator.fault_points import FaultPoint
from faults.databases import stores
from faults.matrix import attempt
from faults.mischief import Mischief
from faults.running import Result, Spec
from faults.supervisor import PROGRAM

BOOKINGS = 8
AT_ONCE = 5
NEVER = 1_000_000

SELECTION = {
    "sqlite": (
        Spec(1, BOOKINGS, Mischief.NONE, FaultPoint.MIGRATION_STATEMENT, 20),
        Spec(3, BOOKINGS, Mischief.REORGS, FaultPoint.REWIND_WRITTEN, 1),
        Spec(9, BOOKINGS, Mischief.DISK_FULL),
    ),
    "postgresql": (
        Spec(5, BOOKINGS, Mischief.NONE, FaultPoint.BATCH_WRITTEN, 1),
        Spec(6, BOOKINGS, Mischief.NONE, FaultPoint.BROADCAST_TAKEN, 2),
        Spec(11, BOOKINGS, Mischief.NONCE_TAKEN),
    ),
}
CASES = [(kind, spec) for kind, specs in SELECTION.items() for spec in specs]
NEVER_THERE = Spec(7, BOOKINGS, Mischief.NONE, FaultPoint.HOUR_WRITTEN, NEVER)
BEFORE_IT_IS_PERSISTED = Spec(8, BOOKINGS, Mischief.NONE, FaultPoint.BATCH_WRITING, 1)

BROADCASTS_TOO_EARLY = f"""#!{sys.executable}
from hexbytes import HexBytes

from aitbc_coordinator.main import main
from aitbc_coordinator.settlement.relayers import Relayers

persist = Relayers.persist


def send_and_persist(self, signed, take):
    self._eth.send_raw_transaction(HexBytes(signed.raw))
    return persist(self, signed, take)


Relayers.persist = send_and_persist
main()
"""
"""A coordinator that sends a transaction before what it has persisted is committed."""

Runs = dict[Spec, Future[Result]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    broken = tmp_path_factory.mktemp("broken") / "coordinator"
    broken.write_text(BROADCASTS_TOO_EARLY)
    broken.chmod(0o700)
    others = [("sqlite", NEVER_THERE, PROGRAM), ("sqlite", BEFORE_IT_IS_PERSISTED, broken)]
    cases = [*((kind, spec, PROGRAM) for kind, spec in CASES), *others]
    with stores() as made, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            spec: pool.submit(attempt, spec, made[kind], program) for kind, spec, program in cases
        }


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "spec"), CASES, ids=lambda value: getattr(value, "point", value))
def test_a_coordinator_ends_as_if_nothing_had_happened(runs: Runs, kind: str, spec: Spec) -> None:
    result = runs[spec].result()
    assert result.wrong == []
    assert len(result.outcomes) == BOOKINGS


@pytest.mark.timeout(600)
def test_a_passage_that_never_comes_is_wrong(runs: Runs) -> None:
    assert runs[NEVER_THERE].result().wrong == [f"passage {NEVER} of hour.written never came"]


@pytest.mark.timeout(600)
def test_what_is_sent_before_it_is_persisted_is_wrong(runs: Runs) -> None:
    wrong = runs[BEFORE_IT_IS_PERSISTED].result().wrong
    assert any(line.startswith("relayer: ") for line in wrong), wrong
    assert not any(str(-signal.SIGKILL) in line for line in wrong), wrong
