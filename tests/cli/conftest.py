"""People at a terminal: each with a home of their own and the installed `aitbc`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from canned import Canned, canned_coordinator
from patient_market import SETTINGS

from escrow_lab import EscrowLab
from local_market import LocalMarket, Node, User, open_market, write_secret
from wallets import give_operator_keys, give_wallet

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def newcomer(tmp_path: Path) -> User:
    """Somebody whose home does not exist yet, with no coordinator and no node to reach."""
    return User(
        role="newcomer",
        home=tmp_path / "home",
        passphrase_file=write_secret(tmp_path / "passphrase"),
        coordinator_url=NOWHERE,
        rpc_url=NOWHERE,
        background=[],
    )


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    started = Node(tmp_path_factory.mktemp("cli-node"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def lab(node: Node) -> EscrowLab:
    """A token escrow on the node; it has no coordinator."""
    return EscrowLab(node, native=False)


@pytest.fixture
def canned() -> Iterator[Canned]:
    with canned_coordinator() as made:
        yield made


@pytest.fixture
def resident(lab: EscrowLab, tmp_path: Path) -> Callable[[str], User]:
    """Makes somebody whose home holds a key of the lab and its market; nobody coordinates."""

    def move_in(role: str) -> User:
        user = User(
            role=role,
            home=tmp_path / role,
            passphrase_file=write_secret(tmp_path / f"{role}.passphrase"),
            coordinator_url=NOWHERE,
            rpc_url=lab.node.rpc_url,
            background=[],
        )
        lab.profile(user.home)
        account = getattr(lab, role)
        give_wallet(user.home / "keystore", user.passphrase_file, account=account)
        return user

    return move_in


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    """A whole market: node, escrow, coordinator."""
    folder = tmp_path_factory.mktemp("cli-market")
    market = open_market(folder, settings=SETTINGS, give_keys=give_operator_keys)
    yield market
    market.close()
