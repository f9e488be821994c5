"""Random histories of a market on a real chain: see `market_histories`."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from escrow_world import Chain, World, open_world
from hypothesis import HealthCheck, Phase
from hypothesis import settings as examples
from hypothesis.stateful import run_state_machine_as_test
from market_histories import MarketHistory
from signed import Clock

from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings

Databases = Callable[[], AbstractContextManager[Database]]
SHARE = {"sqlite": 0.15, "postgresql": 0.08}
"""Of the examples that a test of values alone is given: a history takes a second or two."""


@pytest.fixture(params=list(SHARE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def databases(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Makes databases of a kind, each at the newest schema."""
    if kind == "postgresql":
        made: Databases = request.getfixturevalue("postgresql")
        return made
    template = request.getfixturevalue("sqlite_template")

    @contextmanager
    def sqlite() -> Iterator[Database]:
        database = Database(f"sqlite:///{shutil.copy(template, tmp_path)}")
        yield database
        database.close()

    return sqlite


def test_no_history_of_a_market_promises_a_gpu_twice_or_forgets_one(
    kind: str, databases: Databases, session_chain: Chain, settings: Settings
) -> None:
    @contextmanager
    def new_world() -> Iterator[World]:
        session_chain.rewind()
        with (
            databases() as database,
            open_world(session_chain, database, settings, Clock(), "NativeEscrow") as world,
        ):
            yield world

    class History(MarketHistory):
        pass

    History.new_world = staticmethod(new_world)
    run_state_machine_as_test(
        History,
        settings=examples(
            max_examples=int(examples().max_examples * SHARE[kind]),
            stateful_step_count=40,
            # Shrinking one that fails would take minutes.
            phases=(Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
