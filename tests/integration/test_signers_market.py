"""A market whose coordinator has no key: Web3Signer attests, and Clef's transactions carry it."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from brief_market import GAS_MONEY, SETTINGS
from people import Buyer, Provider
from stub_signer import StubSigner, new_key, serving_signer

from aitbc.errors import CoordinatorError
from http_stub import Answer
from local_market import LocalMarket, Node, OperatorKeys, coordinator_command, write_secret

PATIENCE_SECONDS = 60
BOOKED_SECONDS = 4
SECRET = "hunter2"


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.2)


@dataclass
class Signed:
    """The market and who signs for it."""

    market: LocalMarket
    attester: StubSigner
    relayer: StubSigner

    def settler(self) -> str:
        """What keeps it from settling, or `ok`."""
        answer = httpx.get(f"{self.market.coordinator_url}/readyz").json()
        return str(answer["checks"]["settler"])

    def kept_transactions(self) -> int:
        """How many its database has."""
        path = self.market.folder / "coordinator/coordinator.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            (count,) = database.execute("SELECT count(*) FROM relay_transaction").fetchone()
        return int(count)


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Signed]:
    attester, relayer = new_key(), new_key()
    node = Node(tmp_path)
    with ExitStack() as stack:
        stack.callback(node.stop)
        attests = stack.enter_context(serving_signer("web3signer", attester))
        relays = stack.enter_context(serving_signer("clef", relayer))
        node.give_coin(relayer.address, 10**18)
        settings = {
            **SETTINGS,
            "home": str(tmp_path / "coordinator"),
            "passphrase_file": str(write_secret(tmp_path / "passphrase")),
            "attester_signer": f"web3signer:{attests.url}/{SECRET}",
            "attester_address": attester.address,
            "relayer_signer": f"clef:{relays.url}/{SECRET}",
            "relayer_address": relayer.address,
        }
        env = {f"AITBC_COORDINATOR_{name.upper()}": value for name, value in settings.items()}
        recipient = str(list(node.web3.eth.accounts)[9])
        wish = ("--rpc", node.rpc_url, "--native", "--fee-recipient", recipient)
        found = json.loads(coordinator_command(env, "init", "--json", *wish))
        assert (found["attester"], found["relayers"]) == (attester.address, [relayer.address])
        begun = json.loads((tmp_path / "coordinator/deployment.json").read_text())
        keys = OperatorKeys(attester.address, relayer.address)
        market = LocalMarket(tmp_path, node, begun["escrow"], 0, None, keys, env)
        market.start_coordinator()
        stack.callback(market.coordinator.stop)
        yield Signed(market, attests, relays)


@pytest.mark.timeout(300)
def test_a_booking_is_quoted_attested_and_settled(signed: Signed) -> None:
    market = signed.market
    assert not list((market.folder / "coordinator").glob("keys/*"))
    told = coordinator_command(market.coordinator_settings, "doctor")
    assert f"attester {market.attester}" in told
    provider, buyer = Provider(market), Buyer(market)
    market.fund(buyer.address, GAS_MONEY, 10**18)
    gpu = provider.list_gpu()
    provider.open_session()

    signed.attester.answer = Answer(500)
    with pytest.raises(CoordinatorError, match="does not sign now") as refused:
        buyer.quote(gpu, BOOKED_SECONDS)
    assert (refused.value.status, refused.value.problem) == (503, "signer-unavailable")
    signed.attester.answer = None

    # Until it is mended, the relayer's signer pays more for gas than it was asked to.
    signed.relayer.alter = lambda asked: asked | {"maxFeePerGas": asked["maxFeePerGas"] + 1}
    sent = market.node.web3.eth.get_transaction_count(market.relayer)
    quote = buyer.quote(gpu, BOOKED_SECONDS)
    buyer.fund(quote.terms)
    provider.deliver(quote.booking_id, quote.terms, BOOKED_SECONDS)
    wait_for(lambda: "another maxFeePerGas than was asked" in signed.settler())
    assert market.node.web3.eth.get_transaction_count(market.relayer, "pending") == sent
    assert signed.kept_transactions() == 0
    signed.relayer.alter = lambda asked: asked

    def statuses() -> list[str]:
        return [booking.status for booking in buyer.coordinator.bookings(buyer=buyer.address).items]

    wait_for(lambda: statuses() == ["settled"])
    assert market.node.web3.eth.get_transaction_count(market.relayer) == sent + 1
    wait_for(lambda: signed.settler() == "ok")
    assert signed.kept_transactions() == 1
    log = market.coordinator.log.read_text()
    assert "another maxFeePerGas" in log
    assert SECRET not in log
