"""A market on a real node, for each kind of database."""

import itertools
from collections.abc import Iterator

import pytest
from escrow_world import (
    CLAIM_WINDOW,
    FEE_BPS,
    FEE_RECIPIENT,
    PURSE,
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
from aitbc.protocol.artifacts import EscrowName
from aitbc.protocol.funding import RELAYABLE
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement.fundings import Fundings
from aitbc_coordinator.settlement.relayer import Relayer


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
    yield from _open_world(chain, database, settings, clock, "NativeEscrow")


@pytest.fixture
def token_world(
    chain: Chain, database: Database, settings: Settings, clock: Clock
) -> Iterator[World]:
    """The same in a token, of which the buyer has some, while they have no coin."""
    for world in _open_world(chain, database, settings, clock, "TokenEscrow"):
        mint = chain.test_dollar.functions.mint(world.buyer.address, PURSE)
        world.node.send(world.provider, mint)
        world.node.give_coin(world.buyer.address, 0)
        yield world


def _open_world(
    chain: Chain, database: Database, settings: Settings, clock: Clock, contract: EscrowName
) -> Iterator[World]:
    node = Node.at(chain.rpc_url, clock)
    attester = chain.attester
    settings = settings.model_copy(
        update={
            "rpc_url": chain.rpc_url,
            "contract": contract,
            "escrow": chain.escrows[contract],
            "deploy_block": chain.deploy_block,
            "quote_seconds": 20,
            "minimum_seconds": 10,
            "settle_gas": 0,
        }
    )
    market = market_of(
        settings,
        attester.address,
        arbiter=chain.arbiter.address,
        fee_bps=FEE_BPS,
        fee_recipient=FEE_RECIPIENT,
        claim_window=CLAIM_WINDOW,
        token=chain.token if contract == "TokenEscrow" else None,
        relays=RELAYABLE if contract == "TokenEscrow" else (),
    )
    domain = market.domain
    escrow = Escrow(node.web3, domain, contract)
    context = Context(settings, database, market, Attester(attester, market), clock)
    provider, buyer, session_key = (new_wallet(domain) for _ in range(3))
    relayer = Account.create()
    for address in (provider.address, buyer.address, chain.arbiter.address, relayer.address):
        node.give_coin(address)
    fundings = Fundings(context, escrow, Relayer(context, escrow, relayer))
    app = create_app(context, checks=dict, alerts=list, fundings=fundings)
    with TestClient(app) as client:
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
