"""Named actors and factories. Every test that takes `market` runs on both escrows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ape.api import AccountAPI
from ape.contracts import ContractInstance
from ape.managers.project import ProjectManager
from market import FEE_BPS, WINDOW, Actors, Market, Mode

ENDOWMENT = 10**15


@pytest.fixture(scope="session")
def actors(accounts: list[AccountAPI]) -> Actors:
    return Actors(*(accounts[i] for i in range(9)))


@pytest.fixture(scope="session")
def make_escrow(project: ProjectManager, actors: Actors) -> Callable[..., ContractInstance]:
    """Deploys an escrow of `token`, or of native coin for None."""

    def make(token: ContractInstance | None, **changes: object) -> ContractInstance:
        arguments = {
            "attester": actors.attester.address,
            "arbiter": actors.arbiter.address,
            "fee_bps": FEE_BPS,
            "fee_recipient": actors.fee_recipient.address,
            "claim_window": WINDOW,
        } | changes
        if token is None:
            return actors.deployer.deploy(project.NativeEscrow, *arguments.values())
        return actors.deployer.deploy(project.TokenEscrow, token, *arguments.values())

    return make


@pytest.fixture(scope="session")
def make_market(
    make_escrow: Callable[..., ContractInstance], actors: Actors
) -> Callable[..., Market]:
    """Deploys an escrow whose buyers hold its token and have approved it."""

    def make(token: ContractInstance | None, **changes: object) -> Market:
        escrow = make_escrow(token, **changes)
        if token is not None:
            for buyer in (actors.buyer, actors.other_buyer):
                token.mint(buyer, ENDOWMENT, sender=actors.deployer)
                token.approve(escrow, 2**256 - 1, sender=buyer)
        return Market(escrow, token, actors)

    return make


@pytest.fixture(scope="session")
def native_deployment(make_market: Callable[..., Market]) -> Market:
    return make_market(None)


@pytest.fixture(scope="session")
def token_deployment(
    project: ProjectManager, actors: Actors, make_market: Callable[..., Market]
) -> Market:
    return make_market(actors.deployer.deploy(project.TestDollar))


@pytest.fixture(scope="session")
def hostile_deployment(
    hostile_token: ContractInstance, make_market: Callable[..., Market]
) -> Market:
    return make_market(hostile_token)


@pytest.fixture(scope="session")
def hostile_token(project: ProjectManager, actors: Actors) -> ContractInstance:
    return actors.deployer.deploy(project.HostileToken)


@contextmanager
def kept_books(deployment: Market) -> Iterator[Market]:
    """A fresh view of an escrow; its books are checked at the end."""
    market = Market(deployment.escrow, deployment.token, deployment.actors)
    yield market
    market.check_books()


@pytest.fixture(params=["native", "token"])
def market(
    request: pytest.FixtureRequest, native_deployment: Market, token_deployment: Market
) -> Iterator[Market]:
    """Each of the two escrows; the books are checked after the test."""
    with kept_books(native_deployment if request.param == "native" else token_deployment) as kept:
        yield kept


@pytest.fixture
def native_market(native_deployment: Market) -> Iterator[Market]:
    with kept_books(native_deployment) as kept:
        yield kept


@pytest.fixture
def token_market(token_deployment: Market) -> Iterator[Market]:
    with kept_books(token_deployment) as kept:
        yield kept


@pytest.fixture
def hostile_market(hostile_deployment: Market) -> Iterator[Market]:
    """An escrow of a token that can be told to misbehave."""
    with kept_books(hostile_deployment) as kept:
        yield kept


@pytest.fixture(params=["native", "token"])
def calling_market(
    request: pytest.FixtureRequest, native_deployment: Market, hostile_deployment: Market
) -> Iterator[Market]:
    """An escrow whose payments call the recipient."""
    native = request.param == "native"
    with kept_books(native_deployment if native else hostile_deployment) as kept:
        if kept.token is not None:
            kept.token.setMode(Mode.CALLS_BACK, sender=kept.actors.deployer)
        yield kept


@pytest.fixture(scope="session")
def wallet(project: ProjectManager, actors: Actors) -> ContractInstance:
    """A contract wallet of the stranger, with 1 ether."""
    deployed = actors.deployer.deploy(project.HostileWallet, actors.stranger)
    actors.deployer.transfer(deployed, "1 ether")
    return deployed
