"""An operator's node, and a log that the program may configure."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from founding import COIN
from operators import Operator, logging_restored

from aitbc.files import write_private
from local_market import Node
from wallets import give_wallet


@pytest.fixture
def own_log() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("node"))
    yield made
    made.stop()


@pytest.fixture
def relayer() -> LocalAccount:
    account: LocalAccount = Account.create()
    return account


@pytest.fixture
def operator(tmp_path: Path, node: Node, relayer: LocalAccount) -> Operator:
    """Somebody with keys, and coin for gas."""
    made = Operator(tmp_path / "home")
    passphrase = made.home / "passphrase"
    write_private(passphrase, "quick\n")
    give_wallet(made.home / "keys", passphrase, name="relayer", account=relayer)
    give_wallet(made.home / "keys", passphrase, name="attester")
    node.give_coin(str(relayer.address), COIN)
    return made
