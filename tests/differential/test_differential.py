"""The contract and the state table agree on every step of any history.

`pytest --hypothesis-profile=deep tests/differential` plays more of them.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import histories
import pytest
from chain import Chain, EscrowOnChain
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from model import ROWS, Model, Rules

from aitbc.protocol.artifacts import EscrowName

FEE_BPS = 100
CLAIM_WINDOW = 3_600
EXAMPLES = settings.default.max_examples // 2
STOP = 0.5
"""How often a history ends where nothing can happen any more but refusals."""

LABELS = ("attester", "arbiter", "fee recipient", "alice", "bob", "carol", "stranger")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    started = Chain(tmp_path_factory.mktemp("node"))
    yield started
    started.stop()


@pytest.fixture(scope="module", params=["NativeEscrow", "TokenEscrow"])
def escrow(request: pytest.FixtureRequest, chain: Chain) -> EscrowOnChain:
    name: EscrowName = request.param
    keys = {label: chain.account(label) for label in LABELS}
    rules = Rules(
        attester=keys["attester"].address,
        arbiter=keys["arbiter"].address,
        fee_recipient=keys["fee recipient"].address,
        fee_bps=FEE_BPS,
        claim_window=CLAIM_WINDOW,
    )
    return EscrowOnChain(chain, name, rules, {key.address: key for key in keys.values()})


@pytest.fixture(scope="module")
def tally(escrow: EscrowOnChain) -> Counter[tuple[str, str]]:
    """How often each verb was done and refused on an escrow."""
    return Counter()


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=[Phase.generate],  # a shorter history would be another one
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**63))
def test_any_history_goes_as_the_table_says(
    escrow: EscrowOnChain, tally: Counter[tuple[str, str]], seed: int
) -> None:
    [snapshot] = escrow.chain.rpc(("evm_snapshot", []))
    try:
        play(escrow, Random(seed), tally)
    finally:
        escrow.chain.rpc(("evm_revert", [snapshot]))


def play(escrow: EscrowOnChain, random: Random, tally: Counter[tuple[str, str]]) -> None:
    actors = list(escrow.keys)
    alice, bob, carol = actors[3:6]
    now = int(escrow.chain.rpc(("eth_getBlockByNumber", ["latest", False]))[0]["timestamp"], 16)
    buyers, providers = [alice, bob], [bob, carol, carol, escrow.rules.attester]
    model = Model(escrow.rules, histories.bookings(random, now, buyers, providers))
    begin = escrow.read(model.bookings, actors)["wealth"]
    told = []
    for _ in range(histories.STEPS):
        if not histories.alive(model, now) and random.random() < STOP:
            return
        toggle_refusal(escrow, model, random, carol)
        step = histories.step(random, model, now, actors, token=escrow.token is not None)
        now, bookings = step.at, model.bookings
        told.append(step)

        expected = model.take(step)
        assert escrow.send(step, bookings) == expected, told
        outcome = "refused" if expected is None else "done"
        tally[step.verb, outcome] += 1
        check(escrow, model, begin, told)


def toggle_refusal(escrow: EscrowOnChain, model: Model, random: Random, account: str) -> None:
    """A provider that takes no payments for a while, where a payment is a call."""
    if escrow.token is None and random.random() < 0.15:
        model.refusing ^= {account}
        escrow.refuse_payments(account, refused=account in model.refusing)


def check(escrow: EscrowOnChain, model: Model, begin: dict[str, int], told: list[Any]) -> None:
    found = escrow.read(model.bookings, list(begin))
    slots = [(b.slot[0].lower(), *b.slot[1:]) for b in model.bookings]
    assert found["slots"] == slots, told
    assert found["disputed"] == [b.disputed_at for b in model.bookings], told
    assert found["owed"] == {a: model.owed[a] for a in begin}, told
    assert found["wealth"] == {a: begin[a] + model.wealth[a] for a in begin}, told
    held = sum(b.remaining for b in model.bookings) + sum(model.owed.values())
    assert found["held"] == held, told


def test_the_histories_tried_every_verb(
    escrow: EscrowOnChain, tally: Counter[tuple[str, str]]
) -> None:
    """Each was done and each was refused: what they agree on is not nothing."""
    native = escrow.token is None
    verbs = {verb for verb, _ in ROWS} | {"withdraw"}
    verbs -= histories.TOKEN_VERBS if native else set()
    assert verbs <= {verb for verb, outcome in tally if outcome == "done"}
    assert verbs <= {verb for verb, outcome in tally if outcome == "refused"}
