"""Signed payments of buyers without coin: what is accepted, what is sent, and at what cost."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from escrow_world import PURSE, Chain, World
from eth_account import Account
from fastapi.testclient import TestClient
from signed import Clock, Wallet
from sqlmodel import col, select

from aitbc.chain.funding import relayable_call, request_funding
from aitbc.protocol import wire
from aitbc.protocol.funding import PERMIT2, PayBy, RelayMethod
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.errors import Conflict
from aitbc_coordinator.nodes import Nodes
from aitbc_coordinator.serve import describe_market
from aitbc_coordinator.settlement import funding_rows, outbox, relayers, repository, transactions
from aitbc_coordinator.settlement.fundings import DAY_SECONDS, PLACES_FOR_PAYOUTS, Fundings
from aitbc_coordinator.settlement.models import Funding, RelayState, RelayTransaction
from aitbc_coordinator.settlement.relayers import MAX_IN_FLIGHT, Relayers

GWEI = 10**9
FUNDINGS_IN_FLIGHT = MAX_IN_FLIGHT - PLACES_FOR_PAYOUTS


def signed(
    world: World, terms: Terms, method: RelayMethod = PayBy.AUTHORIZATION
) -> wire.FundingRequest:
    return request_funding(world.escrow, world.buyer.account, terms, method)


def ask(world: World, terms: Terms, method: RelayMethod = PayBy.AUTHORIZATION) -> Any:
    return world.post("/fundings", signed(world, terms, method), 202)


def refused(world: World, request: wire.FundingRequest, status: int, code: str) -> str:
    """That a request is refused so, and leaves nothing; the problem's detail and hint."""
    before = rows(world)
    problem = world.post("/fundings", request, status)
    assert problem["code"] == code, problem
    assert rows(world) == before
    return f"{problem['detail']} {problem['hint']}"


def rows(world: World) -> list[Funding]:
    with world.context.database.read() as session:
        return list(session.exec(select(Funding).order_by(col(Funding.booking_id))).all())


def row(world: World, terms: Terms) -> Funding:
    with world.context.database.read() as session:
        found = funding_rows.find(session, world.id_of(terms))
        assert found is not None
        return found


def state(world: World, terms: Terms) -> EscrowState:
    return world.escrow.slot(world.id_of(terms)).state


def quotes(world: World, count: int) -> list[Terms]:
    """Quotes of one GPU, one after the other."""
    found: list[Terms] = []
    for _ in range(count):
        found.append(world.quote(starts_at=found[-1].ends_at if found else 0))
    return found


def desk(world: World, **settings: Any) -> Fundings:
    """The part that takes fundings, with other settings."""
    changed = world.context.settings.model_copy(update=settings)
    context = replace(world.context, settings=changed)
    return Fundings(context, world.escrow, Relayers(context, world.escrow, [world.relayer_account]))


@pytest.fixture
def permit2_allowance(token_world: World, chain: Chain) -> None:
    approve = chain.test_dollar.functions.approve(PERMIT2, PURSE)
    token_world.node.give_coin(token_world.buyer.address)
    token_world.node.send(token_world.buyer, approve)
    token_world.node.give_coin(token_world.buyer.address, 0)


@pytest.mark.parametrize("method", [PayBy.AUTHORIZATION, PayBy.PERMIT2])
@pytest.mark.usefixtures("permit2_allowance")
def test_a_buyer_without_coin_is_funded_once(token_world: World, method: RelayMethod) -> None:
    world = token_world
    terms = world.quote()
    answer = ask(world, terms, method)
    assert answer == {"booking_id": world.id_of(terms), "fund_by": terms.fund_by}
    assert ask(world, terms, method) == answer
    world.restart().settle()
    assert state(world, terms) is EscrowState.OPEN
    assert world.booking(terms).gpu_id == world.gpu_id
    assert ask(world, terms, method) == answer
    world.restart().settle()
    assert [found.state for found in world.transactions()] == [RelayState.FINAL]
    assert world.balance(world.buyer.address) == 0


def test_only_live_quotes_of_this_coordinator_are_paid(token_world: World) -> None:
    world = token_world
    terms = world.quote()
    cheaper = terms.model_copy(update={"amount": terms.amount - 1})
    refused(world, signed(world, cheaper), 404, "unknown-quote")
    request = signed(world, terms)
    world.node.mine(at=terms.fund_by)
    assert "new one" in refused(world, request, 409, "quote-expired")


def test_only_the_buyers_signature_over_these_terms_is_taken(token_world: World) -> None:
    world = token_world
    first, second = quotes(world, 2)
    stranger = Wallet(Account.create(), world.escrow.domain)
    forged = request_funding(world.escrow, stranger.account, first, PayBy.AUTHORIZATION)
    refused(world, forged, 403, "wrong-signer")
    of_another = signed(world, first).model_copy(update={"terms": second})
    refused(world, of_another, 403, "wrong-signer")


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "1"},
        {"method": "permit2"},
        {"method": "permit"},
        {"signature": "0x"},
        {"signature": "0x" + "00" * 2049},
        {"more": 1},
    ],
    ids=str,
)
def test_bad_bodies_are_refused(token_world: World, change: dict[str, Any]) -> None:
    body = signed(token_world, token_world.quote()).model_dump(mode="json") | change
    answer = token_world.client.post("/v1/fundings", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_what_would_fail_is_not_accepted(token_world: World, chain: Chain) -> None:
    world = token_world
    first, second = quotes(world, 2)
    # No allowance to Permit2.
    refused(world, signed(world, first, PayBy.PERMIT2), 422, "would-fail")
    # The buyer's own, in a form that no token takes.
    good = signed(world, first)
    last = int(good.signature[-2:], 16) - 27
    short = good.model_copy(update={"signature": f"{good.signature[:-2]}{last:02x}"})
    refused(world, short, 422, "would-fail")
    world.node.give_coin(world.provider.address)
    world.node.send(world.provider, relayable_call(world.escrow, signed(world, first)))
    detail = refused(world, signed(world, first), 422, "would-fail")
    assert "Escrow_AlreadyFunded" in detail

    world.node.give_coin(world.buyer.address)
    left = chain.test_dollar.functions.balanceOf(world.buyer.address).call()
    move = chain.test_dollar.functions.transfer(world.provider.address, left)
    world.node.send(world.buyer, move)
    refused(world, signed(world, second), 422, "would-fail")


# Counts down from 30,000, which takes some 800,000 gas, then takes any signature (ERC-1271).
DEAR_WALLET = "0x620075305b6001900380600457" + "631626ba7e60e01b5f5260205ff3"


def test_a_buyers_contract_that_burns_gas_is_not_paid_for(token_world: World) -> None:
    world = token_world
    request = signed(world, world.quote()).model_copy(update={"signature": "0x" + "11" * 65})
    world.node.call("anvil_setCode", world.buyer.address, DEAR_WALLET)
    assert "more than 500000 gas" in refused(world, request, 422, "would-fail")


def test_a_buyers_contract_may_sign(token_world: World) -> None:
    world = token_world
    terms = world.quote()
    request = signed(world, terms).model_copy(update={"signature": "0x1234"})
    cheap = DEAR_WALLET.replace("62007530", "62000001")
    world.node.call("anvil_setCode", world.buyer.address, cheap)
    world.post("/fundings", request, 202)
    world.restart().settle()
    assert state(world, terms) is EscrowState.OPEN


def test_one_payment_for_each_booking(token_world: World, permit2_allowance: None) -> None:
    world = token_world
    terms = world.quote()
    ask(world, terms)
    refused(world, signed(world, terms, PayBy.PERMIT2), 409, "funding-accepted")


def announced(world: World, **changes: Any) -> tuple[str, ...]:
    settings = world.context.settings.model_copy(update=changes)
    return describe_market(settings, world.escrow).relays


def test_a_market_announces_what_it_sends(token_world: World) -> None:
    assert announced(token_world) == (PayBy.AUTHORIZATION, PayBy.PERMIT2)
    assert announced(token_world, relay_budget_gwei_per_day=0) == ()


def test_a_market_in_the_chains_coin_announces_nothing(world: World) -> None:
    assert announced(world) == ()


def test_off_is_off(token_world: World) -> None:
    world = token_world
    request = signed(world, world.quote())
    closed = world.context.market.model_copy(update={"relays": (PayBy.PERMIT2,)})
    context = replace(world.context, market=closed)
    fundings = Fundings(
        context, world.escrow, Relayers(context, world.escrow, [world.relayer_account])
    )
    with pytest.raises(Conflict, match="sends no payments by authorization") as caught:
        fundings.accept(request)
    assert "--no-relay" in str(caught.value.hint)
    with TestClient(create_app(world.context, checks=dict, alerts=list)) as client:
        answer = client.post("/v1/fundings", json=request.model_dump(mode="json"))
    assert (answer.status_code, answer.json()["code"]) == (409, "relay-off")


def test_nothing_is_accepted_while_gas_is_dear(token_world: World) -> None:
    world = token_world
    request = signed(world, world.quote())
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(51 * GWEI))
    world.node.mine()
    assert "--no-relay" in refused(world, request, 409, "gas-too-dear")


def test_gas_that_became_dear_lets_a_payment_wait(token_world: World) -> None:
    world = token_world
    terms = world.quote()
    ask(world, terms)
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(51 * GWEI))
    world.node.mine()
    world.restart().settler.step()
    assert (world.transactions(), row(world, terms).attempts) == ([], 0)
    world.node.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    world.node.mine()
    world.restart().settle()
    assert state(world, terms) is EscrowState.OPEN


def test_a_relayer_without_coin_accepts_nothing(token_world: World) -> None:
    world = token_world
    world.node.give_coin(world.relayer_account.address, 1000)
    assert "out of coin" in refused(world, signed(world, world.quote()), 409, "relay-budget")


def test_a_node_that_is_down_is_not_the_buyers_fault(
    token_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = token_world
    request = signed(world, world.quote())
    nowhere = Nodes(["http://127.0.0.1:9/secret"], None).endpoints
    monkeypatch.setattr(world.escrow.web3.provider, "endpoints", nowhere)
    assert "secret" not in refused(world, request, 503, "node-unavailable")


def test_none_is_taken_while_what_was_final_is_replaced(token_world: World) -> None:
    world = token_world
    request = signed(world, world.quote())
    world.restart().follow()
    world.context.database.transact(partial(repository.halt, reason="block 1 was final"))
    assert "pay no quote" in refused(world, request, 503, "chain-replaced")
    world.context.database.transact(partial(repository.halt, reason=None))
    world.post("/fundings", request, 202)


def test_the_budget_of_a_day(token_world: World, clock: Clock) -> None:
    world = token_world
    first, second = quotes(world, 2)
    fundings = desk(world, relay_budget_gwei_per_day=600_000)
    fundings.accept(signed(world, first))
    spent = row(world, first).cost_gwei
    assert 300_000 < spent <= 600_000
    with pytest.raises(Conflict) as caught:
        fundings.accept(signed(world, second))
    assert caught.value.code == "relay-budget"
    assert desk(world, relay_budget_gwei_per_day=2 * spent + 1_000).accept(signed(world, second))
    world.restart().settle()

    world.node.mine(at=world.context.now() + DAY_SECONDS)
    third = world.quote()
    fundings.accept(signed(world, third))


def test_what_expired_unsent_costs_nothing(token_world: World) -> None:
    world = token_world
    fundings = desk(world, relay_budget_gwei_per_day=600_000)
    first = world.quote()
    fundings.accept(signed(world, first))
    world.node.mine(at=first.fund_by)
    world.restart().follow()
    fundings.accept(signed(world, world.quote()))
    assert world.transactions() == []


def test_a_raised_fee_counts(token_world: World) -> None:
    world = token_world
    terms = world.quote()
    ask(world, terms)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    before = row(world, terms).cost_gwei
    (sent,) = world.transactions()
    world.node.call("anvil_dropTransaction", sent.tx_hash)
    world.node.mine(relayers.STUCK_AFTER_BLOCKS)
    world.restart().relayers.bump()
    assert row(world, terms).cost_gwei * 8 >= before * 9


def test_replicas_do_not_spend_the_budget_twice(token_world: World) -> None:
    world = token_world
    world.restart().follow()
    requests = [signed(world, terms) for terms in quotes(world, 4)]
    fundings = desk(world, relay_budget_gwei_per_day=600_000)

    def accepted(request: wire.FundingRequest) -> bool:
        try:
            fundings.accept(request)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(accepted, requests)) == 1


def test_what_would_fail_by_now_is_not_sent(token_world: World, chain: Chain) -> None:
    world = token_world
    poisoned, good = quotes(world, 2)
    ask(world, poisoned)
    world.node.send(world.provider, relayable_call(world.escrow, signed(world, poisoned)))
    ask(world, good)
    world.restart().settler.step()
    for _ in range(outbox.MAX_ATTEMPTS + 1):
        world.restart().settler.step()
    assert len(world.transactions()) == 1
    assert row(world, poisoned).attempts == outbox.MAX_ATTEMPTS
    world.restart().settle()
    assert state(world, good) is EscrowState.OPEN


def fund(world: World, terms: Terms) -> None:
    world.node.send(world.provider, relayable_call(world.escrow, signed(world, terms)))


def sent_verbs(world: World) -> list[str]:
    def verb(found: RelayTransaction) -> str:
        function, _ = world.escrow.contract.decode_function_input(found.calldata)
        return str(function.fn_name)

    return [verb(found) for found in world.transactions()]


def test_payouts_go_first_and_keep_a_place(token_world: World) -> None:
    world = token_world
    ended = world.quote(duration=10)
    fund(world, ended)
    world.restart().follow()
    world.pass_allowance(ended)
    world.restart().follow()
    asked = [world.quote(starts_at=world.context.now() + 100 * n) for n in range(1, 6)]
    for terms in asked:
        ask(world, terms)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    assert sent_verbs(world) == ["settleEach"] + ["fundWithAuthorization"] * 2
    assert len(world.transactions()) == FUNDINGS_IN_FLIGHT


def test_a_payout_finds_a_place_however_many_buyers_ask(token_world: World) -> None:
    world = token_world
    ended = world.quote(duration=10)
    fund(world, ended)
    world.restart().follow()
    asked = [world.quote(starts_at=ended.ends_at + 100 * n) for n in range(1, 6)]
    for terms in asked:
        ask(world, terms)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    assert sent_verbs(world) == ["fundWithAuthorization"] * FUNDINGS_IN_FLIGHT
    with world.context.database.session() as session:
        cursor = repository.cursor(session)
        assert cursor is not None
        cursor.block_timestamp = ended.ends_at + world.context.settings.heartbeat_allowance + 1
    world.restart().settler.step()
    assert sent_verbs(world)[FUNDINGS_IN_FLIGHT:] == ["settleEach"]


def test_a_payment_in_a_lost_transaction_is_sent_again(
    token_world: World,
) -> None:
    world = token_world
    terms = world.quote()
    ask(world, terms)
    world.node.call("evm_setAutomine", False)
    world.restart().settler.step()
    (lost,) = world.transactions()
    world.node.call("anvil_dropTransaction", lost.tx_hash)
    with world.context.database.session() as session:
        transactions.give_up(session, lost)
    world.node.call("evm_setAutomine", True)
    world.restart().settle()
    assert state(world, terms) is EscrowState.OPEN
    assert row(world, terms).attempts == 1


def test_a_payment_that_reverted_is_not_sent_again(token_world: World) -> None:
    world = token_world
    terms = world.quote()
    ask(world, terms)
    coordinator = world.restart()
    coordinator.settler.fundings.send()
    fund(world, terms)  # somebody else is quicker
    world.restart().settle()
    world.restart().settle()
    assert [found.state for found in world.transactions()] == [RelayState.FAILED]
    assert row(world, terms).batch_id is not None
    assert state(world, terms) is EscrowState.OPEN
