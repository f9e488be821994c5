"""Whole markets on real parts: one in a token, one in the chain's coin, each for one file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brief_market import GAS_MONEY, SETTINGS
from scraping import free_port

from local_market import LocalMarket, User, open_market
from wallets import give_operator_keys, give_wallet


def _market(folder: Path, *, native: bool) -> Iterator[LocalMarket]:
    settings = {**SETTINGS, "metrics_port": str(free_port())}
    market = open_market(folder, native=native, settings=settings, give_keys=give_operator_keys)
    try:
        yield market
    finally:
        market.close()


@pytest.fixture(scope="module")
def token_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    yield from _market(tmp_path_factory.mktemp("token-market"), native=False)


@pytest.fixture(scope="module")
def native_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    yield from _market(tmp_path_factory.mktemp("native-market"), native=True)


def settle(market: LocalMarket, role: str) -> User:
    """Somebody with a wallet and the market pinned."""
    user = market.user(role)
    give_wallet(user.home / "keystore", user.passphrase_file)
    user.json("init")
    return user


@pytest.fixture(scope="module")
def newcomer(token_market: LocalMarket) -> Callable[[str], User]:
    """Makes somebody with a wallet and nothing in it, in the token market."""
    return lambda role: settle(token_market, role)


@pytest.fixture(scope="module")
def provider(token_market: LocalMarket) -> User:
    """A provider with a wallet, in the token market."""
    return settle(token_market, "the-provider")


@pytest.fixture(scope="module")
def buyer(token_market: LocalMarket) -> User:
    """A buyer with a wallet, coin for gas and 100 test dollars, in the token market."""
    user = settle(token_market, "the-buyer")
    token_market.fund(user.address, GAS_MONEY, 100 * 10**6)
    return user
