"""A coordinator with a public URL and an operator, and people who sign in there."""

from collections.abc import Callable

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from fastapi.testclient import TestClient
from visitors import URL, Visitor

from aitbc_coordinator.settings import Settings


@pytest.fixture
def operator_account() -> LocalAccount:
    account: LocalAccount = Account.create()
    return account


@pytest.fixture
def settings(settings: Settings, operator_account: LocalAccount) -> Settings:
    fields = settings.model_dump() | {
        "public_url": f"{URL}/",
        "operator_wallets": f"0x{'Ab' * 20}, {operator_account.address.lower()}",
    }
    return Settings(**fields)


@pytest.fixture
def visitor(client: TestClient) -> Visitor:
    return Visitor(Account.create(), client)


@pytest.fixture
def operator(client: TestClient, operator_account: LocalAccount) -> Visitor:
    return Visitor(operator_account, client)


@pytest.fixture
def stranger(client: TestClient) -> Callable[[], Visitor]:
    """Makes somebody else."""
    return lambda: Visitor(Account.create(), client)
