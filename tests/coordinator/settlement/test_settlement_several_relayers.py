"""Several relayers: one that cannot send holds nothing back that another one can."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from escrow_world import COIN, Coordinator, World
from eth_account import Account
from eth_account.signers.local import LocalAccount
from settling import book_each, check_settled_once, due_booking, finish, persist_only

from aitbc.chain.funding import request_funding
from aitbc.errors import AitbcError, ChainError
from aitbc.protocol import wire
from aitbc.protocol.funding import PayBy
from aitbc.protocol.messages import Terms
from aitbc_coordinator.errors import Conflict
from aitbc_coordinator.settlement import calls, carrier, models, outbox
from aitbc_coordinator.settlement.fundings import PLACES_FOR_PAYOUTS, Fundings
from aitbc_coordinator.settlement.models import RelayState
from aitbc_coordinator.settlement.relayers import MAX_IN_FLIGHT, STUCK_AFTER_BLOCKS, Relayers
from aitbc_coordinator.settlement.workers import Workers
from aitbc_coordinator.signers.protocols import SignerError


class Meddler:
    """A key whose owner does something, once, while it signs; or that does not sign."""

    def __init__(self, account: LocalAccount, act: Callable[[], None] = lambda: None) -> None:
        self.address = account.address
        self.fails = False
        self._account = account
        self._act = act

    def sign_transaction(self, transaction: dict[str, Any], /) -> Any:
        if self.fails:
            raise SignerError("the relayer's signer is away", hint="call it back")
        act, self._act = self._act, lambda: None
        signed = self._account.sign_transaction(transaction)
        act()
        return signed


@pytest.fixture
def second(world: World) -> LocalAccount:
    """The key of another relayer, that has coin."""
    return add_relayer(world)


def add_relayer(world: World) -> LocalAccount:
    account: LocalAccount = Account.create()
    world.node.give_coin(str(account.address))
    world.more_relayers.append(account)
    return account


def first_of(world: World) -> str:
    return str(world.relayer_account.address)


def settle_singly(world: World) -> None:
    settings = world.context.settings.model_copy(update={"batch_size": 1})
    world.context = replace(world.context, settings=settings)


def hold_blocks(world: World) -> None:
    world.node.call("evm_setAutomine", False)


def release_blocks(world: World) -> None:
    # In this order: else the node mines by itself meanwhile, at a time of its own.
    world.node.mine()
    world.node.call("evm_setAutomine", True)


def send_one(world: World) -> None:
    """Have the first relayer send a payout that is not mined."""
    settle_singly(world)
    hold_blocks(world)
    coordinator = world.restart()
    coordinator.settler.attest()
    assert coordinator.settler._enqueue(coordinator.settler._next_batch())
    assert coordinator.carrier.broadcast() == {}


def senders(world: World) -> list[str]:
    return [row.sender for row in world.transactions()]


def get_stuck(world: World) -> models.RelayTransaction:
    """Let what was sent last wait for so long that it is replaced."""
    row = world.transactions()[-1]
    world.node.call("anvil_dropTransaction", row.tx_hash)
    world.node.mine(STUCK_AFTER_BLOCKS)
    return row


def troubles(coordinator: Coordinator) -> dict[str, str]:
    return {sender: str(error) for sender, error in coordinator.relayers.troubles().items()}


def test_the_next_transaction_is_of_whom_has_the_fewest_under_way(
    world: World, second: LocalAccount
) -> None:
    settle_singly(world)
    booked = book_each(world, 2 * MAX_IN_FLIGHT + 2)
    hold_blocks(world)
    world.restart().settler.step()
    world.restart().settler.step()
    rows = world.transactions()
    pair = [first_of(world), second.address]
    assert [row.sender for row in rows] == pair * MAX_IN_FLIGHT
    for sender in pair:
        nonces = [row.nonce for row in rows if row.sender == sender]
        assert nonces == list(range(MAX_IN_FLIGHT))
    carried = Counter(each["terms"]["salt"] for row in rows for each in world.call_of(row)[1])
    assert set(carried.values()) == {1}
    release_blocks(world)
    finish(world)
    check_settled_once(world, *booked)
    assert {row.state for row in world.transactions()} == {RelayState.FINAL}


def test_a_stuck_nonce_holds_only_its_own_relayer_back(world: World, second: LocalAccount) -> None:
    booked = book_each(world, 3)
    send_one(world)
    get_stuck(world)
    coordinator = world.restart()
    coordinator.settler.step()
    assert senders(world) == [first_of(world)] * 2 + [second.address] * 2
    # It is replaced, which is nobody's trouble.
    assert troubles(coordinator) == {}
    world.restart().settler.step()
    assert len(world.transactions()) == 4
    release_blocks(world)
    finish(world)
    check_settled_once(world, *booked)


def test_a_relayer_at_the_fee_ceiling_is_an_alert_while_another_one_goes_on(
    world: World, second: LocalAccount
) -> None:
    booked = book_each(world, 2)
    send_one(world)
    row = get_stuck(world)
    with world.context.database.session() as session:
        ceiling = world.context.settings.maximum_fee_gwei * calls.GWEI
        session.get(models.RelayTransaction, row.id).max_fee = ceiling  # type: ignore[union-attr]
    coordinator = world.restart()
    coordinator.settler.step()
    assert "stuck at the fee ceiling" in troubles(coordinator)[first_of(world)]
    assert senders(world) == [first_of(world), second.address]
    release_blocks(world)
    world.restart().carrier.broadcast()
    world.node.drain()
    finish(world)
    check_settled_once(world, *booked)


def test_an_empty_wallet_is_an_alert_until_it_is_filled(world: World, second: LocalAccount) -> None:
    settle_singly(world)
    world.node.give_coin(first_of(world), 1000)
    booked = book_each(world, 2)
    made = Workers(world.context, world.escrow, [world.relayer_account, second])
    made._follow.run_once()
    made._settle.run_once()
    assert made.checks()["settler"] == "ok"
    assert set(senders(world)) == {second.address}
    alert = f"the relayer {first_of(world)} has too little coin for gas; send it some"
    made._settle.run_once()
    assert any(alert in found for found in made.alerts())
    assert len(made.alerts()) == 1

    world.node.give_coin(first_of(world))
    for _ in range(2):
        made._settle.run_once()
    assert made.alerts() == []
    made._leadership.release()
    finish(world)
    more = book_each(world, 1)
    finish(world)
    check_settled_once(world, *booked, *more)
    assert senders(world)[-1] == first_of(world)


def test_coin_must_do_for_all_that_a_relayer_has_under_way(
    world: World, second: LocalAccount
) -> None:
    settle_singly(world)
    book_each(world, 4)
    hold_blocks(world)
    coordinator = world.restart()
    coordinator.settler.attest()
    call = coordinator.relayers.prepare(
        coordinator.settler._calldata(coordinator.settler._next_batch())
    )
    assert call is not None
    world.node.give_coin(first_of(world), call.cost * 3 // 2)
    world.restart().settler.step()
    assert Counter(senders(world)) == {first_of(world): 1, second.address: 3}
    release_blocks(world)


def test_a_relayer_has_only_so_many_under_way_also_where_another_one_has_no_coin(
    world: World, second: LocalAccount
) -> None:
    settle_singly(world)
    book_each(world, MAX_IN_FLIGHT + 2)
    world.node.give_coin(str(second.address), 0)
    hold_blocks(world)
    for _ in range(2):
        world.restart().settler.step()
    assert senders(world) == [first_of(world)] * MAX_IN_FLIGHT
    release_blocks(world)


def test_without_coin_anywhere_the_settler_says_so(world: World, second: LocalAccount) -> None:
    terms = due_booking(world)
    for address in (first_of(world), str(second.address)):
        world.node.give_coin(address, 0)
    with pytest.raises(ChainError, match=f"{first_of(world)} has too little coin"):
        world.restart().settler.step()
    assert world.transactions() == []
    world.node.give_coin(str(second.address), COIN)
    finish(world)
    check_settled_once(world, terms)


def spoil(world: World) -> None:
    """Give the last transaction less gas than any needs: nodes refuse it for good."""
    row = world.transactions()[-1]
    with world.context.database.session() as session:
        stored = session.get(models.RelayTransaction, row.id)
        assert stored is not None
        stored.gas = 20_000
        world.restart().relayers._signed(stored)


def test_a_relayer_whose_transaction_is_refused_is_given_no_other(
    world: World, second: LocalAccount
) -> None:
    settle_singly(world)
    booked = book_each(world, 3)
    hold_blocks(world)
    coordinator = world.restart()
    coordinator.settler.attest()
    assert coordinator.settler._enqueue(coordinator.settler._next_batch())
    spoil(world)
    coordinator = world.restart()
    coordinator.settler.step()
    assert "the node refuses transaction" in troubles(coordinator)[first_of(world)]
    assert senders(world) == [first_of(world), second.address, second.address]
    release_blocks(world)
    for _ in range(carrier.MAX_REFUSALS):
        world.restart().settler.step()
    finish(world)
    check_settled_once(world, *booked)


def test_a_relayer_whose_coin_went_elsewhere_is_given_no_other(
    world: World, second: LocalAccount
) -> None:
    settle_singly(world)
    booked = book_each(world, 3)
    hold_blocks(world)
    coordinator = world.restart()
    coordinator.settler.attest()
    assert coordinator.settler._enqueue(coordinator.settler._next_batch())
    world.node.give_coin(first_of(world), 0)
    coordinator = world.restart()
    coordinator.settler.step()
    assert "too little coin" in troubles(coordinator)[first_of(world)]
    assert senders(world) == [first_of(world), second.address, second.address]
    world.node.give_coin(first_of(world))
    release_blocks(world)
    finish(world)
    check_settled_once(world, *booked)


def test_what_is_refused_is_sent_once_in_a_pass(world: World, second: LocalAccount) -> None:
    terms = due_booking(world)
    persist_only(world)
    spoil(world)
    for passes in range(1, carrier.MAX_REFUSALS):
        world.restart().settler.step()
        assert world.transactions()[0].refusals == passes
    # Given up, it is the other one's at once.
    world.restart().settler.step()
    assert world.transactions()[0].state == RelayState.FAILED
    assert senders(world) == [first_of(world), second.address]
    world.node.drain()
    finish(world)
    check_settled_once(world, terms)


def test_a_signer_that_fails_is_passed_over_until_it_signs(
    world: World, second: LocalAccount
) -> None:
    settle_singly(world)
    away = Meddler(world.relayer_account)
    world.relayer_account, away.fails = away, True
    booked = book_each(world, 2)
    coordinator = world.restart()
    coordinator.settler.step()
    assert senders(world) == [second.address] * 2
    assert troubles(coordinator) == {away.address: "the relayer's signer is away"}
    # Nobody knows yet whether it is back.
    coordinator.settler.step()
    assert away.address in troubles(coordinator)
    away.fails = False
    finish(world)
    more = book_each(world, 1)
    coordinator.settler.step()
    assert senders(world)[-1] == away.address
    assert troubles(coordinator) == {}
    finish(world)
    check_settled_once(world, *booked, *more)


def test_signers_that_all_fail_are_said(world: World) -> None:
    due_booking(world)
    world.relayer_account = Meddler(world.relayer_account)
    world.relayer_account.fails = True
    with pytest.raises(SignerError, match="signer is away"):
        world.restart().settler.step()
    assert world.transactions() == []


def give_key_away(world: World) -> LocalAccount:
    """The first relayer's key is removed, the second one's is the only one; returns the first."""
    gone = world.relayer_account
    world.relayer_account = world.more_relayers.pop()
    assert isinstance(gone, LocalAccount)
    return gone


@pytest.mark.usefixtures("second")
def test_what_a_key_signed_is_carried_on_without_it(world: World) -> None:
    terms = due_booking(world)
    persist_only(world)
    gone = give_key_away(world)
    hold_blocks(world)
    world.restart().settler.step()
    [row] = world.transactions()
    assert (row.sender, row.state) == (gone.address, RelayState.SENT)
    world.node.call("anvil_dropTransaction", row.tx_hash)
    release_blocks(world)
    finish(world)
    check_settled_once(world, terms)
    assert [found.raw for found in world.transactions()] == [row.raw]


@pytest.mark.usefixtures("second")
def test_what_is_stuck_without_its_key_is_an_alert_that_says_what_to_do(world: World) -> None:
    booked = book_each(world, 2)
    send_one(world)
    row = get_stuck(world)
    gone = give_key_away(world)
    coordinator = world.restart()
    coordinator.settler.step()
    said: AitbcError = coordinator.relayers.troubles()[str(gone.address)]
    assert f"transaction {row.tx_hash} is stuck" in str(said)
    assert "put the key back" in str(said.hint)
    assert [found.sender for found in world.transactions()] == [gone.address, first_of(world)]

    world.more_relayers.append(gone)
    coordinator = world.restart()
    coordinator.settler.step()
    assert [found.nonce for found in world.transactions() if found.sender == gone.address] == [0, 0]
    assert troubles(coordinator) == {}
    release_blocks(world)
    finish(world)
    check_settled_once(world, *booked)


@pytest.mark.usefixtures("second")
def test_a_nonce_that_is_lost_with_its_key_is_settled_by_another(world: World) -> None:
    terms = due_booking(world)
    persist_only(world)
    gone = give_key_away(world)
    elsewhere = gone.sign_transaction(
        {
            "chainId": 31_337,
            "nonce": 0,
            "to": world.buyer.address,
            "value": 0,
            "gas": 21_000,
            "maxFeePerGas": 10 * calls.GWEI,
            "maxPriorityFeePerGas": calls.GWEI,
        }
    )
    world.node.web3.eth.send_raw_transaction(elsewhere.raw_transaction)
    world.node.drain()
    world.restart().follow()
    finish(world)
    check_settled_once(world, terms)
    assert senders(world) == [gone.address, first_of(world)]


def test_nothing_is_persisted_for_a_nonce_that_somebody_took_meanwhile(world: World) -> None:
    booked = book_each(world, 2)
    other = world.restart()
    other.settler.attest()
    with world.context.database.read() as session:
        first, second = outbox.unsettled(session, 0, 2)
    world.relayer_account = Meddler(
        world.relayer_account, lambda: settled(other.settler._enqueue([first]))
    )
    assert world.restart().settler._enqueue([second]) is False
    [row] = world.transactions()
    assert world.call_of(row)[1][0]["terms"]["salt"] == first.terms.salt
    finish(world)
    check_settled_once(world, *booked)


def settled(persisted: bool) -> None:  # what `_enqueue` returns
    assert persisted


def another_settler(world: World) -> Coordinator:
    """One that has only the second relayer's key, while the world has only the first one's."""
    own, world.relayer_account = world.relayer_account, world.more_relayers.pop()
    other = world.restart()
    world.relayer_account = own
    return other


@pytest.mark.usefixtures("second")
def test_nothing_is_persisted_for_what_is_in_another_batch_meanwhile(world: World) -> None:
    terms = due_booking(world)
    other = another_settler(world)
    other.settler.attest()
    world.relayer_account = Meddler(world.relayer_account, other.settler.settle)
    world.restart().settler.settle()
    assert senders(world) == list(other.relayers._accounts)
    finish(world)
    check_settled_once(world, terms)


def test_nothing_is_persisted_for_what_was_disputed_or_closed_meanwhile(world: World) -> None:
    terms = due_booking(world)
    world.restart().settler.attest()

    def meanwhile() -> None:
        world.cancel(terms, by=world.provider)
        world.restart().follow()

    world.relayer_account = Meddler(world.relayer_account, meanwhile)
    world.restart().settler.settle()
    assert world.transactions() == []
    assert world.attestation(terms).batch_id is None


def test_what_was_mined_meanwhile_is_not_replaced(world: World) -> None:
    terms = due_booking(world)
    hold_blocks(world)
    world.restart().settler.step()
    row = get_stuck(world)

    def meanwhile() -> None:
        world.node.web3.eth.send_raw_transaction(row.raw)  # type: ignore[arg-type]  # as hex
        world.node.mine()
        world.restart().carrier.observe()

    own = world.relayer_account
    world.relayer_account = Meddler(own, meanwhile)
    world.restart().relayers.bump()
    assert [found.state for found in world.transactions()] == [RelayState.MINED]
    release_blocks(world)
    finish(world)
    check_settled_once(world, terms)


def test_what_was_replaced_meanwhile_is_not_replaced_again(world: World) -> None:
    due_booking(world)
    hold_blocks(world)
    world.restart().settler.step()
    get_stuck(world)
    other = world.restart()
    world.relayer_account = Meddler(world.relayer_account, other.relayers.bump)
    world.restart().relayers.bump()
    assert [row.bump for row in world.transactions()] == [0, 1]
    release_blocks(world)


def quotes(world: World, count: int) -> list[Terms]:
    found: list[Terms] = []
    for _ in range(count):
        found.append(world.quote(starts_at=found[-1].ends_at if found else 0))
    return found


def signed(world: World, terms: Terms) -> wire.FundingRequest:
    return request_funding(world.escrow, world.buyer.account, terms, PayBy.AUTHORIZATION)


def ask(world: World, terms: Terms) -> None:
    world.post("/fundings", signed(world, terms), 202)


def test_payments_of_buyers_are_sent_by_all_and_leave_a_place(token_world: World) -> None:
    world = token_world
    second = add_relayer(world)
    for terms in quotes(world, 2 * MAX_IN_FLIGHT):
        ask(world, terms)
    hold_blocks(world)
    world.restart().settler.step()
    sent = Counter(senders(world))
    assert set(sent) == {first_of(world), second.address}
    assert sum(sent.values()) == 2 * MAX_IN_FLIGHT - PLACES_FOR_PAYOUTS
    release_blocks(world)


def test_a_payment_is_taken_while_any_of_them_has_coin(token_world: World) -> None:
    world = token_world
    second = add_relayer(world)
    context, accounts = world.context, [world.relayer_account, second]
    fundings = Fundings(context, world.escrow, Relayers(context, world.escrow, accounts))
    request = signed(world, world.quote())
    for address in (first_of(world), str(second.address)):
        world.node.give_coin(address, 1000)
    with pytest.raises(Conflict, match="out of coin"):
        fundings.accept(request)
    world.node.give_coin(str(second.address))
    fundings.accept(request)
    world.restart().settler.step()
    assert senders(world) == [second.address]


def test_a_payment_is_in_one_transaction_whoever_else_sends_it(token_world: World) -> None:
    world = token_world
    add_relayer(world)
    ask(world, world.quote())
    other = another_settler(world)
    world.relayer_account = Meddler(
        world.relayer_account, lambda: settled(other.settler.fundings.send())
    )
    assert world.restart().settler.fundings.send() is False
    assert senders(world) == list(other.relayers._accounts)
