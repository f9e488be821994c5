"""Reorgs of any depth, and nodes that fail or contradict themselves."""

import pytest
from escrow_world import GWEI, Coordinator, World, event_names
from hexbytes import HexBytes
from settling import check_settled_once, due_booking, finish
from sqlmodel import select

from aitbc.errors import ChainError
from aitbc.protocol.events import Funded
from aitbc_coordinator.cursor import gas_price
from aitbc_coordinator.settlement import follower, models, repository
from aitbc_coordinator.settlement.follower import Follower
from aitbc_coordinator.settlement.models import RelayState
from aitbc_coordinator.settlement.witness import Witness


def test_a_funding_that_a_reorg_takes_back_unconfirmed_never_shows(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    coordinator.follow()
    world.fund(terms)
    world.node.call("anvil_reorg", 1, [])
    coordinator.follow()
    with world.context.database.read() as session:
        assert event_names(session, world.id_of(terms)) == []
    assert world.escrow.balance() == 0
    assert world.quote(starts_at=terms.ends_at).starts_at == terms.ends_at


def test_a_funding_that_a_deep_reorg_takes_back_is_forgotten_and_may_come_again(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    coordinator.follow()
    world.fund(terms)
    coordinator.follow()
    assert world.booking(terms).status == "funded"
    world.node.call("anvil_reorg", 5, [])
    coordinator.follow()
    assert world.client.get(f"/v1/bookings/{world.id_of(terms)}").status_code == 404
    with world.context.database.read() as session:
        assert repository.find_booking(session, world.id_of(terms)) is None
        cursor = repository.cursor(session)
    assert cursor is not None
    on_chain = world.node.web3.eth.get_block(cursor.block_number)["hash"]
    assert HexBytes(on_chain).to_0x_hex() == cursor.block_hash

    world.fund(terms)
    coordinator.follow()
    booking = world.booking(terms)
    assert (booking.status, booking.gpu_id) == ("funded", world.gpu_id)
    assert len(booking.transactions) == 1


def test_a_settlement_that_a_deep_reorg_takes_back_is_sent_again(world: World) -> None:
    terms = due_booking(world)
    world.node.mine(3)
    finish(world)
    check_settled_once(world, terms)
    before = world.transactions()
    settled_in = before[0].mined_block
    assert settled_in is not None

    depth = world.node.web3.eth.block_number - settled_in + 1
    world.node.call("anvil_reorg", depth, [])
    world.restart().follow()
    assert world.booking(terms).status in {"attested", "settling"}
    assert not world.attestation(terms).settled
    finish(world)
    check_settled_once(world, terms)
    after = world.transactions()
    assert [row.raw for row in after] == [row.raw for row in before]
    assert [row.state for row in after] == [RelayState.FINAL]


def test_a_cancellation_that_a_deep_reorg_takes_back_reserves_the_gpu_again(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote(starts_at=world.context.now() + 1000)
    world.fund(terms)
    coordinator.follow()
    world.cancel(terms, by=world.provider)
    coordinator.follow()
    assert world.booking(terms).status == "cancelled"
    world.node.call("anvil_reorg", 3, [])
    coordinator.follow()
    assert world.booking(terms).status == "funded"
    with pytest.raises(AssertionError, match="taken"):
        world.quote(starts_at=terms.starts_at)


def test_a_booking_whose_gpu_was_resold_is_refused_when_a_reorg_opens_it_again(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote(starts_at=world.context.now() + 1000)
    world.fund(terms)
    coordinator.follow()
    world.cancel(terms, by=world.buyer)
    coordinator.follow()
    resold = world.quote(starts_at=terms.starts_at)
    world.node.call("anvil_reorg", 3, [])
    coordinator.follow()
    booking = world.booking(terms)
    assert (booking.status, booking.gpu_id) == ("refused", None)
    world.fund(resold)
    coordinator.follow()
    assert world.booking(resold).gpu_id == world.gpu_id
    finish(world)
    assert world.booking(terms).refunded == terms.amount
    world.check_conservation(terms, resold)


def test_a_refusal_stands_when_a_reorg_replays_its_funding(
    world: World, coordinator: Coordinator
) -> None:
    offered = world.quote()
    terms = offered.model_copy(update={"amount": offered.amount + 1})
    coordinator.follow()
    world.fund(terms)
    coordinator.follow()
    coordinator.settler.attest()
    world.node.call("anvil_reorg", 4, [])
    coordinator.follow()
    world.fund(terms)
    coordinator.follow()
    assert world.booking(terms).status == "refused"
    finish(world)
    check_settled_once(world, terms)
    assert world.booking(terms).refunded == terms.amount


def test_a_node_that_went_back_in_time_is_waited_for(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    coordinator.follow()
    snapshot = world.node.call("evm_snapshot")
    world.fund(terms)
    coordinator.follow()
    world.node.call("evm_revert", snapshot)
    with pytest.raises(ChainError, match="was followed already"):
        coordinator.follow(confirm=False)
    assert world.booking(terms).status == "funded"
    world.node.mine(10)
    coordinator.follow()
    with world.context.database.read() as session:
        assert repository.find_booking(session, world.id_of(terms)) is None


def test_following_again_from_nothing_gives_the_same_projection(
    world: World, coordinator: Coordinator
) -> None:
    terms = due_booking(world)
    finish(world)
    before = world.booking(terms)
    with world.context.database.session() as session:
        repository.forget_cursor(session)
    coordinator.follow()
    assert world.booking(terms) == before


def test_a_range_that_the_node_refuses_is_halved_until_it_passes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.node.mine(40)
    asked = []
    honest = world.escrow.events

    def limited(first: int, last: int) -> list:
        asked.append(last - first + 1)
        if last - first + 1 > 8:
            raise ValueError("query returned more than 10000 results")
        return honest(first, last)

    monkeypatch.setattr(world.escrow, "events", limited)
    made = Follower(world.context.database, world.escrow, world.context.settings)
    while made.step():
        pass
    head = world.node.web3.eth.block_number
    assert world.cursor_block() == head - world.context.settings.confirmations
    assert asked[:4] == sorted(asked[:4], reverse=True)
    assert asked[3] <= 8 < asked[2]


def without_fundings(world: World, patch: pytest.MonkeyPatch) -> None:
    """The node does not have the logs of its newest blocks yet, and does not say so."""
    honest = world.escrow.events

    def lagging(first: int, last: int) -> list:
        return [event for event in honest(first, last) if not isinstance(event, Funded)]

    patch.setattr(world.escrow, "events", lagging)
    patch.setattr(Witness, "check", lambda *_: None)


def test_a_funding_that_the_node_left_out_is_looked_up_later(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = world.quote()
    world.fund(terms)
    with monkeypatch.context() as patch:
        without_fundings(world, patch)
        coordinator.follow()
    assert world.client.get(f"/v1/bookings/{world.id_of(terms)}").status_code == 404
    world.cancel(terms, by=world.provider)
    coordinator.follow()
    booking = world.booking(terms)
    assert (booking.status, booking.gpu_id) == ("cancelled", world.gpu_id)
    assert [reference.event for reference in booking.transactions] == ["Funded", "Cancelled"]
    world.check_conservation(terms)


def test_events_of_a_booking_that_was_never_funded_are_reported(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.cancel(terms, by=world.provider)
    without_fundings(world, monkeypatch)
    monkeypatch.setattr(world.escrow, "funded_event", lambda *_: None)
    with pytest.raises(ChainError, match="was never funded since the deploy block"):
        coordinator.follow()


def test_a_block_that_the_node_always_refuses_is_reported(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(first: int, last: int) -> list:
        raise ValueError("malformed answer")

    monkeypatch.setattr(world.escrow, "events", broken)
    with pytest.raises(ChainError, match="fails to give the logs of block"):
        coordinator.follow()


def test_a_reorg_while_events_are_read_is_noticed(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = world.quote()
    coordinator.follow()
    world.fund(terms)
    world.node.mine(world.context.settings.confirmations)
    before, honest = world.cursor_block(), world.escrow.events

    def interrupted(first: int, last: int) -> list:
        events = honest(first, last)
        world.node.call("anvil_reorg", 4, [])
        return events

    monkeypatch.setattr(world.escrow, "events", interrupted)
    coordinator.follower.step()
    assert world.cursor_block() == before
    monkeypatch.setattr(world.escrow, "events", honest)
    coordinator.follow()
    with world.context.database.read() as session:
        assert event_names(session, world.id_of(terms)) == []


def test_the_price_of_gas_is_that_of_the_followed_block(
    world: World, coordinator: Coordinator
) -> None:
    for base_fee in (7 * GWEI, 3 * GWEI):
        world.node.call("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        world.node.mine()
        followed = world.node.web3.eth.block_number
        # Those on top of it do not count yet: their price is another one.
        world.node.call("anvil_setNextBlockBaseFeePerGas", hex(50 * GWEI))
        world.node.mine(world.context.settings.confirmations)
        coordinator.follow(confirm=False)
        with world.context.database.read() as session:
            cursor = repository.cursor(session)
            price = gas_price(session)
        assert cursor is not None
        assert cursor.block_number == followed
        assert price == base_fee + world.node.web3.eth.max_priority_fee


def test_a_follower_that_was_overtaken_does_not_move_the_cursor_back(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.follow()
    world.node.mine(5)
    honest = world.escrow.events

    def overtaken(first: int, last: int) -> list:
        monkeypatch.setattr(world.escrow, "events", honest)
        world.node.mine(5)
        world.restart().follow()
        return honest(first, last)

    monkeypatch.setattr(world.escrow, "events", overtaken)
    coordinator.follower.step()
    head = world.node.web3.eth.block_number
    assert world.cursor_block() == head - world.context.settings.confirmations


def test_a_reorg_deeper_than_any_kept_hash_starts_over(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "KEPT_BLOCKS", 0)
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.node.mine(3)
    coordinator.follow()
    kept = world.booking(terms)
    with world.context.database.read() as session:
        assert len(session.exec(select(models.ChainBlock)).all()) == 1
    world.node.call("anvil_reorg", 4, [])
    coordinator.follow()
    assert world.booking(terms) == kept
