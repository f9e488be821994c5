"""The projection is what the chain says: read again from nothing, it is what it was."""

from typing import Any

import pytest
from escrow_world import Coordinator, World
from fault_proxy import Fault, faulty
from settling import attestations, check_settled_once, due_booking, finish, projected
from sqlmodel import col, select, update
from web3 import Web3
from web3.exceptions import Web3Exception

from aitbc.chain.escrow import Escrow
from aitbc.errors import ChainError
from aitbc_coordinator.market.models import Delivery, Reservation
from aitbc_coordinator.nodes import Nodes
from aitbc_coordinator.rebuild import Rebuilt, rebuild_projection
from aitbc_coordinator.settlement.models import AttestationKind, Booking, RelayState

CLAIM = AttestationKind.CLAIM


def rebuild(world: World) -> Rebuilt:
    return rebuild_projection(world.context.database, world.escrow, world.context.settings)


def reservations(world: World) -> set[tuple[Any, ...]]:
    with world.context.database.read() as session:
        rows = session.exec(select(Reservation)).all()
    return {(row.quote_id, row.gpu_id, row.starts_at, row.held_until) for row in rows}


def test_what_is_rebuilt_is_what_was_followed(world: World, coordinator: Coordinator) -> None:
    paid = due_booking(world)
    finish(world)
    cancelled = world.quote(starts_at=paid.ends_at + 3600)
    world.fund(cancelled)
    coordinator.follow()
    world.cancel(cancelled, world.buyer)
    coordinator.follow()
    # What was freed was sold again, and what was sold is held for nobody else.
    running = world.quote(starts_at=cancelled.starts_at)
    world.fund(running)
    coordinator.follow()
    world.quote(starts_at=running.ends_at)
    before, reserved = projected(world.context.database), reservations(world)
    assert len(reserved) == 2

    assert rebuild(world) == Rebuilt(world.cursor_block(), 5, 3, 0, [])
    assert (projected(world.context.database), reservations(world)) == (before, reserved)
    finish(world)
    assert projected(world.context.database)["booking"] == before["booking"]
    world.check_conservation(paid, cancelled, running)


def test_what_was_damaged_is_mended_and_named(world: World, coordinator: Coordinator) -> None:
    terms = due_booking(world)
    finish(world)
    before = projected(world.context.database)
    with world.context.database.session() as session:
        session.exec(update(Booking).values(paid=0, remaining=terms.amount))
    assert rebuild(world).named == [world.booking(terms).short_id]
    assert projected(world.context.database) == before
    assert coordinator.follower.step() is False


def test_what_a_rolled_back_chain_does_not_have_is_settled_again(world: World) -> None:
    terms = due_booking(world)
    finish(world)
    settled_in = world.transactions()[0].mined_block
    assert settled_in is not None
    depth = world.node.web3.eth.block_number - settled_in + 1
    world.node.call("anvil_reorg", depth, [])
    world.node.mine(world.context.settings.confirmations + 2)
    assert rebuild(world).changed == 1
    assert world.transactions()[0].state is RelayState.SIGNED
    assert not world.attestation(terms).settled
    finish(world)
    check_settled_once(world, terms)


def test_nothing_is_left_of_a_booking_that_was_never_funded(world: World) -> None:
    funded_after = world.node.web3.eth.block_number
    due_booking(world)
    finish(world)
    world.node.call("anvil_reorg", world.node.web3.eth.block_number - funded_after, [])
    world.node.mine(world.context.settings.confirmations + 2)
    rebuilt = rebuild(world)
    assert (rebuilt.bookings, rebuilt.changed, len(rebuilt.named)) == (0, 1, 1)
    with world.context.database.read() as session:
        assert session.exec(select(Delivery)).all() == []


def test_a_claim_stands_as_long_as_its_dispute(world: World) -> None:
    terms = world.quote()
    world.fund(terms)
    world.restart().follow()
    world.deliver(terms, 20)
    world.dispute(terms)
    world.restart().follow()
    world.pass_allowance(terms)
    world.restart().follow()
    world.restart().settler.attest()
    kept = world.attestation(terms, CLAIM)
    rebuild(world)
    assert world.attestation(terms, CLAIM) == kept
    with world.context.database.session() as session:
        session.exec(update(Booking).values(disputed_at=col(Booking.disputed_at) - 1))
    rebuild(world)
    assert attestations(world) == []


def test_where_the_node_fails_midway_nothing_has_changed(
    world: World, coordinator: Coordinator
) -> None:
    due_booking(world)
    before, reserved = projected(world.context.database), reservations(world)
    with faulty(world.context.settings.rpc_url) as proxy:
        web3 = Web3(Nodes([proxy.url], 31_337))
        escrow = Escrow(web3, world.escrow.domain, "NativeEscrow")
        proxy.fails_at = ("eth_getLogs", Fault.BROKEN)
        with pytest.raises((ChainError, Web3Exception)):
            rebuild_projection(world.context.database, escrow, world.context.settings)
    assert (projected(world.context.database), reservations(world)) == (before, reserved)
    assert coordinator.follower.step() is False
