"""A process may die between any two steps, and every step can be repeated."""

from collections.abc import Callable

import pytest
from escrow_world import HEARTBEAT_SECONDS, Coordinator, World, broadcast_raw
from settling import attestations, check_settled_once, due_booking, finish, persist_only

from aitbc_coordinator.settlement import attestations as attesting
from aitbc_coordinator.settlement import repository, transactions
from aitbc_coordinator.settlement.models import RelayState


def set_chain_time(world: World, now: int) -> None:
    """As if the chain were followed to a block of that time."""
    with world.context.database.session() as session:
        cursor = repository.cursor(session)
        assert cursor is not None
        cursor.block_timestamp = now


def attest_only(world: World) -> None:
    world.restart().settler.attest()
    assert world.transactions() == []


def broadcast_without_recording(world: World) -> None:
    persist_only(world)
    broadcast_raw(world, world.transactions()[0])
    world.node.drain()


def broadcast_and_record(world: World) -> None:
    persist_only(world)
    world.restart().carrier.broadcast()
    assert [row.state for row in world.transactions()] == [RelayState.SENT]


def observe_unconfirmed(world: World) -> None:
    broadcast_and_record(world)
    world.node.drain()
    world.restart().carrier.observe()
    assert [row.state for row in world.transactions()] == [RelayState.MINED]


def follow_without_observing(world: World) -> None:
    broadcast_and_record(world)
    world.node.drain()
    world.restart().follow()


def observe_without_reconciling(world: World) -> None:
    follow_without_observing(world)
    world.restart().carrier.observe()
    assert [row.state for row in world.transactions()] == [RelayState.FINAL]
    assert not any(row.settled for row in attestations(world))


@pytest.mark.parametrize(
    "until",
    [
        attest_only,
        persist_only,
        broadcast_without_recording,
        broadcast_and_record,
        observe_unconfirmed,
        follow_without_observing,
        observe_without_reconciling,
    ],
)
def test_a_process_that_dies_between_any_two_steps_pays_exactly_once(
    world: World, until: Callable[[World], None]
) -> None:
    terms = due_booking(world)
    until(world)
    raw = {row.raw for row in world.transactions()}
    finish(world)
    check_settled_once(world, terms)
    rows = world.transactions()
    assert len(rows) == 1
    assert raw <= {row.raw for row in rows}


def test_every_step_can_be_repeated(world: World) -> None:
    terms = due_booking(world)
    for _ in range(3):
        for step in ("attest", "reconcile", "settle"):
            getattr(world.restart().settler, step)()
            getattr(world.restart().settler, step)()
        for step in ("observe", "broadcast"):
            getattr(world.restart().carrier, step)()
            getattr(world.restart().carrier, step)()
        world.restart().relayers.bump()
        world.node.drain()
        world.restart().follow()
    world.restart().settler.step()
    check_settled_once(world, terms)
    assert len(world.transactions()) == len(attestations(world)) == 1


def test_two_settlers_on_one_database_give_each_nonce_one_owner(world: World) -> None:
    terms = due_booking(world)
    one, other = world.restart(), world.restart()
    one.settler.attest()
    other.settler.attest()
    one.settler.settle()
    other.settler.settle()
    sender = world.relayer_account.address
    with world.context.database.read() as session:
        assert transactions.free_nonce(session, sender, 0) == (1, 0)
    finish(world)
    check_settled_once(world, terms)
    assert len(world.transactions()) == 1


def test_no_heartbeat_that_is_in_time_is_too_late_for_the_attestation(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote(duration=60)
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 30)
    world.node.mine(at=terms.ends_at + 20)
    coordinator.follow()
    last_chance = terms.ends_at + world.context.settings.heartbeat_allowance
    set_chain_time(world, last_chance)
    coordinator.settler.attest()
    assert attestations(world) == []
    begin = terms.ends_at - HEARTBEAT_SECONDS
    world.post("/heartbeats", world.heartbeat(terms, 9, begin, terms.ends_at))
    coordinator.settler.attest()
    assert world.attestation(terms).used_seconds == 60


def test_what_was_not_delivered_is_attested_when_no_heartbeat_can_come(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote(duration=60)
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 30)
    world.pass_allowance(terms)
    late = world.heartbeat(terms, 9, terms.ends_at - HEARTBEAT_SECONDS, terms.ends_at)
    assert "at most the last 30 seconds" in world.post("/heartbeats", late, 403)["detail"]
    coordinator.follow()
    coordinator.settler.attest()
    assert world.attestation(terms).used_seconds == 30


def test_what_was_delivered_whole_is_attested_as_it_ends(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote(duration=60)
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 60)
    set_chain_time(world, terms.ends_at - 1)
    coordinator.settler.attest()
    assert attestations(world) == []
    coordinator.follow()
    coordinator.settler.attest()
    assert world.attestation(terms).used_seconds == 60


def test_what_is_closed_is_not_attested(world: World, coordinator: Coordinator) -> None:
    terms = world.quote()
    world.fund(terms)
    world.cancel(terms, by=world.provider)
    coordinator.follow()
    attesting.attest(world.context, [world.id_of(terms)])
    assert attestations(world) == []
