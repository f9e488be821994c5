"""Steps that several tests of settlement share."""

from typing import Any

from escrow_world import World, event_names
from sqlmodel import select

from aitbc.protocol.messages import Terms
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.models import Delivery
from aitbc_coordinator.settlement import models, repository
from aitbc_coordinator.settlement.models import RelayState


def due_booking(world: World) -> Terms:
    """A funded booking that was half delivered, and is to be attested now."""
    terms = world.quote()
    world.fund(terms)
    world.restart().follow()
    world.deliver(terms, 30)
    world.pass_allowance(terms)
    world.restart().follow()
    return terms


def finish(world: World) -> None:
    """Passes of ever new processes until nothing changes any more."""
    for _ in range(3):
        world.restart().settle()


def check_settled_once(world: World, *all_terms: Terms) -> None:
    with world.context.database.read() as session:
        for terms in all_terms:
            assert event_names(session, world.id_of(terms)) == ["Funded", "Settled"]
    assert all(world.attestation(terms).settled for terms in all_terms)
    world.check_conservation(*all_terms)


def attestations(world: World) -> list[models.Attestation]:
    with world.context.database.read() as session:
        return list(session.exec(select(models.Attestation)).all())


def book_each(world: World, count: int) -> list[Terms]:
    """Bookings one after the other, funded, over and to be attested; nothing was delivered."""
    booked: list[Terms] = []
    for _ in range(count):
        terms = world.quote(starts_at=booked[-1].ends_at if booked else 0)
        world.fund(terms)
        booked.append(terms)
    world.pass_allowance(booked[-1])
    world.restart().follow()
    return booked


def projected(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All that was followed of the chain, by table."""
    tables = (models.ChainEvent, models.Booking, Delivery)
    with database.read() as session:
        rows: dict[str, list[tuple[Any, ...]]] = {
            str(table.__tablename__): sorted(
                (tuple(row.model_dump().values()) for row in session.exec(select(table)).all()),
                key=str,
            )
            for table in tables
        }
        cursor = repository.cursor(session)
    assert cursor is not None
    return rows | {"cursor": [(cursor.block_number, cursor.block_hash)]}


def persist_only(world: World) -> None:
    coordinator = world.restart()
    coordinator.settler.attest()
    coordinator.settler.settle()
    assert [row.state for row in world.transactions()] == [RelayState.SIGNED]
