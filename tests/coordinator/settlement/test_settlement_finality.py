"""What was final stays, or everything stops; and what a node leaves out is found."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from escrow_world import Chain, Coordinator, World
from fault_proxy import Fault, FaultProxy, faulty
from settling import check_settled_once, due_booking, finish
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.errors import ChainError
from aitbc_coordinator import nodes
from aitbc_coordinator.nodes import Nodes, Unsuited
from aitbc_coordinator.settlement import follower as following
from aitbc_coordinator.settlement import repository
from aitbc_coordinator.settlement.follower import Follower, Replaced
from aitbc_coordinator.settlement.settler import Settler
from aitbc_coordinator.settlement.witness import bloom

Pair = tuple[FaultProxy, FaultProxy]
MakeFollower = Callable[..., Follower]


@pytest.fixture
def pair(chain: Chain) -> Iterator[Pair]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(faulty(chain.rpc_url)) for _ in range(2))
        yield first, second


@pytest.fixture
def follower(world: World) -> MakeFollower:
    """Makes a follower with other settings, through some proxies or straight."""

    def make(*proxies: FaultProxy, **changed: object) -> Follower:
        escrow = world.escrow
        if proxies:
            web3 = Web3(Nodes([proxy.url for proxy in proxies], 31_337))
            escrow = Escrow(web3, escrow.domain, "NativeEscrow")
        settings = world.context.settings.model_copy(update=changed)
        return Follower(world.context.database, escrow, settings)

    return make


def run(follower: Follower) -> None:
    while follower.step():
        pass


def halted(world: World) -> str | None:
    with world.context.database.read() as session:
        cursor = repository.cursor(session)
        assert cursor is not None
        return cursor.halted


@pytest.mark.parametrize("blocks", [3, 100])
def test_a_reorg_above_what_is_final_is_rewound_with_a_settlement_inside(
    world: World, follower: MakeFollower, blocks: int
) -> None:
    terms = due_booking(world)
    finish(world)
    settled_in = world.transactions()[0].mined_block
    assert settled_in is not None
    run(follower(finality_blocks=blocks))
    depth = world.node.web3.eth.block_number - settled_in + 1
    world.node.call("anvil_reorg", depth, [])
    world.node.mine(2)
    run(follower(finality_blocks=100))
    assert halted(world) is None
    assert world.booking(terms).status in {"attested", "settling"}
    finish(world)
    check_settled_once(world, terms)


def test_a_reorg_below_what_is_final_stops_follower_and_settler(
    world: World, coordinator: Coordinator, follower: MakeFollower
) -> None:
    terms = due_booking(world)
    world.node.mine(1)
    run(follower(finality_blocks=2))
    before, status = world.cursor_block(), world.booking(terms).status
    world.node.call("anvil_reorg", world.node.web3.eth.block_number - before + 4, [])
    for made in (follower(finality_blocks=2), follower(finality_blocks=100)):
        with pytest.raises(Replaced, match="was final") as found:
            run(made)
        assert "aitbc-coordinator rebuild" in str(found.value.hint)
    assert (world.cursor_block(), world.booking(terms).status) == (before, status)
    assert "was final" in str(halted(world))
    with pytest.raises(ChainError, match="while the follower is stopped: block"):
        coordinator.settler.step()
    assert world.transactions() == []


def test_nothing_new_is_promised_while_it_is_stopped(
    world: World, follower: MakeFollower, pair: Pair
) -> None:
    request = world.quote_request()
    quoted = world.post("/quotes", request)
    world.node.mine(6)
    made = follower(pair[0], finality_blocks=2)
    run(made)
    pair[0].fault = Fault.FORKED
    world.node.mine(1)
    with pytest.raises(Replaced):
        made.step()
    problem = world.post("/quotes", world.quote_request(), 503)
    assert problem["code"] == "chain-replaced"
    assert world.post("/quotes", request, 200) == quoted
    pair[0].fault = Fault.NONE
    run(made)
    world.quote(starts_at=world.context.now() + 3600)


def test_a_node_on_a_fork_of_its_own_is_passed_over_and_alone_it_stops_everything(
    world: World, coordinator: Coordinator, follower: MakeFollower, pair: Pair
) -> None:
    world.node.mine(6)
    run(follower(finality_blocks=2))
    pair[0].fault = Fault.FORKED
    world.node.mine(1)
    run(follower(*pair, finality_blocks=2))
    assert halted(world) is None
    alone = follower(pair[0], finality_blocks=2)
    with pytest.raises(Replaced):
        alone.step()
    assert halted(world) is not None
    pair[0].fault = Fault.NONE
    run(alone)
    assert halted(world) is None
    coordinator.settler.step()


def test_a_reorg_just_above_what_is_final_is_rewound(world: World, follower: MakeFollower) -> None:
    world.node.mine(6)
    made = follower(finality_blocks=2)
    run(made)
    confirmations = world.context.settings.confirmations
    world.node.call("anvil_reorg", confirmations + 2, [])
    world.node.mine(1)
    run(made)
    assert halted(world) is None
    world.node.call("anvil_reorg", confirmations + 3, [])
    with pytest.raises(Replaced):
        run(made)


def test_what_is_final_is_never_less_than_it_was(world: World, follower: MakeFollower) -> None:
    world.node.mine(6)
    run(follower(finality_blocks=0))
    world.node.mine(1)
    run(follower(finality_blocks=100))
    with world.context.database.read() as session:
        cursor = repository.cursor(session)
    assert cursor is not None
    assert cursor.final_number == cursor.block_number - 1


@pytest.mark.parametrize("tag", ["safe", "finalized"])
def test_blocks_are_followed_up_to_the_tag(world: World, follower: MakeFollower, tag: str) -> None:
    world.node.mine(70)
    run(follower(finality=tag))
    with world.context.database.read() as session:
        cursor = repository.cursor(session)
    assert cursor is not None
    eth = world.node.web3.eth
    assert cursor.block_number == eth.get_block(tag)["number"]  # type: ignore[arg-type]
    assert cursor.final_number == eth.get_block("finalized")["number"]


def test_the_settler_waits_for_a_node_that_has_seen_what_was_followed(
    world: World, coordinator: Coordinator, pair: Pair
) -> None:
    coordinator.follow()
    first, _ = pair
    first.fault = Fault.BEHIND
    escrow = Escrow(Web3(Nodes([first.url], 31_337)), world.escrow.domain, "NativeEscrow")
    settler = Settler(world.context, escrow, coordinator.relayers)
    with pytest.raises(Unsuited, match="was followed already"):
        nodes.consistently(escrow.web3, settler.step)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.NO_LOGS, "left out logs of block"),
        (Fault.NO_LOGS_IN_RECEIPTS, "left logs out of a block's receipts"),
        (Fault.NO_RECEIPTS, "does not tell the receipts of a block"),
    ],
)
def test_logs_that_one_node_leaves_out_another_one_gives(
    world: World, follower: MakeFollower, pair: Pair, fault: Fault, words: str
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(2)
    pair[0].fault = fault
    made = follower(*pair)
    run(made)
    assert world.booking(terms).status == "funded"
    (alert,) = nodes.troubles(made._escrow.web3)
    assert words in alert


def test_a_node_without_receipts_will_do_where_logs_are_not_checked(
    world: World, follower: MakeFollower, pair: Pair
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(2)
    pair[0].fault = Fault.NO_RECEIPTS
    with pytest.raises(Unsuited) as found:
        run(follower(pair[0]))
    assert "check_logs" in str(found.value.hint)
    run(follower(pair[0], check_logs=False))
    assert world.booking(terms).status == "funded"


def test_the_cursor_does_not_move_while_every_node_leaves_logs_out(
    world: World, follower: MakeFollower, pair: Pair
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(2)
    for proxy in pair:
        proxy.fault = Fault.NO_LOGS
    made = follower(*pair)
    for _ in range(2):
        with pytest.raises(Unsuited, match="left out logs") as found:
            run(made)
        assert "rpc_url" in str(found.value.hint)
    with world.context.database.read() as session:
        assert repository.cursor(session) is None
    pair[1].fault = Fault.NONE
    run(made)
    assert world.booking(terms).status == "funded"


def test_a_long_range_that_two_nodes_differ_about_is_read_in_short_ones(
    world: World, follower: MakeFollower, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "CHECKED_BLOCKS", 4)
    terms = world.quote()
    world.fund(terms)
    world.node.mine(20)
    pair[0].fault = Fault.NO_LOGS
    run(follower(*pair))
    world.check_conservation(terms)


def test_a_filter_has_what_was_put_in() -> None:
    own, other = (bytes([number]) * 20 for number in (1, 2))
    assert bloom([own]).bit_count() <= 3
    assert bloom([own, other]) == bloom([other]) | bloom([own])
    assert bloom([other]) & bloom([own]) != bloom([own])
