"""Whatever buyers and providers do, every unit of money is where the events say it is."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from people import Buyer, Provider

from aitbc.chain.escrow import Escrow
from aitbc.protocol.events import BookingEvent, Claimed, Funded
from aitbc.protocol.ledger import Money, moves
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState
from local_market import LocalMarket

GAS_MONEY = 10**17
PURSE = 50_000
SETTLED_WITHIN = 90


class Behaviour(Enum):
    DELIVER = "the provider delivers, then settlement"
    BUYER_CANCELS = "the buyer cancels before the start"
    PROVIDER_CANCELS = "the provider delivers, then cancels"
    CLAIM = "the provider delivers, claims with the receipt, then settlement"
    CLAIM_AND_CANCEL = "the provider delivers, claims, then cancels"


@dataclass(frozen=True)
class Plan:
    """What happens to one booking: `delivered` of its `duration` seconds, and then?"""

    behaviour: Behaviour
    duration: int
    delivered: int
    price: int


def _plan(behaviour: Behaviour, duration: int, share: int, price: int) -> Plan:
    # Who claims or cancels does so well before the end: after it, settlement may be first.
    limit = duration if behaviour is Behaviour.DELIVER else duration - 4
    return Plan(behaviour, duration, limit * share // 4, price)


plans = st.builds(
    _plan,
    st.sampled_from(Behaviour),
    st.integers(5, 8),
    st.integers(0, 4),
    st.integers(1_000, 20_000_000),
)


@dataclass
class Pair:
    """One booking's own buyer, provider and plan."""

    plan: Plan
    buyer: Buyer
    provider: Provider

    def book(self) -> None:
        prices = {"base_price": self.plan.price, "floor_price": 1, "ceiling_price": 2**60}
        gpu_id = self.provider.list_gpu(**prices)
        self.provider.open_session()
        quote = self.buyer.quote(gpu_id, self.plan.duration)
        self.terms, self.booking_id = quote.terms, quote.booking_id
        self.buyer.fund(self.terms)

    def play(self) -> None:
        self.book()
        if self.plan.behaviour is Behaviour.BUYER_CANCELS:
            self.buyer.call("cancel", self.terms.abi_values())
            return
        receipt = self.provider.deliver(self.booking_id, self.terms, self.plan.delivered)
        claims = self.plan.behaviour in {Behaviour.CLAIM, Behaviour.CLAIM_AND_CANCEL}
        if claims and receipt is not None:
            time.sleep(1.5)  # until a block's clock has reached the receipt
            signature = bytes.fromhex(receipt.signature[2:])
            self.provider.call("claim", self.terms.abi_values(), receipt.receipt.earned, signature)
        if self.plan.behaviour in {Behaviour.PROVIDER_CANCELS, Behaviour.CLAIM_AND_CANCEL}:
            self.provider.call("cancel", self.terms.abi_values())


def pair(market: LocalMarket, plan: Plan) -> Pair:
    buyer, provider = Buyer(market), Provider(market)
    market.fund(buyer.address, GAS_MONEY, PURSE)
    market.fund(provider.address, GAS_MONEY, 0)
    return Pair(plan, buyer, provider)


def wealth(market: LocalMarket, account: str) -> int:
    """Money of an account, with the gas it spent where that is the same money."""
    gas = market.gas_spent(account) if market.token is None else 0
    return market.money_of(account) + gas


def wait_until_closed(escrow: Escrow, pairs: Iterable[Pair]) -> None:
    deadline = time.time() + SETTLED_WITHIN
    for each in pairs:
        while escrow.slot(each.booking_id).state is EscrowState.OPEN:
            assert time.time() < deadline, f"never closed: {each.plan}"
            time.sleep(0.3)


def check(market: LocalMarket, plans: list[Plan]) -> None:
    pairs = [pair(market, plan) for plan in plans]
    parties = [person.address for each in pairs for person in (each.buyer, each.provider)]
    escrow = pairs[0].buyer.escrow()
    accounts = [*parties, market.escrow]
    before = {account: wealth(market, account) for account in accounts}

    with ThreadPoolExecutor(len(pairs)) as pool:
        list(pool.map(Pair.play, pairs))
    wait_until_closed(escrow, pairs)

    after = {account: wealth(market, account) for account in accounts}
    assert sum(after.values()) == sum(before.values())
    head = escrow.web3.eth.block_number
    events = escrow.events(market.deploy_block, head)
    fees = 0
    for each in pairs:
        own = [
            event
            for event in events
            if isinstance(event, BookingEvent) and event.booking_id == each.booking_id
        ]
        moved = sum(moves(each.terms.amount, own), Money())
        fees += moved.fees
        earned = moved.paid + moved.fees
        assert moved.total == each.terms.amount
        assert after[each.provider.address] - before[each.provider.address] == moved.paid
        assert before[each.buyer.address] - after[each.buyer.address] == earned
        assert_as_planned(each.plan, each.terms, own, earned)
    assert after[market.escrow] - before[market.escrow] == fees
    assert escrow.balance() == escrow.owed(escrow.parameters.fee_recipient)


def assert_as_planned(plan: Plan, terms: Terms, own: list[BookingEvent], earned: int) -> None:
    delivered = terms.amount * plan.delivered // plan.duration
    claimed = sum(e.paid + e.fee for e in own if isinstance(e, Claimed))
    expected = {
        Behaviour.DELIVER: delivered,
        Behaviour.CLAIM: delivered,
        Behaviour.BUYER_CANCELS: 0,
        Behaviour.PROVIDER_CANCELS: 0,
        Behaviour.CLAIM_AND_CANCEL: claimed,
    }
    assert isinstance(own[0], Funded)
    assert earned == expected[plan.behaviour]


REAL_TIME = settings(
    max_examples=2,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.timeout(900)
@REAL_TIME
@given(plans=st.lists(plans, min_size=5, max_size=8))
def test_conservation_in_a_token(token_market: LocalMarket, plans: list[Plan]) -> None:
    check(token_market, plans)


@pytest.mark.timeout(900)
@REAL_TIME
@given(plans=st.lists(plans, min_size=5, max_size=8))
def test_conservation_in_the_chains_coin(native_market: LocalMarket, plans: list[Plan]) -> None:
    check(native_market, plans)
