"""A real node with a real escrow, and the people and machines around it."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount
from fastapi.testclient import TestClient
from hexbytes import HexBytes
from signed import NOW, Clock, Wallet, listing, market_of, quote_request
from sqlmodel import Session, col, select
from web3 import Web3
from web3.exceptions import TransactionNotFound

import local_market
import permit2
from aitbc.chain.escrow import Escrow
from aitbc.protocol import wire
from aitbc.protocol.artifacts import EscrowName, load_artifact
from aitbc.protocol.funding import RELAYABLE
from aitbc.protocol.messages import Domain, Heartbeat, SessionGrant, Terms
from aitbc.protocol.metering import SignedHeartbeat, SignedSessionGrant
from aitbc.signing import Signer
from aitbc_coordinator import nodes
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement import models, outbox, repository
from aitbc_coordinator.settlement.carrier import Carrier
from aitbc_coordinator.settlement.follower import Follower
from aitbc_coordinator.settlement.fundings import Fundings
from aitbc_coordinator.settlement.models import AttestationKind
from aitbc_coordinator.settlement.relayers import Relayers
from aitbc_coordinator.settlement.settler import Settler
from deploying import deploy

CHAIN_ID = 31_337
COIN = 10**18
GWEI = 10**9
FEE_BPS = 100
CLAIM_WINDOW = 86_400
FEE_RECIPIENT = Web3.to_checksum_address("0x" + "fe" * 20)
HEARTBEAT_SECONDS = 30
PURSE = 10**21
"""Base units of the token that its buyer has."""


class Chain:
    """A node with an escrow of each kind, that every test finds as it was when just deployed."""

    def __init__(self, folder: Path) -> None:
        genesis = ("--timestamp", str(NOW), "--chain-id", str(CHAIN_ID))
        options = (*genesis, *local_market.STATES_IN_MEMORY)
        self._node = local_market.Node(folder, *options, block_seconds=0)
        self.rpc_url = self._node.rpc_url
        self.attester: LocalAccount = Account.create()
        self._call("evm_setNextBlockTimestamp", NOW + 1)
        self.arbiter: LocalAccount = Account.create()
        parties = (self.attester.address, self.arbiter.address)
        constructor = (*parties, FEE_BPS, FEE_RECIPIENT, CLAIM_WINDOW)
        web3 = self._node.web3
        native, self.deploy_block = deploy(web3, "NativeEscrow", *constructor)
        self.token, _ = deploy(web3, "TestDollar")
        of_token, _ = deploy(web3, "TokenEscrow", self.token, *constructor)
        self.escrows: dict[EscrowName, str] = {"NativeEscrow": native, "TokenEscrow": of_token}
        permit2.deploy(web3, self._node.faucet)
        self._snapshot = self._call("evm_snapshot")

    def rewind(self) -> None:
        # Before automine, which begins to mine whatever waits.
        self._call("anvil_dropAllTransactions")
        assert self._call("evm_revert", self._snapshot)
        self._call("evm_setAutomine", True)
        self._snapshot = self._call("evm_snapshot")
        self._call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))

    @property
    def test_dollar(self) -> Any:
        abi = load_artifact("TestDollar").abi
        return self._node.web3.eth.contract(Web3.to_checksum_address(self.token), abi=abi)

    def stop(self) -> None:
        self._node.stop()

    def _call(self, method: str, *params: Any) -> Any:
        return call(self._node.web3, method, *params)


def call(web3: Web3, method: str, *params: Any) -> Any:
    """One of anvil's own methods."""
    answer = web3.provider.make_request(method, list(params))
    assert "error" not in answer, answer
    return answer["result"]


@dataclass
class Node:
    """What a test makes a node do. Time on the chain moves only when a test moves it."""

    web3: Web3
    clock: Clock
    sent: dict[str, list[HexBytes]] = field(default_factory=dict)
    """By sender: hashes of transactions, some of which a reorg may have taken back."""

    @classmethod
    def at(cls, url: str, clock: Clock) -> "Node":
        node = cls(nodes.connect([url], CHAIN_ID), clock)
        node._sync()
        return node

    def call(self, method: str, *params: Any) -> Any:
        return call(self.web3, method, *params)

    def mine(self, blocks: int = 1, *, at: int | None = None) -> None:
        """Mine blocks a second apart, the first of them at a time."""
        self._next_block(at)
        self.call("evm_mine")
        if blocks > 1:
            self.call("anvil_mine", hex(blocks - 1), hex(1))
        self._sync()

    def drain(self) -> None:
        """Wait until the node has mined what it was sent."""
        while int(self.call("txpool_status")["pending"], 16):
            time.sleep(0.01)

    def give_coin(self, address: str, amount: int = 100 * COIN) -> None:
        self.call("anvil_setBalance", address, hex(amount))

    def send(self, wallet: Wallet, function: Any, value: int = 0, *, at: int | None = None) -> Any:
        """A person's transaction, mined at once (`at` a time); its receipt."""
        self._next_block(at)
        address = wallet.account.address
        transaction = function.build_transaction(
            {
                "from": address,
                "value": value,
                "nonce": self.web3.eth.get_transaction_count(address, "latest"),
                "gas": 500_000,
            }
        )
        raw = wallet.account.sign_transaction(transaction).raw_transaction
        receipt = self.web3.eth.wait_for_transaction_receipt(
            self.web3.eth.send_raw_transaction(raw), timeout=20, poll_latency=0.01
        )
        self._sync()
        assert receipt["status"] == 1
        self.sent.setdefault(address, []).append(receipt["transactionHash"])
        return receipt

    def gas_paid(self, address: str) -> int:
        spent = 0
        for tx_hash in self.sent.get(address, []):
            with suppress(TransactionNotFound):
                receipt = self.web3.eth.get_transaction_receipt(tx_hash)
                spent += receipt["gasUsed"] * receipt["effectiveGasPrice"]
        return spent

    def _next_block(self, at: int | None = None) -> None:
        latest = self.web3.eth.get_block("latest")["timestamp"]
        self.call("evm_setNextBlockTimestamp", max(latest + 1, at or 0))

    def _sync(self) -> None:
        self.clock.now = self.web3.eth.get_block("latest")["timestamp"]


@dataclass
class World:
    """A market on a node: provider with a listed GPU, buyer, and the coordinator's parts."""

    node: Node
    escrow: Escrow
    context: Context
    client: httpx.Client
    relayer_account: Any
    provider: Wallet
    session_key: Wallet
    buyer: Wallet
    arbiter: Wallet
    salts: Iterator[int]
    started_with: dict[str, int]
    more_relayers: list[Any] = field(default_factory=list)

    @cached_property
    def gpu_id(self) -> str:
        signed = listing(self.provider, signed_at=self.context.now(), **PRICES)
        return str(self.post("/gpus", signed)["id"])

    def restart(self) -> "Coordinator":
        """The follower and the settler as a new process would make them."""
        return Coordinator(self)

    def post(self, path: str, body: Any, status: int | None = None) -> Any:
        answer = self.client.post("/v1" + path, json=body.model_dump(mode="json"))
        assert answer.status_code == status if status else answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = self.client.get("/v1" + path)
        assert answer.is_success, answer.text
        return answer.json()

    def booking(self, terms: Terms) -> wire.Booking:
        return wire.Booking.model_validate(self.get(f"/bookings/{self.id_of(terms)}"))

    def id_of(self, terms: Terms) -> str:
        return terms.booking_id(self.escrow.domain)

    def quote(self, duration: int = 60, starts_at: int = 0) -> Terms:
        request = self.quote_request(duration, starts_at)
        return wire.SignedQuotes.model_validate(self.post("/quotes", request)).items[0].terms

    def quote_request(self, duration: int = 60, starts_at: int = 0) -> wire.SignedQuoteRequest:
        return quote_request(
            self.buyer,
            self.gpu_id,
            duration=duration,
            starts_at=starts_at,
            salt=next(self.salts),
            max_price=COIN * 100,
            signed_at=self.context.now(),
        )

    def fund(self, terms: Terms) -> Any:
        function = self.escrow.functions.fund(terms.abi_values())
        return self.node.send(self.buyer, function, value=terms.amount)

    def cancel(self, terms: Terms, by: Wallet) -> None:
        self.node.send(by, self.escrow.functions.cancel(terms.abi_values()))

    def dispute(self, terms: Terms, *, at: int | None = None) -> None:
        self.node.send(self.buyer, self.escrow.functions.dispute(terms.abi_values()), at=at)

    def resolve(self, terms: Terms, earned: int) -> None:
        function = self.escrow.functions.resolve(terms.abi_values(), earned)
        self.node.send(self.arbiter, function)

    def grant(self) -> None:
        message = SessionGrant(
            provider=self.provider.address,
            session_key=self.session_key.address,
            expires_at=self.context.now() + 86_400,
        )
        signature = self.provider.sign(message)
        self.post("/sessions", SignedSessionGrant(grant=message, signature=signature), 201)

    def heartbeat(self, terms: Terms, sequence: int, begin: int, end: int) -> SignedHeartbeat:
        message = Heartbeat(
            booking_id=self.id_of(terms),
            sequence=sequence,
            covers_from=begin,
            covers_until=end,
            telemetry="{}",
        )
        return SignedHeartbeat(heartbeat=message, signature=self.session_key.sign(message))

    def deliver(self, terms: Terms, seconds: int) -> None:
        """Let time pass from the start on, with heartbeats for the first `seconds`."""
        self.grant()
        begin = terms.starts_at
        for sequence in range(-(-seconds // HEARTBEAT_SECONDS)):
            end = min(begin + HEARTBEAT_SECONDS, terms.starts_at + seconds)
            self.node.mine(at=end)
            self.post("/heartbeats", self.heartbeat(terms, sequence, begin, end))
            begin = end

    def pass_allowance(self, terms: Terms) -> None:
        """Let a booking end, and the time for its last heartbeat."""
        self.node.mine(at=terms.ends_at + self.context.settings.heartbeat_allowance + 1)

    def balance(self, address: str) -> int:
        return int(self.node.web3.eth.get_balance(Web3.to_checksum_address(address)))

    def transactions(self) -> list[models.RelayTransaction]:
        with self.context.database.read() as session:
            rows = select(models.RelayTransaction).order_by(col(models.RelayTransaction.id))
            return list(session.exec(rows).all())

    def call_of(self, row: models.RelayTransaction) -> tuple[str, list[Any]]:
        """The verb of a persisted transaction, and what it settles."""
        function, arguments = self.escrow.contract.decode_function_input(HexBytes(row.calldata))
        settled, _signature = arguments.values()
        return function.fn_name, settled

    def attestation(
        self, terms: Terms, kind: AttestationKind = AttestationKind.COMPLETION
    ) -> models.Attestation:
        with self.context.database.read() as session:
            found = outbox.find_attestation(session, self.id_of(terms), kind)
            assert found is not None
            return found

    def cursor_block(self) -> int:
        """Up to which block the chain was followed."""
        with self.context.database.read() as session:
            cursor = repository.cursor(session)
        assert cursor is not None
        return cursor.block_number

    def check_conservation(self, *all_terms: Terms) -> None:
        """Every wei that was funded is with a party, credited as a fee, or in the escrow."""
        rows = [self.booking(terms) for terms in all_terms]
        for row in rows:
            assert row.terms.amount == row.paid + row.fee + row.refunded + row.remaining
            slot = self.escrow.slot(row.id)
            assert slot.remaining == row.remaining
        paid, refunded = sum(row.paid for row in rows), sum(row.refunded for row in rows)
        fees, remaining = sum(row.fee for row in rows), sum(row.remaining for row in rows)
        funded = sum(row.terms.amount for row in rows)
        assert self._gained(self.provider) == paid
        assert self._gained(self.buyer) == refunded - funded
        assert self.escrow.owed(FEE_RECIPIENT) == fees
        assert self.escrow.balance() == remaining + fees
        assert funded == paid + refunded + fees + remaining

    def _gained(self, wallet: Wallet) -> int:
        gas = self.node.gas_paid(wallet.address)
        return self.balance(wallet.address) + gas - self.started_with[wallet.address]


PRICES = {"base_price": COIN, "floor_price": COIN // 2, "ceiling_price": 2 * COIN}


@contextmanager
def open_world(
    chain: Chain, database: Database, settings: Settings, clock: Clock, contract: EscrowName
) -> Iterator[World]:
    """A fresh escrow of a kind, on a chain that stands as it was when deployed."""
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
    context = Context(settings, database, market, Attester(Signer(attester), market), clock)
    provider, buyer, session_key = (new_wallet(domain) for _ in range(3))
    relayer = Account.create()
    for address in (provider.address, buyer.address, chain.arbiter.address, relayer.address):
        node.give_coin(address)
    fundings = Fundings(context, escrow, Relayers(context, escrow, [relayer]))
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


class Coordinator:
    """The background half of one process."""

    def __init__(self, world: World) -> None:
        self._world = world
        context, escrow = world.context, world.escrow
        self.follower = Follower(context.database, escrow, context.settings)
        self.carrier = Carrier(context, escrow)
        self.relayers = Relayers(context, escrow, [world.relayer_account, *world.more_relayers])
        self.settler = Settler(context, escrow, self.relayers)

    def follow(self, *, confirm: bool = True) -> None:
        """Follow the chain to its end; with `confirm`, all that was mined so far."""
        if confirm:
            self._world.node.mine(self._world.context.settings.confirmations)
        while self.follower.step():
            pass

    def settle(self) -> None:
        """One pass of the settler, whose transactions are mined and confirmed."""
        self.settler.step()
        self._world.node.drain()
        self.follow()
        self.settler.step()


def new_wallet(domain: Domain) -> Wallet:
    return Wallet(Account.create(), domain)


def event_names(session: Session, booking_id: str) -> list[str]:
    return [row.name for row in repository.events_of(session, [booking_id])]


def broadcast_raw(world: World, transaction: models.RelayTransaction) -> None:
    """Send a persisted transaction as a process does that dies before it records so."""
    world.node.web3.eth.send_raw_transaction(HexBytes(transaction.raw))
