"""Messages are written with what they tell of, or not at all, and never under two ids."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from escrow_world import Coordinator, World
from settling import due_booking, finish
from sqlalchemy import delete, update
from sqlmodel import col, select

from aitbc.errors import InvalidInput
from aitbc.protocol.messages import Terms
from aitbc.protocol.wire import SignedReceipt
from aitbc_coordinator import doctor
from aitbc_coordinator.database import Database
from aitbc_coordinator.fault_points import FaultPoint
from aitbc_coordinator.rebuild import rebuild_projection
from aitbc_coordinator.settings import HOME_VARIABLE, Settings, home_path
from aitbc_coordinator.settlement import follower
from aitbc_coordinator.settlement.models import Booking, ChainEvent
from aitbc_coordinator.settlement.workers import Workers
from aitbc_coordinator.webhooks import repository
from aitbc_coordinator.webhooks.messages import BookingData, Message
from aitbc_coordinator.webhooks.models import WebhookMessage
from aitbc_coordinator.webhooks.secret import open_secret

URL = "http://127.0.0.1:1"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return settings.model_copy(update={"webhook_url": URL + "/s3cr3t"})


def rows(world: World) -> list[WebhookMessage]:
    with world.context.database.read() as session:
        return list(session.exec(select(WebhookMessage).order_by(col(WebhookMessage.number))))


def told(world: World) -> list[tuple[str, BookingData]]:
    """Type and data of every message, in the order in which they were written."""
    read = [Message.model_validate_json(row.body) for row in rows(world)]
    return [(message.type, message.data) for message in read]  # type: ignore[misc]


def types(world: World) -> list[str]:
    return [kind for kind, _ in told(world)]


def deliver_all(world: World) -> None:
    with world.context.database.session() as session:
        for row in session.exec(select(WebhookMessage)).all():
            repository.mark_delivered(session, row.id, world.context.now())


def forget_all(world: World) -> None:
    """What was delivered is pruned after a week."""
    with world.context.database.session() as session:
        session.exec(delete(WebhookMessage))


def rebuild(world: World) -> None:
    context = world.context
    rebuild_projection(context.database, world.escrow, context.settings)


def reorg_away(world: World, block: int) -> None:
    """Blocks above this one are replaced by empty ones, and the chain goes on."""
    world.node.call("anvil_reorg", world.node.web3.eth.block_number - block, [])
    world.node.mine(world.context.settings.confirmations + 2)


def test_a_booking_is_told_of_from_funding_to_payout(world: World) -> None:
    terms = world.quote()
    funding = world.fund(terms)
    world.restart().follow()
    [(kind, data)] = told(world)
    assert kind == "booked"
    assert data == BookingData(
        booking_id=world.id_of(terms),
        short_id=world.booking(terms).short_id,
        gpu_id=world.gpu_id,
        refused=False,
        buyer=world.buyer.address,
        provider=world.provider.address,
        amount=terms.amount,
        starts_at=terms.starts_at,
        ends_at=terms.ends_at,
        paid=0,
        fee=0,
        refunded=0,
        tx_hash="0x" + bytes(funding["transactionHash"]).hex(),
    )
    world.deliver(terms, 45)
    assert types(world) == ["booked", "started"]
    world.pass_allowance(terms)
    world.restart().follow()
    finish(world)
    assert types(world) == ["booked", "started", "paid"]
    booking, data = world.booking(terms), told(world)[-1][1]
    assert 0 < data.paid < terms.amount
    assert (data.paid, data.fee, data.refunded) == (booking.paid, booking.fee, booking.refunded)
    assert data.paid + data.fee + data.refunded == terms.amount
    assert data.tx_hash == world.transactions()[0].tx_hash
    assert all(row.due_at == 0 for row in rows(world))
    first, *_, last = (Message.model_validate_json(row.body) for row in rows(world))
    block = world.node.web3.eth.get_block(funding["blockNumber"])
    assert (first.timestamp, first.escrow) == (block["timestamp"], world.escrow.domain.escrow)
    assert terms.ends_at < last.timestamp <= world.context.now()


def claim(world: World, terms: Terms) -> str:
    """Pay out what was earned so far; the transaction's hash."""
    found = world.get(f"/bookings/{world.id_of(terms)}/receipt")
    signed = SignedReceipt.model_validate(found)
    arguments = (terms.abi_values(), signed.receipt.earned, signed.signature)
    receipt = world.node.send(world.provider, world.escrow.functions.claim(*arguments))
    world.restart().follow()
    return "0x" + bytes(receipt["transactionHash"]).hex()


def test_every_payment_is_told_with_what_was_paid_in_all(world: World) -> None:
    terms = world.quote()
    world.fund(terms)
    world.restart().follow()
    world.deliver(terms, 30)
    claim(world, terms)
    world.node.mine(at=terms.starts_at + 60)
    world.post("/heartbeats", world.heartbeat(terms, 2, terms.starts_at + 30, terms.starts_at + 60))
    last = claim(world, terms)
    paid = [(data.paid, data.fee) for kind, data in told(world) if kind == "paid"]
    assert [sum(one) for one in paid] == [terms.amount // 2, terms.amount]
    world.pass_allowance(terms)
    world.restart().follow()
    finish(world)
    assert types(world).count("paid") == 2

    forget_all(world)
    with world.context.database.session() as session:
        session.exec(update(Booking).values(paid=0))
    rebuild(world)
    [found] = [data for kind, data in told(world) if kind == "paid"]
    assert (found.paid + found.fee, found.tx_hash) == (terms.amount, last)


def test_a_refund_alone_is_no_payment(world: World, coordinator: Coordinator) -> None:
    terms = world.quote(starts_at=world.context.now() + 3600)
    world.fund(terms)
    coordinator.follow()
    world.cancel(terms, world.buyer)
    coordinator.follow()
    assert types(world) == ["booked"]


def test_what_nobody_offered_is_told_as_refused(world: World, coordinator: Coordinator) -> None:
    offered = world.quote()
    terms = offered.model_copy(update={"amount": offered.amount + 1})
    world.fund(terms)
    coordinator.follow()
    [(kind, data)] = told(world)
    assert (kind, data.refused, data.gpu_id) == ("booked", True, None)


def test_what_is_not_committed_is_not_told(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = world.quote()
    world.fund(terms)

    def fail(point: FaultPoint) -> None:
        if point is FaultPoint.FOLLOWER_WRITING:
            raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(follower, "reach", fail)
        with pytest.raises(ZeroDivisionError):
            coordinator.follow()
    assert rows(world) == []
    coordinator.follow()
    assert types(world) == ["booked"]


def test_what_a_reorg_takes_back_is_not_delivered_any_more(
    world: World, coordinator: Coordinator
) -> None:
    terms, before = world.quote(), world.node.web3.eth.block_number
    world.fund(terms)
    coordinator.follow()
    [first] = rows(world)
    reorg_away(world, before)
    coordinator.follow()
    assert rows(world) == []
    world.fund(terms)
    coordinator.follow()
    assert [row.id for row in rows(world)] == [first.id]


def test_what_was_delivered_is_not_told_again_after_a_reorg(
    world: World, coordinator: Coordinator
) -> None:
    terms, before = world.quote(), world.node.web3.eth.block_number
    world.fund(terms)
    coordinator.follow()
    deliver_all(world)
    reorg_away(world, before)
    coordinator.follow()
    world.fund(terms)
    coordinator.follow()
    [row] = rows(world)
    assert row.delivered_at is not None


def test_only_the_first_heartbeat_is_a_start(world: World, coordinator: Coordinator) -> None:
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 20)
    forget_all(world)
    world.post("/heartbeats", world.heartbeat(terms, 0, terms.starts_at, terms.starts_at + 20))
    world.node.mine(at=terms.starts_at + 30)
    world.post("/heartbeats", world.heartbeat(terms, 1, terms.starts_at + 20, terms.starts_at + 30))
    assert rows(world) == []


def test_a_rebuild_tells_nothing_that_was_known(world: World) -> None:
    due_booking(world)
    finish(world)
    forget_all(world)
    rebuild(world)
    assert rows(world) == []


def test_a_rebuild_keeps_what_waits_and_tells_what_it_finds(world: World) -> None:
    terms = due_booking(world)
    finish(world)
    waited = {row.id for row in rows(world)}
    assert len(waited) == 3
    rebuild(world)
    assert {row.id for row in rows(world)} == waited

    forget_all(world)
    later = world.quote(starts_at=terms.ends_at + 3600)
    world.fund(later)
    world.node.mine(world.context.settings.confirmations)
    with world.context.database.session() as session:
        session.exec(update(Booking).values(paid=0))
    rebuild(world)
    ids = {world.id_of(terms), world.id_of(later)}
    assert {data.booking_id for _, data in told(world)} == ids
    paid = [data for kind, data in told(world) if kind == "paid"]
    assert [data.tx_hash for data in paid] == [world.transactions()[0].tx_hash]


def test_what_a_rolled_back_chain_does_not_have_is_not_told(world: World) -> None:
    funded_after = world.node.web3.eth.block_number
    due_booking(world)
    finish(world)
    reorg_away(world, funded_after)
    rebuild(world)
    assert types(world) == ["started"]


def test_nothing_is_written_where_no_webhook_is_configured(world: World) -> None:
    context: Any = world.context
    silent = context.settings.model_copy(update={"webhook_url": ""})
    quiet = replace(context, settings=silent)
    world.client.app.state.context = quiet  # type: ignore[attr-defined]
    world.context = quiet
    due_booking(world)
    finish(world)
    with context.database.session() as session:
        session.exec(update(Booking).values(paid=0))
    rebuild(world)
    with context.database.read() as session:
        assert len(session.exec(select(ChainEvent)).all()) == 2
    assert rows(world) == []


def run_all(workers: Workers) -> None:
    for worker in workers._workers:
        worker.run_once()


def test_whoever_leads_posts_and_says_what_fails(world: World) -> None:
    world.fund(world.quote())
    world.node.mine(world.context.settings.confirmations)
    leader = Workers(world.context, world.escrow, [world.relayer_account])
    replica = replace(world.context, database=Database(world.context.database.url))
    stands_by = Workers(replica, world.escrow, [world.relayer_account])
    leader._follow.run_once()
    run_all(stands_by)
    assert [row.attempts for row in rows(world)] == [0]
    run_all(leader)
    assert [row.attempts for row in rows(world)] == [1]
    assert leader.checks()["webhooks"] == stands_by.checks()["webhooks"] == "ok"
    [alert] = leader.alerts()
    assert alert.startswith(f"the webhook at {URL} fails: it cannot be reached")
    assert "s3cr3t" not in alert
    assert stands_by.alerts() == []
    leader._leadership.release()
    assert leader.alerts() == []
    stands_by._leadership.release()
    replica.database.close()


def test_doctor_looks_at_the_secret(world: World) -> None:
    def found() -> tuple[str, str]:
        [finding] = [one for one in doctor.examine(world.context.settings) if one.part == "webhook"]
        return finding.state, finding.words

    path = home_path() / "webhook-secret"
    assert found() == ("note", f"{path} does not exist yet")
    open_secret(world.context.settings)
    assert found() == ("ok", f"messages are signed with the secret in {path}")
    path.write_text("whsec_changeme")
    assert found()[0] == "failed"
    with pytest.raises(InvalidInput, match="the webhook's secret"):
        Workers(world.context, world.escrow, [world.relayer_account])
