"""What Prometheus reads, and the rules and the run-book that rest on it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from escrow_world import COIN, Coordinator, World
from eth_account import Account
from scraping import free_port, scrape
from settling import due_booking, finish, persist_only
from sqlalchemy import text

from aitbc.errors import AitbcError
from aitbc.protocol.worth import SETTLE_GAS
from aitbc_coordinator import metrics
from aitbc_coordinator.cursor import chain_time, gas_price
from aitbc_coordinator.nodes import Nodes
from aitbc_coordinator.settlement import outbox
from aitbc_coordinator.settlement.watch import Watch

ROOT = Path(__file__).resolve().parents[3]
TROUBLED = "0x" + "7e" * 20
PARTS = {"node": "ok", "follower": "ok", "settler": "the relayer has too little coin"}


@pytest.fixture
def port(world: World) -> Iterator[int]:
    """Where the metrics of a coordinator are served whose settler fails."""
    relayers = [world.relayer_account.address]
    troubled = {TROUBLED}
    watch = Watch(
        world.context,
        world.escrow,
        relayers,
        checks=lambda: PARTS,
        leads=lambda: True,
        troubled=lambda: troubled,
    )
    world.context.metrics.registry.register(watch)
    port = free_port()
    with metrics.served(world.context.metrics, "127.0.0.1", port):
        yield port


def test_a_payout_is_seen_from_the_outbox_to_its_gas(world: World, port: int) -> None:
    terms = due_booking(world)
    coordinator = world.restart()
    before = scrape(port)
    assert (before["aitbc_outbox_bookings",], before["aitbc_outbox_age_seconds",]) == (0, 0)
    coordinator.settler.attest()
    waiting = scrape(port)
    assert waiting["aitbc_outbox_bookings",] == 1
    assert waiting["aitbc_outbox_age_seconds",] == world.context.now() - terms.ends_at
    assert waiting["aitbc_settle_latency_seconds_count",] == 0

    finish(world)
    world.restart().carrier.observe()
    paid = scrape(port)
    assert (paid["aitbc_outbox_bookings",], paid["aitbc_outbox_age_seconds",]) == (0, 0)
    [transaction] = world.transactions()
    receipt = world.node.web3.eth.get_transaction_receipt(transaction.tx_hash)  # type: ignore[arg-type]
    assert paid["aitbc_settle_gas_per_booking_sum",] == receipt["gasUsed"]
    assert paid["aitbc_settle_latency_seconds_count",] == 1
    with world.context.database.read() as session:
        longest = chain_time(session) - terms.ends_at
    shortest = world.context.settings.heartbeat_allowance
    assert shortest < paid["aitbc_settle_latency_seconds_sum",] <= longest


def test_the_follower_lags_by_what_is_confirmed_and_not_followed(
    world: World, coordinator: Coordinator, port: int
) -> None:
    coordinator.follow()
    assert scrape(port)["aitbc_follower_lag_blocks",] == 0
    world.node.mine(7)
    assert scrape(port)["aitbc_follower_lag_blocks",] == 7


def test_the_relayers_coin_is_counted_in_settlements(
    world: World, coordinator: Coordinator, port: int
) -> None:
    coordinator.follow()
    world.node.give_coin(world.relayer_account.address, COIN // 4)
    with world.context.database.read() as session:
        price = gas_price(session)
    seen = scrape(port)
    relayer = world.relayer_account.address
    assert seen["aitbc_relayer_balance", relayer] == 0.25
    assert seen["aitbc_relayer_settlements", relayer] == COIN // 4 // (price * SETTLE_GAS)


def test_each_relayer_is_told_apart(world: World, port: int) -> None:
    own = world.relayer_account.address
    seen = scrape(port)
    passed_over = "aitbc_relayer_passed_over"
    assert (seen[passed_over, own], seen[passed_over, TROUBLED]) == (0, 1)
    assert seen["aitbc_relayer_in_flight", own] == 0
    due_booking(world)
    other = Account.create()
    world.relayer_account = other
    world.node.give_coin(str(other.address))
    persist_only(world)
    seen = scrape(port)
    # Also of one whose key is not here.
    assert seen["aitbc_relayer_in_flight", other.address] == 1
    assert seen["aitbc_relayer_in_flight", own] == 0


def test_bookings_that_need_a_person_are_counted(world: World, port: int) -> None:
    terms = due_booking(world)
    coordinator = world.restart()
    coordinator.settler.attest()
    with world.context.database.session() as session:
        found = outbox.find_attestation(session, world.id_of(terms))
        assert found is not None
        found.attempts = outbox.MAX_ATTEMPTS
    seen = scrape(port)
    assert (seen["aitbc_stuck_bookings",], seen["aitbc_unclaimed_bookings",]) == (1, 0)
    assert seen["aitbc_outbox_bookings",] == 0
    world.node.mine(at=terms.ends_at + world.context.market.claim_window)
    coordinator.follow()
    seen = scrape(port)
    assert (seen["aitbc_stuck_bookings",], seen["aitbc_unclaimed_bookings",]) == (0, 1)


def test_what_fails_is_left_out_and_said(world: World, port: int) -> None:
    healthy = scrape(port)
    assert [healthy["aitbc_part_ok", part] for part in PARTS] == [1, 1, 0]
    assert (healthy["aitbc_up", "node"], healthy["aitbc_up", "database"]) == (1, 1)

    provider: Any = world.escrow.web3.provider
    right = provider.endpoints
    provider.endpoints = Nodes(["http://127.0.0.1:1/s3cr3t"], None).endpoints
    try:
        seen = scrape(port)
    finally:
        provider.endpoints = right
    assert (seen["aitbc_up", "node"], seen["aitbc_up", "database"]) == (0, 1)
    assert ("aitbc_relayer_balance", world.relayer_account.address) not in seen
    assert ("aitbc_outbox_bookings",) in seen

    with world.context.database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE attestation RENAME TO elsewhere"))
    try:
        seen = scrape(port)
    finally:
        with world.context.database.engine.begin() as connection:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO attestation"))
    assert (seen["aitbc_up", "node"], seen["aitbc_up", "database"]) == (1, 0)
    assert ("aitbc_outbox_bookings",) not in seen


def test_a_port_that_is_taken_is_said_with_what_to_do(world: World, port: int) -> None:
    with (
        pytest.raises(AitbcError, match=f"cannot serve metrics on 127.0.0.1 port {port}") as raised,
        metrics.served(world.context.metrics, "127.0.0.1", port),
    ):
        raise AssertionError("served twice")
    assert raised.value.hint is not None
    with metrics.served(world.context.metrics, "127.0.0.1", 0):
        pass


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def test_rules_use_what_is_served(world: World, port: int) -> None:
    served = {name for name, *_labels in scrape(port)} | {"up"}
    for rule in rules():
        used = re.search(r"\b(aitbc_\w+|up)\b", rule["expr"])
        assert used is not None
        assert used[1] in served, rule["alert"]


def test_each_alert_is_explained_in_the_run_book() -> None:
    explained = re.findall(r"^### (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert explained == [rule["alert"] for rule in rules()]


def test_the_run_book_says_how_to_read_them() -> None:
    page = (ROOT / "docs/runbook.md").read_text()
    [printed] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    [job] = yaml.safe_load(printed)["scrape_configs"]
    down = next(rule for rule in rules() if rule["alert"] == "CoordinatorDown")
    assert f'job="{job["job_name"]}"' in down["expr"]
    [[target]] = [config["targets"] for config in job["static_configs"]]
    assert f"`metrics_port = {target.rpartition(':')[2]}`" in page
