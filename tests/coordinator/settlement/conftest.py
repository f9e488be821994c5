"""A market on a real node, for each kind of database."""

import itertools
from collections.abc import Iterator

import pytest
from escrow_world import (
    CLAIM_WINDOW,
    FEE_BPS,
    FEE_RECIPIENT,
    ZERO,
    Coordinator,
    Node,
    World,
    new_wallet,
    run_anvil,
)
from eth_account import Account
from fastapi.testclient import TestClient
from signed import Clock

from aitbc.protocol import wire
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market import endpoints as market_endpoints
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement import endpoints as settlement_endpoints

ROUTERS = (market_endpoints.router, settlement_endpoints.router)


@pytest.fixture
def client(context: Context) -> Iterator[TestClient]:
    """The whole API, with bookings."""
    with TestClient(create_app(context, routers=ROUTERS)) as made:
        yield made


@pytest.fixture
def node_url() -> Iterator[str]:
    with run_anvil() as url:
        yield url


@pytest.fixture
def world(node_url: str, database: Database, settings: Settings, clock: Clock) -> Iterator[World]:
    """A fresh chain, escrow and database, with nothing followed yet."""
    node = Node.at(node_url, clock)
    attester = Account.create()
    escrow = node.deploy_escrow(attester.address)
    domain = escrow.domain
    deploy_block = node.web3.eth.block_number
    settings = settings.model_copy(
        update={
            "rpc_url": node_url,
            "escrow": domain.escrow,
            "deploy_block": deploy_block,
            "quote_seconds": 20,
            "minimum_seconds": 10,
        }
    )
    market = wire.Market(
        name="test market",
        chain_id=domain.chain_id,
        contract="NativeEscrow",
        escrow=domain.escrow,
        token=None,
        symbol="ETH",
        decimals=18,
        attester=attester.address,
        arbiter=ZERO,
        fee_bps=FEE_BPS,
        fee_recipient=FEE_RECIPIENT,
        claim_window=CLAIM_WINDOW,
        deploy_block=deploy_block,
        rpc_url=None,
        confirmations=settings.confirmations,
        quote_seconds=settings.quote_seconds,
        minimum_seconds=settings.minimum_seconds,
        maximum_seconds=settings.maximum_seconds,
        maximum_lead_seconds=settings.maximum_lead_seconds,
        heartbeat_allowance=settings.heartbeat_allowance,
    )
    context = Context(settings, database, market, Attester(attester, market), clock)
    provider, buyer, session_key = (new_wallet(domain) for _ in range(3))
    relayer = Account.create()
    for address in (provider.address, buyer.address, relayer.address):
        node.give_coin(address)
    with TestClient(create_app(context, routers=ROUTERS)) as client:
        made = World(
            node=node,
            escrow=escrow,
            context=context,
            client=client,
            relayer_account=relayer,
            provider=provider,
            session_key=session_key,
            buyer=buyer,
            salts=itertools.count(1),
            started_with={},
        )
        for person in (provider, buyer):
            made.started_with[person.address] = made.balance(person.address)
        yield made


@pytest.fixture
def coordinator(world: World) -> Coordinator:
    return world.restart()
