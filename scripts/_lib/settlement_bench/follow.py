"""How fast events are followed into a database, beside reading them with web3 and as they are."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from eth_abi import abi as eth_abi
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from sqlmodel import col, func, select
from web3 import HTTPProvider, Web3
from web3.types import FilterParams

from aitbc.chain.escrow import Escrow
from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.events import EscrowEvent
from aitbc.protocol.messages import Domain, Terms
from aitbc_coordinator import nodes
from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement.follower import Follower
from aitbc_coordinator.settlement.models import Booking, BookingState
from local_market import LocalMarketError
from market_bench.databases import Kind
from settlement_bench.bookings import BEATS, Booked, booked
from settlement_bench.facts import Facts
from settlement_bench.stub import History, block_hash

DOMAIN = Domain(chain_id=31_337, escrow="0x" + "e5" * 20)
GENESIS = 2_000_000_000
BUYER = "0x" + "b1" * 20
BOOKINGS_IN_A_BLOCK = 5
BLOCKS_TO_SETTLE = 100
"""From a booking's funding to its payout."""
FEE = 1
PROVIDERS = 50

Range = tuple[int, int]


class Following:
    """A chain on which bookings were funded and settled, and the facts behind them."""

    def __init__(self, count: int) -> None:
        self.facts = Facts(DOMAIN, PROVIDERS)
        self.bookings = booked(BUYER, self.facts.providers, count, GENESIS)
        self.history = _history(self.bookings)
        self.events = 2 * count

    def database(self, kind: Kind) -> str:
        """The URL of a database that knows all but the chain; nobody is connected to it."""
        url = kind.market()
        database = Database(url)
        with database.session() as session:
            self.facts.add_providers(session, GENESIS)
            self.facts.add_quoted(session, [each.terms for each in self.bookings])
        database.close()
        return url

    def follow(self, node_url: str, database_url: str) -> tuple[float, list[Range]]:
        """Follow all of it. Returns the seconds, and which ranges of blocks were asked for.

        Raises LocalMarketError where a booking is not as it should be then.
        """
        settings = Settings(
            rpc_url=node_url,
            chain_id=DOMAIN.chain_id,
            contract="NativeEscrow",
            escrow=DOMAIN.escrow,
            deploy_block=0,
            confirmations=0,
            passphrase_file=Path(),
        )
        database = Database(database_url)
        web3 = nodes.connect(settings.rpc_urls, settings.chain_id)
        escrow = _Asked(web3, DOMAIN, settings.contract)
        follower = Follower(database, escrow, settings)
        begun = time.perf_counter()
        while follower.step():
            pass
        seconds = time.perf_counter() - begun
        settled = (col(Booking.state) == BookingState.CLOSED, ~col(Booking.refused))
        with database.read() as session:
            found = session.exec(select(func.count()).where(*settled)).one()
        database.close()
        if found != len(self.bookings):
            raise LocalMarketError(f"{found} of {len(self.bookings)} bookings were followed")
        return seconds, escrow.ranges


class _Asked(Escrow):
    """Remembers which ranges were asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ranges: list[Range] = []

    def events(self, from_block: int, to_block: int) -> list[EscrowEvent]:
        self.ranges.append((from_block, to_block))
        return super().events(from_block, to_block)


def read_with_web3(url: str, ranges: Sequence[Range]) -> float:
    """Seconds in which web3 reads the logs of these ranges, and decodes each."""
    contract = Escrow(Web3(HTTPProvider(url)), DOMAIN, "NativeEscrow").contract
    codecs = {HexBytes(event.topic): event for event in contract.all_events()}
    begun = time.perf_counter()
    for first, last in ranges:
        query: FilterParams = {
            "address": contract.address,
            "fromBlock": first,
            "toBlock": last,
        }
        for log in contract.w3.eth.get_logs(query):
            codecs[log["topics"][0]].process_log(log)
    return time.perf_counter() - begun


def read_raw(url: str, ranges: Sequence[Range]) -> float:
    """Seconds in which the same answers are fetched, and parsed with the standard json."""
    with requests.Session() as session:
        begun = time.perf_counter()
        for first, last in ranges:
            query = {"address": DOMAIN.escrow, "fromBlock": hex(first), "toBlock": hex(last)}
            body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]}
            json.loads(session.post(url, json=body, timeout=60).content)
        return time.perf_counter() - begun


def _history(bookings: Sequence[Booked]) -> History:
    """Each is funded in a block with others, and settled some blocks later."""
    blocks: list[list[str]] = []
    for number, each in enumerate(bookings):
        funded_in = number // BOOKINGS_IN_A_BLOCK
        while len(blocks) <= funded_in + BLOCKS_TO_SETTLE:
            blocks.append([])
        booking_id = each.terms.booking_id(DOMAIN)
        for block, event in (
            (funded_in, _funded(booking_id, each.terms)),
            (funded_in + BLOCKS_TO_SETTLE, _settled(booking_id, each)),
        ):
            blocks[block].append(_log(block, len(blocks[block]), *event))
    return History(DOMAIN.chain_id, GENESIS, blocks)


Event = tuple[str, list[bytes], bytes]
"""Name, indexed words behind the first, and data."""


def _funded(booking_id: str, terms: Terms) -> Event:
    parties = [eth_abi.encode(["address"], [party]) for party in (terms.buyer, terms.provider)]
    return "Funded", [bytes.fromhex(booking_id[2:]), *parties], terms.abi_words()


def _settled(booking_id: str, each: Booked) -> Event:
    topics = [bytes.fromhex(booking_id[2:])]
    if each.beats == BEATS:
        return "SettledInFull", topics, eth_abi.encode(["uint256"], [FEE])
    values = [each.earned - FEE, FEE, each.terms.amount - each.earned, b"\x11" * 32]
    types = ["uint256", "uint256", "uint256", "bytes32"]
    return "Settled", topics, eth_abi.encode(types, values)


def _log(block: int, index: int, name: str, topics: Sequence[bytes], data: bytes) -> str:
    """An event as a node writes it."""
    return json.dumps(
        {
            "address": DOMAIN.escrow,
            "topics": [_TOPICS[name], *("0x" + topic.hex() for topic in topics)],
            "data": "0x" + data.hex(),
            "blockNumber": hex(block),
            "blockHash": block_hash(block),
            "blockTimestamp": hex(GENESIS + block),
            "transactionHash": f"0x{block << 32 | index:064x}",
            "transactionIndex": "0x0",
            "logIndex": hex(index),
            "removed": False,
        }
    )


_ABI: Any = load_artifact("NativeEscrow").abi
_TOPICS = {
    item["name"]: "0x" + event_abi_to_log_topic(item).hex()
    for item in _ABI
    if item["type"] == "event"
}
