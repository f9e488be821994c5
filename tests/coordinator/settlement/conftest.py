"""A market on a real node, for each kind of database."""

import itertools
from collections.abc import Iterator

import pytest
from escrow_world import (
    CLAIM_WINDOW,
    FEE_BPS,
    FEE_RECIPIENT,
    Chain,
    Coordinator,
    Node,
    World,
    new_wallet,
)
from eth_account import Account
from fastapi.testclient import TestClient
from signed import Clock, Wallet, market_of

from aitbc.chain.escrow import Escrow
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
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
    node = Node.at(chain.rpc_url, clock)
    attester = chain.attester
    settings = settings.model_copy(
        update={
            "rpc_url": chain.rpc_url,
            "escrow": chain.escrow,
            "deploy_block": chain.deploy_block,
            "quote_seconds": 20,
            "minimum_seconds": 10,
        }
    )
    market = market_of(
        settings,
        attester.address,
        arbiter=chain.arbiter.address,
        fee_bps=FEE_BPS,
        fee_recipient=FEE_RECIPIENT,
        claim_window=CLAIM_WINDOW,
    )
    domain = market.domain
    escrow = Escrow(node.web3, domain, "NativeEscrow")
    context = Context(settings, database, market, Attester(attester, market), clock)
    provider, buyer, session_key = (new_wallet(domain) for _ in range(3))
    relayer = Account.create()
    for address in (provider.address, buyer.address, chain.arbiter.address, relayer.address):
        node.give_coin(address)
    with TestClient(create_app(context, checks=dict, alerts=list)) as client:
        made = World(
            node=node,
            escrow=escrow,
            context=context,
            client=client,
            relayer_account=relayer,
            provider=provider,
            session_key=session_key,
            buyer=buyer,
            arbiter=Wallet(chain.arbiter, domain),
            salts=itertools.count(1),
            started_with={},
        )
        for person in (provider, buyer):
            made.started_with[person.address] = made.balance(person.address)
        yield made


@pytest.fixture
def coordinator(world: World) -> Coordinator:
    return world.restart()
