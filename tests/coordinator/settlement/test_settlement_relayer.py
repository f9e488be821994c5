"""Transactions that do not get through, and batches that cannot be made."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from escrow_world import COIN, World, broadcast_raw
from eth_account import Account
from settling import book_each, check_settled_once, due_booking, finish, persist_only

from aitbc.errors import ChainError
from aitbc.signing import Signer
from aitbc_coordinator.context import Attester
from aitbc_coordinator.settlement import calls, carrier, models, outbox, relayers, transactions
from aitbc_coordinator.settlement.models import PENDING_STATES, RelayState


def test_a_stuck_transaction_is_replaced_at_a_higher_fee(world: World) -> None:
    terms = due_booking(world)
    world.node.call("evm_setAutomine", False)
    coordinator = world.restart()
    coordinator.settler.step()
    first = world.transactions()[0]
    world.node.call("anvil_dropTransaction", first.tx_hash)
    world.node.mine(relayers.STUCK_AFTER_BLOCKS - 1)
    world.restart().relayers.bump()
    assert len(world.transactions()) == 1
    world.node.mine()
    world.restart().relayers.bump()
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
    world.node.mine(relayers.STUCK_AFTER_BLOCKS)
    world.restart().relayers.bump()
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
        ceiling = world.context.settings.maximum_fee_gwei * calls.GWEI
        session.get(models.RelayTransaction, row.id).max_fee = ceiling  # type: ignore[union-attr]
    world.node.call("anvil_dropTransaction", row.tx_hash)
    world.node.mine(relayers.STUCK_AFTER_BLOCKS)
    stuck = world.restart().relayers
    stuck.bump()
    with pytest.raises(ChainError, match="stuck at the fee ceiling"):
        stuck.require_one()
    assert len(world.transactions()) == 1
    world.node.call("evm_setAutomine", True)
    world.restart().carrier.broadcast()
    world.node.drain()
    finish(world)
    check_settled_once(world, terms)


def test_nothing_is_sent_while_gas_costs_more_than_the_ceiling(world: World) -> None:
    terms = due_booking(world)
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(501 * calls.GWEI))
    world.node.mine()
    with pytest.raises(ChainError, match="more than the ceiling"):
        world.restart().settler.step()
    assert world.transactions() == []
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(calls.GWEI))
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
    world.restart().carrier.broadcast()
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
        "maxFeePerGas": 10 * calls.GWEI,
        "maxPriorityFeePerGas": calls.GWEI,
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
    with world.context.database.read() as session:
        # Should a reorg free that nonce, it gets another transaction.
        assert transactions.free_nonce(session, world.relayer_account.address, 0) == (0, 1)


def test_a_relayer_without_coin_says_so_and_resumes_when_topped_up(world: World) -> None:
    terms = due_booking(world)
    world.node.give_coin(world.relayer_account.address, 0)
    for _ in range(3):
        with pytest.raises(ChainError, match="too little coin"):
            world.restart().settler.step()
    assert world.transactions() == []
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
        world.restart().relayers._signed(stored)
    world.restart().carrier.broadcast()
    world.node.drain()
    world.restart().follow()
    world.restart().settler.step()
    assert world.transactions()[0].state == RelayState.FAILED
    finish(world)
    check_settled_once(world, terms)
    assert world.attestation(terms).attempts == 1


def test_a_batch_that_needs_too_much_gas_is_split(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    booked = book_each(world, 5)
    # Enough for two refunds and not for five.
    monkeypatch.setattr(calls, "GAS_LIMIT", 220_000)
    finish(world)
    check_settled_once(world, *booked)
    sizes = [len(world.call_of(row)[1]) for row in world.transactions()]
    assert sum(sizes) == 5
    assert len(sizes) > 1
    assert all(row.gas <= 220_000 for row in world.transactions())


@pytest.fixture
def limit_blocks(world: World) -> Iterator[Callable[[int], None]]:
    """Makes the node's blocks hold so much gas."""
    usual = world.node.web3.eth.get_block("latest")["gasLimit"]

    def limit(gas: int) -> None:
        world.node.call("evm_setBlockGasLimit", hex(gas))
        world.node.mine()

    yield limit
    limit(usual)


def test_a_batch_that_no_block_holds_is_split(
    world: World, limit_blocks: Callable[[int], None]
) -> None:
    booked = book_each(world, 5)
    # Enough for one refund: with five, the escrow lacks gas however much the node allows.
    limit_blocks(180_000)
    for _ in range(2):
        finish(world)
    check_settled_once(world, *booked)
    assert len(world.transactions()) == 5
    assert {world.attestation(terms).attempts for terms in booked} == {0}


def test_a_booking_that_no_block_holds_is_given_up(
    world: World, limit_blocks: Callable[[int], None]
) -> None:
    terms = due_booking(world)
    limit_blocks(60_000)
    for _ in range(2):
        finish(world)
    assert world.transactions() == []
    assert world.restart().settler.stuck() == [world.booking(terms).short_id]


def test_a_batch_that_fits_into_a_block_only_without_its_margin_is_split(
    world: World, limit_blocks: Callable[[int], None]
) -> None:
    booked = book_each(world, 2)
    coordinator = world.restart()
    coordinator.settler.attest()
    items = coordinator.settler._next_batch()
    call = coordinator.relayers.prepare(coordinator.settler._calldata(items))
    assert call is not None
    limit_blocks(call.gas - 1)
    finish(world)
    check_settled_once(world, *booked)
    assert len(world.transactions()) == 2


def test_a_transaction_that_no_node_takes_is_given_up_with_those_behind_it(world: World) -> None:
    settings = world.context.settings.model_copy(update={"batch_size": 1})
    world.context = replace(world.context, settings=settings)
    booked = book_each(world, 2)
    coordinator = world.restart()
    coordinator.settler.attest()
    coordinator.settler.settle()
    row = world.transactions()[0]
    with world.context.database.session() as session:
        stored = session.get(models.RelayTransaction, row.id)
        assert stored is not None
        # Less than any transaction needs: refused for good.
        stored.gas = 20_000
        coordinator.relayers._signed(stored)
    for _ in range(carrier.MAX_REFUSALS):
        assert {found.state for found in world.transactions()} <= set(PENDING_STATES)
        with pytest.raises(ChainError, match="the node refuses transaction"):
            world.restart().settler.step()
    assert [found.state for found in world.transactions()] == [RelayState.FAILED] * 2
    finish(world)
    check_settled_once(world, *booked)
    attempts = {world.attestation(terms).attempts for terms in booked}
    assert attempts == {0, 1}


def test_a_tip_of_nothing_can_be_raised() -> None:
    assert calls.Fees(max_fee=8, priority_fee=0).bumped() == calls.Fees(9, 1)
    assert calls.Fees(max_fee=0, priority_fee=0).bumped() == calls.Fees(1, 1)


def test_a_booking_that_alone_needs_too_much_gas_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = due_booking(world)
    monkeypatch.setattr(calls, "GAS_LIMIT", 30_000)
    for _ in range(2):
        finish(world)
    assert world.transactions() == []
    assert world.restart().settler.stuck() == [world.booking(terms).short_id]


def test_only_so_many_transactions_are_under_way_at_once(world: World) -> None:
    settings = world.context.settings.model_copy(update={"batch_size": 1})
    world.context = replace(world.context, settings=settings)
    booked = book_each(world, relayers.MAX_IN_FLIGHT + 2)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    world.restart().settler.step()
    nonces = [row.nonce for row in world.transactions()]
    assert nonces == list(range(relayers.MAX_IN_FLIGHT))
    world.node.call("evm_setAutomine", True)
    world.node.mine()
    finish(world)
    check_settled_once(world, *booked)


def test_a_batch_that_would_revert_is_not_sent(world: World) -> None:
    terms = due_booking(world)
    honest = world.context
    stranger = Attester(Signer(Account.create()), honest.market)
    world.context = replace(honest, attester=stranger)
    for _ in range(2):
        finish(world)
    assert world.transactions() == []
    assert world.attestation(terms).attempts == outbox.MAX_ATTEMPTS
    assert world.escrow.slot(world.id_of(terms)).remaining == terms.amount
