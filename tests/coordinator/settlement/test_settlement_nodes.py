"""Several endpoints of one chain, some of which fail."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from escrow_world import Chain, Coordinator, World
from fault_proxy import Fault, FaultProxy, faulty
from web3 import Web3
from web3.exceptions import Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NodeFailed
from aitbc.errors import ChainError
from aitbc_coordinator import nodes
from aitbc_coordinator.nodes import FIRST_REST_SECONDS, LONGEST_REST_SECONDS, Nodes, Unsuited
from aitbc_coordinator.settlement.follower import Follower

CHAIN_ID = 31_337
FAILING = [
    Fault.REFUSED,
    Fault.HANGING,
    Fault.TRICKLING,
    Fault.TRUNCATED,
    Fault.MALFORMED,
    Fault.NO_RPC,
    Fault.LIMITED,
    Fault.BROKEN,
    Fault.ANOTHER_CHAIN,
]

Pair = tuple[FaultProxy, FaultProxy]


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pair(chain: Chain) -> Iterator[Pair]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(faulty(chain.rpc_url)) for _ in range(2))
        yield first, second


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


def over(*proxies: FaultProxy, watch: Stopwatch, timeout_seconds: float = 15) -> Nodes:
    urls = [proxy.url + "/v3rys3cr3t" for proxy in proxies]
    return Nodes(urls, CHAIN_ID, monotonic=watch, timeout_seconds=timeout_seconds)


def follower_over(world: World, *proxies: FaultProxy, watch: Stopwatch) -> Follower:
    escrow = Escrow(Web3(over(*proxies, watch=watch)), world.escrow.domain, "NativeEscrow")
    return Follower(world.context.database, escrow, world.context.settings)


@pytest.mark.parametrize("fault", FAILING)
def test_another_endpoint_answers_where_the_first_fails(
    pair: Pair, watch: Stopwatch, fault: Fault
) -> None:
    first, second = pair
    first.fault = fault
    made = over(first, second, watch=watch, timeout_seconds=3)
    assert Web3(made).eth.block_number > 0
    asked = len(first.asked)
    Web3(made).eth.block_number  # noqa: B018
    assert len(first.asked) == asked, "it rests"
    assert set(first.asked) == {"eth_chainId"}
    assert second.asked == ["eth_chainId", "eth_blockNumber", "eth_blockNumber"]
    (trouble,) = made.troubles()
    assert trouble.startswith(f"the node at {first.url} is passed over: it")
    assert "v3rys3cr3t" not in trouble


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.ANOTHER_CHAIN])
def test_where_all_fail_each_is_named_and_no_key_is_shown(pair: Pair, fault: Fault) -> None:
    for proxy in pair:
        proxy.fault = fault
    with pytest.raises(ChainError) as found:
        nodes.connect([proxy.url + "/v3rys3cr3t" for proxy in pair], CHAIN_ID)
    assert all(proxy.url in str(found.value) for proxy in pair)
    assert "v3rys3cr3t" not in str(found.value)


def test_an_endpoint_rests_ever_longer_and_is_preferred_again_once_it_recovers(
    pair: Pair, watch: Stopwatch
) -> None:
    first, second = pair
    first.fault = Fault.BROKEN
    made = over(first, second, watch=watch)
    web3 = Web3(made)
    rests = []
    for _ in range(9):
        web3.eth.block_number  # noqa: B018
        rests.append(made.endpoints[0].rests_until - watch.now)
        watch.now = made.endpoints[0].rests_until
    assert rests[:3] == [FIRST_REST_SECONDS * factor for factor in (1, 2, 4)]
    assert rests[-1] == LONGEST_REST_SECONDS
    first.fault = Fault.NONE
    first.asked.clear()
    asked_second = len(second.asked)
    web3.eth.block_number  # noqa: B018
    assert first.asked == ["eth_chainId", "eth_blockNumber"], "its chain is asked again"
    assert len(second.asked) == asked_second
    assert made.troubles() == []


def test_an_endpoint_that_comes_back_on_another_chain_is_not_used(
    pair: Pair, watch: Stopwatch
) -> None:
    first, second = pair
    made = over(first, second, watch=watch)
    web3 = Web3(made)
    web3.eth.block_number  # noqa: B018
    first.fault = Fault.REFUSED
    web3.eth.block_number  # noqa: B018
    first.fault = Fault.ANOTHER_CHAIN
    watch.now = made.endpoints[0].rests_until
    first.asked.clear()
    web3.eth.block_number  # noqa: B018
    assert first.asked == ["eth_chainId"]
    assert second.asked[-1] == "eth_blockNumber"
    assert "it is on chain 5, this market on chain 31337" in made.troubles()[0]


def test_an_error_that_is_an_answer_is_asked_nowhere_else(pair: Pair, watch: Stopwatch) -> None:
    first, second = pair
    made = over(first, second, watch=watch)
    with pytest.raises(Web3RPCError):
        Web3(made).eth.send_raw_transaction(b"\x02nonsense")
    assert second.asked == []
    assert made.troubles() == []


def test_one_step_is_answered_by_one_endpoint_and_begins_anew_with_the_next(
    pair: Pair, watch: Stopwatch
) -> None:
    first, second = pair
    web3 = Web3(over(first, second, watch=watch))
    begun = []

    def step() -> int:
        begun.append(None)
        before = web3.eth.block_number
        first.fault = Fault.BROKEN
        web3.eth.get_block(before)
        return before

    assert nodes.consistently(web3, step) > 0
    assert len(begun) == 2
    assert first.asked == ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber"]
    assert second.asked == ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber"]


def test_an_endpoint_whose_answers_do_not_do_is_passed_over_and_named(
    pair: Pair, watch: Stopwatch
) -> None:
    first, second = pair
    first.fault = Fault.BEHIND
    made = over(first, second, watch=watch)
    web3 = Web3(made)
    head = Web3(Web3.HTTPProvider(second.target)).eth.block_number

    def step() -> int:
        found = web3.eth.block_number
        if found < head:
            raise Unsuited(f"it is at block {found}")
        return found

    assert nodes.consistently(web3, step) == head
    assert "passed over: it is at block" in json.dumps(made.troubles())
    first.fault = Fault.NONE
    watch.now = LONGEST_REST_SECONDS
    assert nodes.consistently(web3, step) == head
    assert made.troubles() == []
    for proxy in pair:
        proxy.fault = Fault.BEHIND
    with pytest.raises(Unsuited, match="it is at block"):
        nodes.consistently(web3, step)


def test_a_single_endpoint_is_asked_though_it_rests(pair: Pair, watch: Stopwatch) -> None:
    first, _ = pair
    first.fault = Fault.BROKEN
    web3 = Web3(over(first, watch=watch))
    for _ in range(3):
        with pytest.raises(NodeFailed, match="it answers with status 503"):
            web3.eth.block_number  # noqa: B018
    first.fault = Fault.NONE
    assert web3.eth.block_number > 0


def test_a_node_behind_what_was_followed_is_passed_over(
    world: World, coordinator: Coordinator, pair: Pair, watch: Stopwatch
) -> None:
    coordinator.follow()
    first, _ = pair
    first.fault = Fault.BEHIND
    follower = follower_over(world, *pair, watch=watch)
    world.node.mine(3)
    before = world.cursor_block()
    while follower.step():
        pass
    assert world.cursor_block() == before + 3
    assert "eth_getLogs" not in first.asked


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.TRUNCATED, Fault.LIMITED])
def test_a_node_that_fails_in_the_middle_of_a_step_costs_nothing(
    world: World, pair: Pair, watch: Stopwatch, fault: Fault
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(world.context.settings.confirmations)
    first, _ = pair
    first.fails_at = ("eth_getLogs", fault)
    follower = follower_over(world, *pair, watch=watch)
    while follower.step():
        pass
    assert first.asked[-1] == "eth_getLogs"
    assert world.booking(terms).status == "funded"
    world.check_conservation(terms)
