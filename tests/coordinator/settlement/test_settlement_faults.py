"""Reorgs, restarts between any two steps, and transactions that do not get through."""

from collections.abc import Callable

import pytest
from escrow_world import COIN, Coordinator, World, broadcast_raw, event_names
from hexbytes import HexBytes
from sqlmodel import select

from aitbc.errors import ChainError
from aitbc.protocol.messages import Terms
from aitbc_coordinator.settlement import models, outbox, relayer, repository
from aitbc_coordinator.settlement.follower import Follower
from aitbc_coordinator.settlement.models import RelayState


def due_booking(world: World) -> Terms:
    """A funded booking that was half delivered, and is to be attested now."""
    terms = world.quote()
    world.fund(terms)
    world.restart().follow()
    world.deliver(terms, 30)
    world.pass_grace(terms)
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


def persist_only(world: World) -> None:
    coordinator = world.restart()
    coordinator.settler.attest()
    coordinator.settler.settle()
    assert [row.state for row in world.transactions()] == [RelayState.SIGNED]


def attest_only(world: World) -> None:
    world.restart().settler.attest()
    assert world.transactions() == []


def broadcast_without_recording(world: World) -> None:
    persist_only(world)
    broadcast_raw(world, world.transactions()[0])
    world.node.drain()


def broadcast_and_record(world: World) -> None:
    persist_only(world)
    world.restart().relayer.broadcast()
    assert [row.state for row in world.transactions()] == [RelayState.SENT]


def observe_unconfirmed(world: World) -> None:
    broadcast_and_record(world)
    world.node.drain()
    world.restart().relayer.observe()
    assert [row.state for row in world.transactions()] == [RelayState.MINED]


def follow_without_observing(world: World) -> None:
    broadcast_and_record(world)
    world.node.drain()
    world.restart().follow()


def observe_without_reconciling(world: World) -> None:
    follow_without_observing(world)
    world.restart().relayer.observe()
    assert [row.state for row in world.transactions()] == [RelayState.FINAL]
    assert not any(row.settled for row in attestations(world))


def attestations(world: World) -> list[models.Attestation]:
    with world.context.database.read() as session:
        return list(session.exec(select(models.Attestation)).all())


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
        for step in ("observe", "broadcast", "bump"):
            getattr(world.restart().relayer, step)()
            getattr(world.restart().relayer, step)()
        world.node.drain()
        world.restart().follow()
    world.restart().settler.step()
    check_settled_once(world, terms)
    assert len(world.transactions()) == len(attestations(world)) == 1


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
    follower = Follower(world.context.database, world.escrow, world.context.settings)
    while follower.step():
        pass
    with world.context.database.read() as session:
        cursor = repository.cursor(session)
    assert cursor is not None
    head = world.node.web3.eth.block_number
    assert cursor.block_number == head - world.context.settings.confirmations
    assert asked[:4] == sorted(asked[:4], reverse=True)
    assert asked[3] <= 8 < asked[2]


def test_a_block_that_the_node_always_refuses_is_reported(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(first: int, last: int) -> list:
        raise ValueError("malformed answer")

    monkeypatch.setattr(world.escrow, "events", broken)
    with pytest.raises(ChainError, match="fails to give the logs of block"):
        coordinator.follow()


def test_a_stuck_transaction_is_replaced_at_a_higher_fee(world: World) -> None:
    terms = due_booking(world)
    world.node.call("evm_setAutomine", False)
    coordinator = world.restart()
    coordinator.settler.step()
    first = world.transactions()[0]
    world.node.call("anvil_dropTransaction", first.tx_hash)
    world.node.mine(relayer.STUCK_AFTER_BLOCKS)
    world.restart().relayer.bump()
    old, new = world.transactions()
    assert (old.nonce, old.batch_id, old.calldata) == (new.nonce, new.batch_id, new.calldata)
    assert new.max_fee * 8 >= old.max_fee * 9
    assert new.priority_fee * 8 >= old.priority_fee * 9
    assert new.state == RelayState.SIGNED

    world.node.call("evm_setAutomine", True)
    finish(world)
    check_settled_once(world, terms)
    states = [row.state for row in world.transactions()]
    assert states == [RelayState.REPLACED, RelayState.FINAL]


def test_a_replaced_transaction_may_be_the_one_that_is_mined(world: World) -> None:
    terms = due_booking(world)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    first = world.transactions()[0]
    world.node.call("anvil_dropTransaction", first.tx_hash)
    world.node.mine(relayer.STUCK_AFTER_BLOCKS)
    world.restart().relayer.bump()
    broadcast_raw(world, first)
    world.node.mine()
    finish(world)
    check_settled_once(world, terms)
    states = [row.state for row in world.transactions()]
    assert states == [RelayState.FINAL, RelayState.REPLACED]


def test_no_fee_exceeds_the_ceiling(world: World) -> None:
    terms = due_booking(world)
    world.node.call("evm_setAutomine", False)
    coordinator = world.restart()
    coordinator.settler.step()
    row = world.transactions()[0]
    with world.context.database.session() as session:
        ceiling = world.context.settings.maximum_fee_gwei * relayer.GWEI
        session.get(models.RelayTransaction, row.id).max_fee = ceiling  # type: ignore[union-attr]
    world.node.call("anvil_dropTransaction", row.tx_hash)
    world.node.mine(relayer.STUCK_AFTER_BLOCKS)
    with pytest.raises(ChainError, match="stuck at the fee ceiling"):
        world.restart().relayer.bump()
    assert len(world.transactions()) == 1
    world.node.call("evm_setAutomine", True)
    world.restart().relayer.broadcast()
    world.node.drain()
    finish(world)
    check_settled_once(world, terms)


def test_nothing_is_sent_while_gas_costs_more_than_the_ceiling(world: World) -> None:
    terms = due_booking(world)
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(501 * relayer.GWEI))
    world.node.mine()
    with pytest.raises(ChainError, match="more than the ceiling"):
        world.restart().settler.step()
    assert world.transactions() == []
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(relayer.GWEI))
    world.node.mine()
    finish(world)
    check_settled_once(world, terms)


def test_a_transaction_that_the_node_forgot_is_sent_again_as_it_was(world: World) -> None:
    terms = due_booking(world)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    row = world.transactions()[0]
    world.node.call("anvil_dropTransaction", row.tx_hash)
    world.node.call("evm_setAutomine", True)
    world.restart().relayer.broadcast()
    world.node.drain()
    finish(world)
    check_settled_once(world, terms)
    assert [found.raw for found in world.transactions()] == [row.raw]


def test_a_nonce_that_another_program_took_is_given_up_for_another(world: World) -> None:
    terms = due_booking(world)
    persist_only(world)
    transaction = {
        "chainId": 31_337,
        "nonce": 0,
        "to": world.buyer.address,
        "value": 0,
        "gas": 21_000,
        "maxFeePerGas": 10 * relayer.GWEI,
        "maxPriorityFeePerGas": relayer.GWEI,
    }
    raw = world.relayer_account.sign_transaction(transaction).raw_transaction
    world.node.web3.eth.send_raw_transaction(raw)
    world.node.drain()
    world.restart().follow()
    finish(world)
    check_settled_once(world, terms)
    rows = world.transactions()
    assert [(row.nonce, row.state) for row in rows] == [
        (0, RelayState.FAILED),
        (1, RelayState.FINAL),
    ]
    assert world.attestation(terms).attempts == 0


def test_a_relayer_without_coin_says_so_and_resumes_when_topped_up(world: World) -> None:
    terms = due_booking(world)
    world.node.give_coin(world.relayer_account.address, 0)
    for _ in range(2):
        with pytest.raises(ChainError, match="too little coin"):
            world.restart().settler.step()
    assert len(world.transactions()) == 1
    world.node.give_coin(world.relayer_account.address, COIN)
    finish(world)
    check_settled_once(world, terms)


def test_a_transaction_that_reverts_counts_as_an_attempt(world: World) -> None:
    terms = due_booking(world)
    persist_only(world)
    row = world.transactions()[0]
    with world.context.database.session() as session:
        # Far too little gas: mined, and failed.
        stored = session.get(models.RelayTransaction, row.id)
        assert stored is not None
        stored.gas = 60_000
        world.restart().relayer._signed(stored)
    world.restart().relayer.broadcast()
    world.node.drain()
    world.restart().follow()
    world.restart().settler.step()
    assert world.transactions()[0].state == RelayState.FAILED
    finish(world)
    check_settled_once(world, terms)
    assert world.attestation(terms).attempts == 1


def test_two_settlers_on_one_database_give_each_nonce_one_owner(world: World) -> None:
    terms = due_booking(world)
    one, other = world.restart(), world.restart()
    one.settler.attest()
    other.settler.attest()
    one.settler.settle()
    other.settler.settle()
    with world.context.database.read() as session:
        assert outbox.free_nonce(session, one.relayer.address, 0) == (1, 0)
    finish(world)
    check_settled_once(world, terms)
    assert len(world.transactions()) == 1
