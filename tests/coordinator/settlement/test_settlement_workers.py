"""The background threads: they work by themselves, and say what keeps them from it."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO

import pytest
import structlog
from escrow_world import World
from sqlalchemy import text
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.errors import ChainError
from aitbc_coordinator import logs
from aitbc_coordinator.database import Database
from aitbc_coordinator.nodes import Nodes
from aitbc_coordinator.settlement.workers import Worker, Workers

ALL_OK = {"node": "ok", "follower": "ok", "settler": "ok", "market": "ok", "clock": "ok"}
PATIENCE_SECONDS = 60


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@pytest.fixture
def log() -> Iterator[StringIO]:
    stream = StringIO()
    root = logging.getLogger()
    before = root.handlers, root.level
    logs.configure(stream=stream)
    yield stream
    root.handlers, root.level = before
    structlog.reset_defaults()


def entries(log: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_the_threads_take_a_booking_from_funding_to_payout(world: World) -> None:
    terms = world.quote()
    running = Workers(world.context, world.escrow, [world.relayer_account])
    running.start()
    try:
        world.fund(terms)
        world.node.mine(2)
        url = f"/v1/bookings/{world.id_of(terms)}"
        wait_until(lambda: world.client.get(url).status_code == 200)
        world.deliver(terms, 60)
        world.pass_allowance(terms)

        def paid() -> bool:
            world.node.mine()
            return world.booking(terms).status == "settled"

        wait_until(paid)
        wait_until(lambda: running.checks() == ALL_OK)
    finally:
        running.stop()
    world.check_conservation(terms)


def test_a_node_that_is_down_is_named_without_the_key_in_its_url(
    world: World, log: StringIO
) -> None:
    secret = "v3rys3cr3t"
    web3 = Web3(Nodes([f"http://127.0.0.1:1/{secret}"], 31_337))
    escrow = Escrow(web3, world.escrow.domain, "NativeEscrow")
    made = Workers(world.context, escrow, [world.relayer_account])
    assert set(made.checks().values()) == {"its first pass is under way"}
    assert made._follow.run_once() is False
    assert made._settle.run_once() is False
    checks = made.checks()
    assert checks["node"] == checks["follower"]
    assert checks["node"] == "the node at http://127.0.0.1:1 fails: it cannot be reached"
    assert made.alerts() == ["the node at http://127.0.0.1:1 is passed over: it cannot be reached"]
    assert secret not in json.dumps(checks) + log.getvalue()

    web3.provider = Nodes([world.context.settings.rpc_url], 31_337)
    made._follow.run_once()
    made._settle.run_once()
    made._market.run_once()
    made._clock.run_once()
    assert made.checks() == ALL_OK


@pytest.mark.parametrize(
    ("off_by", "words"),
    [
        (-31, "this machine's clock is 31 seconds behind block "),
        (-30, None),
        (300, None),
        (301, "is 301 seconds old: the chain or the node stands still, or this machine's clock"),
    ],
)
def test_a_clock_that_is_not_the_chains_is_said(
    world: World, off_by: int, words: str | None
) -> None:
    made = Workers(world.context, world.escrow, [world.relayer_account])
    world.node.clock.now += off_by
    made._clock.run_once()
    said = made.checks()["clock"]
    assert said == "ok" if words is None else words in said


def test_a_chain_that_mines_on_demand_has_blocks_of_any_age(world: World) -> None:
    settings = world.context.settings.model_copy(update={"oldest_head_seconds": 0})
    context = replace(world.context, settings=settings)
    made = Workers(context, world.escrow, [world.relayer_account])
    world.node.clock.now += 10_000
    made._clock.run_once()
    assert made.checks()["clock"] == "ok"


def test_a_defect_is_logged_with_its_traceback_and_reported_until_a_pass_succeeds(
    log: StringIO,
) -> None:
    outcomes = iter([ZeroDivisionError("boom"), None])

    def step() -> bool:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return True

    worker = Worker("settler", step, 1.0)
    assert worker.run_once() is False
    assert worker.status == "a defect stops it: ZeroDivisionError, see the log"
    entry = entries(log)[-1]
    assert (entry["level"], entry["worker"]) == ("error", "settler")
    assert "Traceback" in str(entry["exception"])
    assert worker.run_once() is True
    assert worker.status == "ok"


def test_what_a_person_can_mend_is_reported_with_what_to_do(log: StringIO) -> None:
    def step() -> bool:
        raise ChainError("the relayer has too little coin", hint="send it some")

    worker = Worker("settler", step, 1.0)
    worker.run_once()
    assert worker.status == "the relayer has too little coin; send it some"
    assert entries(log)[-1]["reason"] == worker.status


def test_a_failing_step_is_repeated_and_a_thread_stops_when_told() -> None:
    calls = []

    def step() -> bool:
        calls.append(None)
        if len(calls) == 1:
            raise ValueError("once")
        return len(calls) < 5

    worker = Worker("follower", step, 0.01)
    worker.start()
    wait_until(lambda: len(calls) > 6)
    worker.ask_to_stop()
    worker.join()
    seen = len(calls)
    time.sleep(0.05)
    assert len(calls) == seen
    assert worker.status == "ok"


def test_bookings_that_need_a_person_are_alerts_and_logged_once(
    world: World, log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(at=terms.ends_at + world.context.market.claim_window)
    world.restart().follow()
    made = Workers(world.context, world.escrow, [world.relayer_account])
    assert made.alerts() == []
    stuck = ["b-1"]
    monkeypatch.setattr(made._settler, "stuck", lambda: stuck)
    made._follow.run_once()
    made._market.run_once()
    made._clock.run_once()
    for _ in range(2):
        made._settle.run_once()
    left = f"booking {world.booking(terms).short_id} is open past its claim window: it is left to"
    assert made.alerts() == [
        "booking b-1 could not be settled, and is not tried again",
        f"{left} reclaim",
    ]
    assert made.checks() == ALL_OK
    logged = [entry["reason"] for entry in entries(log) if entry["level"] == "error"]
    assert logged == made.alerts()

    stuck.clear()
    world.node.send(world.buyer, world.escrow.functions.reclaim(terms.abi_values()))
    world.restart().follow()
    made._settle.run_once()
    assert made.alerts() == []


def test_what_another_coordinator_does_is_left_to_it(world: World) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(2)
    leader = Workers(world.context, world.escrow, [world.relayer_account])
    replica = replace(world.context, database=Database(world.context.database.url))
    stands_by = Workers(replica, world.escrow, [world.relayer_account])
    leader._market.run_once()
    for worker in stands_by._workers:
        worker.run_once()
    assert (leader.leads(), stands_by.leads()) == (True, False)
    assert stands_by.checks() == ALL_OK
    url = f"/v1/bookings/{world.id_of(terms)}"
    assert world.client.get(url).status_code == 404
    with world.context.database.session() as session:
        assert session.execute(text("SELECT count(*) FROM chain_cursor")).scalar_one() == 0
        session.execute(text("DELETE FROM region_hour"))
    for worker in stands_by._workers:
        worker.run_once()
    with world.context.database.read() as session:
        assert session.execute(text("SELECT count(*) FROM region_hour")).scalar_one() == 0

    leader._leadership.release()
    stands_by._follow.run_once()
    assert stands_by.leads()
    assert world.client.get(url).status_code == 200
    stands_by._leadership.release()
    replica.database.close()
