"""A payout may wait for others to share its transaction, and no longer than it is allowed to."""

from dataclasses import replace

from escrow_world import World
from settling import book_each, check_settled_once, finish
from sqlmodel import select

from aitbc.protocol.messages import Terms
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.settlement import models

PATIENCE = 400


def let_wait(world: World, **settings: int) -> None:
    changed = world.context.settings.model_copy(update={"batch_seconds": PATIENCE, **settings})
    world.context = replace(world.context, settings=changed)


def pass_until(world: World, timestamp: int) -> None:
    """A pass of the settler when the chain was followed to a time."""
    world.node.mine(at=timestamp)
    world.restart().follow(confirm=False)
    with world.context.database.session() as session:
        cursor = session.exec(select(ChainCursor)).one()
        cursor.block_timestamp = timestamp
    world.restart().settler.step()


def sizes(world: World) -> list[int]:
    return [len(world.call_of(row)[1]) for row in world.transactions()]


def bookings(world: World, count: int) -> list[Terms]:
    booked = book_each(world, count)
    assert booked[-1].ends_at - booked[0].ends_at < PATIENCE // 2
    return booked


def test_payouts_wait_for_each_other_until_the_first_has_waited_long_enough(world: World) -> None:
    let_wait(world)
    booked = bookings(world, 3)
    world.restart().settler.step()
    pass_until(world, booked[0].ends_at + PATIENCE - 1)
    assert sizes(world) == []
    pass_until(world, booked[0].ends_at + PATIENCE)
    assert sizes(world) == [3]
    finish(world)
    check_settled_once(world, *booked)


def test_a_full_batch_does_not_wait(world: World) -> None:
    let_wait(world, batch_size=2)
    booked = bookings(world, 3)
    world.restart().settler.step()
    assert sizes(world) == [2]
    pass_until(world, booked[-1].ends_at + PATIENCE)
    assert sizes(world) == [2, 1]


def test_without_patience_nothing_waits(world: World) -> None:
    booked = bookings(world, 1)
    world.restart().settler.step()
    assert sizes(world) == [1]
    finish(world)
    check_settled_once(world, *booked)


def test_what_failed_before_does_not_wait_and_holds_nothing_back(world: World) -> None:
    let_wait(world)
    booked = bookings(world, 2)
    world.restart().settler.attest()
    with world.context.database.session() as session:
        failed = session.exec(
            select(models.Attestation).where(
                models.Attestation.booking_id == world.id_of(booked[0])
            )
        ).one()
        failed.attempts = 1
    world.restart().settler.step()
    assert sizes(world) == [1]


def test_a_refusal_does_not_wait(world: World) -> None:
    let_wait(world)
    terms = world.quote(duration=600).model_copy(update={"listing": "0x" + "00" * 32})
    world.fund(terms)
    world.restart().follow()
    assert world.booking(terms).status == "refused"
    world.restart().settler.step()
    assert sizes(world) == [1]


def test_nobody_waits_beyond_half_of_the_claim_window(world: World) -> None:
    let_wait(world)
    market = world.context.market.model_copy(update={"claim_window": 300})
    world.context = replace(world.context, market=market)
    [terms] = bookings(world, 1)
    world.restart().settler.step()
    pass_until(world, terms.ends_at + 149)
    assert sizes(world) == []
    pass_until(world, terms.ends_at + 150)
    assert sizes(world) == [1]
