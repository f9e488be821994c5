"""A market on a real node, for each kind of database."""

from collections.abc import Iterator

import pytest
from escrow_world import PURSE, Chain, Coordinator, World, open_world
from signed import Clock

from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings


@pytest.fixture(scope="session")
def session_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    made = Chain(tmp_path_factory.mktemp("chain"))
    yield made
    made.stop()


@pytest.fixture
def chain(session_chain: Chain) -> Chain:
    session_chain.rewind()
    return session_chain


@pytest.fixture
def world(chain: Chain, database: Database, settings: Settings, clock: Clock) -> Iterator[World]:
    """A fresh chain, escrow and database, with nothing followed yet."""
    with open_world(chain, database, settings, clock, "NativeEscrow") as made:
        yield made


@pytest.fixture
def token_world(
    chain: Chain, database: Database, settings: Settings, clock: Clock
) -> Iterator[World]:
    """The same in a token, of which the buyer has some, while they have no coin."""
    with open_world(chain, database, settings, clock, "TokenEscrow") as world:
        mint = chain.test_dollar.functions.mint(world.buyer.address, PURSE)
        world.node.send(world.provider, mint)
        world.node.give_coin(world.buyer.address, 0)
        yield world


@pytest.fixture
def coordinator(world: World) -> Coordinator:
    return world.restart()
