"""Named actors and factories. Every test that takes `market` runs on both escrows."""

from collections.abc import Callable, Iterator

import pytest
from ape.api import AccountAPI
from ape.contracts import ContractInstance
from ape.managers.project import ProjectManager
from market import FEE_BPS, WINDOW, Actors, Market

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
def native_escrow(make_market: Callable[..., Market]) -> Market:
    return make_market(None)


@pytest.fixture(scope="session")
def token_escrow(
    project: ProjectManager, actors: Actors, make_market: Callable[..., Market]
) -> Market:
    return make_market(actors.deployer.deploy(project.TestDollar))


@pytest.fixture(params=["native", "token"])
def market(
    request: pytest.FixtureRequest, native_escrow: Market, token_escrow: Market
) -> Iterator[Market]:
    """A fresh view of one of the two escrows; the books are checked after the test."""
    deployed = {"native": native_escrow, "token": token_escrow}[request.param]
    fresh = Market(deployed.escrow, deployed.token, deployed.actors)
    yield fresh
    fresh.check_books()


@pytest.fixture
def hostile_token(project: ProjectManager, actors: Actors) -> ContractInstance:
    return actors.deployer.deploy(project.HostileToken)


@pytest.fixture
def hostile_market(
    hostile_token: ContractInstance, make_market: Callable[..., Market]
) -> Iterator[Market]:
    """An escrow of a token that can be told to misbehave; the books are checked after the test."""
    made = make_market(hostile_token)
    yield made
    made.check_books()


@pytest.fixture
def make_wallet(
    project: ProjectManager, actors: Actors
) -> Callable[[AccountAPI], ContractInstance]:
    """Deploys a contract wallet with 1 ether."""

    def make(owner: AccountAPI) -> ContractInstance:
        wallet = actors.deployer.deploy(project.HostileWallet, owner)
        actors.deployer.transfer(wallet, "1 ether")
        return wallet

    return make
