"""`aitbc audit` against a real node: exact, and without a wallet or a coordinator."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import Mock

import pytest
from eth_account import Account
from web3.exceptions import Web3RPCError

from aitbc.audit.reading import LARGEST_RANGE, pin_block, read_events
from aitbc.audit.reconcile import reconcile
from aitbc.errors import ChainError
from aitbc.protocol import events as ev
from aitbc.protocol.messages import Heartbeat, SessionGrant, Terms
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant, meter
from aitbc.protocol.states import ARBITER_WINDOW
from aitbc.protocol.units import format_amount, parse_amount
from aitbc.signing import sign
from escrow_lab import CLAIM_WINDOW, EscrowLab, user
from http_stub import Answer, serving
from in_process import run_here
from local_market import Node, User

AMOUNT = 60_000_001


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"))
    yield node
    node.stop()


@pytest.fixture(params=["native", "token"])
def lab(node: Node, request: pytest.FixtureRequest) -> EscrowLab:
    return EscrowLab(node, native=request.param == "native")


@pytest.fixture
def auditor(lab: EscrowLab, tmp_path: Path) -> User:
    """Somebody with the market pinned; no wallet, and nobody at the coordinator's URL."""
    somebody = user(tmp_path / "auditor", tmp_path / "none", lab.node.rpc_url)
    lab.profile(somebody.home)
    return somebody


STATUSES = {
    "whole": "settled",
    "partial": "settled",
    "cancelled": "cancelled",
    "dropped": "cancelled",
    "claimed": "funded",
    "forgotten": "reclaimed",
    "still": "funded",
    "divided": "resolved",
    "left": "reclaimed",
    "contested": "disputed",
}


def play_everything(lab: EscrowLab) -> dict[str, str]:
    """One booking through every transition; names → ids."""
    booked = {name: lab.fund(AMOUNT + n) for n, name in enumerate(STATUSES)}
    whole, partial, cancelled, dropped, claimed, forgotten, still, divided, left, contested = (
        booked.values()
    )
    lab.cancel(lab.buyer, cancelled)
    lab.move_to(whole.starts_at + 30)
    for disputed in (divided, left, contested):
        lab.dispute(disputed)
    lab.claim(divided, divided.amount // 5)
    lab.claim(claimed, claimed.amount // 3)
    lab.claim(partial, partial.amount // 4)
    lab.cancel(lab.provider, dropped)
    lab.move_to(still.ends_at + 1)
    lab.settle_many(whole)
    lab.settle(partial, partial.amount // 2 - 1)
    lab.move_to(forgotten.ends_at + CLAIM_WINDOW)
    lab.reclaim(forgotten)
    lab.resolve(divided, divided.amount // 2)
    lab.withdraw(lab.fee_recipient.address)
    lab.move_to(lab.now + ARBITER_WINDOW)
    lab.reclaim(left)
    return {name: lab.id(terms) for name, terms in booked.items()}


def report(done: CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_every_transition_reconciles(lab: EscrowLab, auditor: User) -> None:
    bookings = play_everything(lab)
    found = report(auditor.run("audit", "reconcile", "--format", "json"))
    assert found["reconciled"] is True
    assert found["violations"] == []
    assert found["block"] == lab.web3.eth.block_number
    units = {
        name: parse_amount(found[name], lab.market.decimals)
        for name in ("funded", "paid", "refunded", "fees", "open", "owed", "balance", "donations")
    }
    assert units["funded"] == sum(AMOUNT + n for n in range(len(STATUSES)))
    assert units["funded"] == sum(units[k] for k in ("paid", "refunded", "fees", "open", "owed"))
    assert units["balance"] == units["open"] + units["owed"] == lab.escrow.balance()
    assert units["donations"] == 0
    assert units["fees"] > 0
    statuses = {line["id"]: line["status"] for line in found["bookings"]}
    assert {name: statuses[booking] for name, booking in bookings.items()} == STATUSES


def test_the_table_for_people_names_every_booking(lab: EscrowLab, auditor: User) -> None:
    lab.fund(AMOUNT)
    done = run_here(auditor, "audit", "reconcile")
    assert done.returncode == 0, done.stderr
    assert format_amount(AMOUNT, lab.market.decimals) in done.stdout
    assert "reconciled" in done.stdout


def test_money_that_nobody_booked_with_is_shown_apart(lab: EscrowLab, auditor: User) -> None:
    lab.fund(AMOUNT)
    escrow = lab.escrow.domain.escrow
    if lab.native:
        lab.rpc("anvil_setBalance", escrow, hex(lab.escrow.balance() + 7))
    else:
        lab.send(lab.node.faucet, lab.token.functions.mint(escrow, 7))
    found = report(run_here(auditor, "audit", "reconcile", "--format", "json"))
    assert found["donations"] == format_amount(7, lab.market.decimals)
    assert found["reconciled"] is True


def test_one_unit_short_fails_and_names_the_booking(lab: EscrowLab, auditor: User) -> None:
    booking = lab.id(lab.fund(AMOUNT))
    escrow = lab.escrow.domain.escrow
    if lab.native:
        lab.rpc("anvil_setBalance", escrow, hex(lab.escrow.balance() - 1))
    else:
        lab.rpc("anvil_impersonateAccount", escrow)
        lab.rpc("anvil_setBalance", escrow, hex(10**18))
        lab.send(escrow, lab.token.functions.transfer(lab.node.faucet, 1))
    done = run_here(auditor, "audit", "reconcile", "--format", "json")
    found = report(done, code=1)
    assert found["reconciled"] is False
    assert [violation["bookings"] for violation in found["violations"]] == [[booking]]
    error = json.loads(done.stderr)
    assert booking in error["error"]
    assert "1 less" in error["error"]


def test_refused_payments_are_owed_until_withdrawn(node: Node, tmp_path: Path) -> None:
    lab = EscrowLab(node)
    first, second = lab.fund(AMOUNT), lab.fund(AMOUNT)
    lab.refuse_payments(lab.provider.address)
    lab.refuse_payments(lab.buyer.address)
    lab.move_to(first.ends_at)
    lab.settle_many(first, second)
    half = lab.fund_as_faucet(AMOUNT)
    lab.move_to(half.ends_at)
    lab.settle(half, AMOUNT // 2)

    before = reconcile(lab.escrow, lab.deploy_block, None, lambda *_: None)
    assert before.violations == ()
    assert before.ledger.left.paid == 0
    owed = before.ledger.owed[lab.provider.address]
    assert owed.paid == lab.escrow.owed(lab.provider.address) > 0

    lab.accept_payments(lab.provider.address)
    lab.withdraw(lab.provider.address)
    after = reconcile(lab.escrow, lab.deploy_block, None, lambda *_: None)
    assert after.violations == ()
    assert after.ledger.left.paid == owed.paid
    assert after.donations == 0


def test_an_old_block_is_audited_as_it_was(lab: EscrowLab, auditor: User) -> None:
    terms = lab.fund(AMOUNT)
    block = lab.web3.eth.block_number
    lab.cancel(lab.buyer, terms)
    done = run_here(auditor, "audit", "reconcile", "--block", str(block), "--format", "json")
    found = report(done)
    assert found["block"] == block
    assert found["open"] == format_amount(AMOUNT, lab.market.decimals)
    future = run_here(auditor, "audit", "reconcile", "--block", str(block + 1_000_000))
    assert future.returncode == 2
    assert "is not there yet" in future.stderr


def test_a_history_without_its_beginning_proves_nothing(lab: EscrowLab, auditor: User) -> None:
    """A coordinator that states a later block of deployment hides what came before."""
    hidden = lab.fund(AMOUNT)
    lab.cancel(lab.buyer, hidden)
    late = lab.web3.eth.block_number + 1
    lab.fund(AMOUNT)
    audit = ("audit", "reconcile", "--format", "json")
    assert report(run_here(auditor, *audit))["reconciled"] is True

    lab.profile(auditor.home, market=lab.market.model_copy(update={"deploy_block": late}))
    done = run_here(auditor, *audit)
    (violation,) = report(done, code=1)["violations"]
    assert violation["message"].startswith(f"the escrow is older than block {late}:")
    assert "--from-block" in json.loads(done.stderr)["error"]
    for first in (lab.deploy_block, 1, 0):
        assert report(run_here(auditor, *audit, "--from-block", str(first)))["reconciled"] is True
    after = run_here(auditor, *audit, "--from-block", str(lab.deploy_block + 1))
    assert after.returncode == 1
    empty = report(run_here(auditor, *audit, "--block", str(late - 1)), code=1)
    assert empty["funded"] == "0"


def test_a_node_that_dropped_old_blocks_is_not_believed(
    lab: EscrowLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fund(AMOUNT)
    forgets = Web3RPCError("missing trie node")
    monkeypatch.setattr(lab.escrow.web3.eth, "get_code", Mock(side_effect=forgets))
    found = reconcile(lab.escrow, lab.deploy_block, None, lambda *_: None)
    (violation,) = found.violations
    assert "use an archive node, or --from-block 0" in violation.message
    assert reconcile(lab.escrow, 0, None, lambda *_: None).reconciled


def test_an_escrow_that_no_profile_knows(lab: EscrowLab, tmp_path: Path) -> None:
    lab.fund(AMOUNT)
    stranger = user(tmp_path / "none", tmp_path / "none", "")
    escrow = lab.escrow.domain.escrow
    command = ["audit", "reconcile", "--rpc", lab.node.rpc_url, "--escrow", escrow]
    found = report(run_here(stranger, *command, "--format", "json"))
    assert found["reconciled"] is True
    assert found["funded"] == format_amount(AMOUNT, lab.market.decimals)
    assert found["symbol"] == lab.market.symbol
    assert not (tmp_path / "none").exists()
    wrong = "TokenEscrow" if lab.native else "NativeEscrow"
    refused = run_here(stranger, *command, "--contract", wrong)
    assert refused.returncode == 1
    assert "is not the escrow this program knows" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--escrow", "0x12"], 2, "is not an address"),
        (["--escrow", "0x" + "12" * 20], 1, "there is no contract"),
        (["--contract", "NativeEscrow"], 2, "goes with --escrow"),
        (["--rpc", "http://127.0.0.1:9"], 1, "does not answer"),
        (["--block", "-1"], 2, "--block"),
    ],
)
def test_what_cannot_be_audited(
    node: Node, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    auditor = user(tmp_path / "auditor", tmp_path / "none", node.rpc_url)
    EscrowLab(node).profile(auditor.home)
    done = run_here(auditor, "audit", "reconcile", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_one_booking_with_its_transactions(lab: EscrowLab, auditor: User) -> None:
    bookings = play_everything(lab)
    wanted = bookings["partial"]
    short = report(run_here(auditor, "audit", "reconcile", "--format", "json"))["bookings"]
    short_id = next(line["short_id"] for line in short if line["id"] == wanted)
    found = report(run_here(auditor, "audit", "booking", short_id, "--format", "json"))
    assert found["id"] == wanted
    assert found["ends_at"] - found["starts_at"] == 60
    assert [event["time"] for event in found["events"]] == sorted(
        lab.web3.eth.get_block(event["block"])["timestamp"] for event in found["events"]
    )
    assert [event["event"] for event in found["events"]] == ["Funded", "Claimed", "Settled"]
    assert all(len(event["tx_hash"]) == 66 for event in found["events"])
    assert found["evidence_checked"] is False
    assert found["problems"] == []
    assert found["disputed_at"] is None
    divided = report(run_here(auditor, "audit", "booking", bookings["divided"], "--format", "json"))
    events = {event["event"]: event["time"] for event in divided["events"]}
    assert list(events) == ["Funded", "Disputed", "Claimed", "Resolved"]
    assert divided["disputed_at"] == events["Disputed"]
    whole = report(run_here(auditor, "audit", "booking", bookings["whole"], "--format", "json"))
    in_full = whole["events"][-1]
    assert in_full["event"] == "SettledInFull"
    assert (in_full["paid"], in_full["fee"]) == (whole["paid"], whole["fee"])
    assert "refunded" not in in_full
    unknown = run_here(auditor, "audit", "booking", "0xffffffff")
    assert unknown.returncode == 1
    assert "there is no booking" in unknown.stderr


def test_evidence_is_held_to_the_pinned_markets_allowance(
    lab: EscrowLab, auditor: User, tmp_path: Path
) -> None:
    terms = lab.fund(AMOUNT)
    lab.move_to(terms.ends_at)
    proof = one_heartbeat(lab, terms, lab.market.heartbeat_allowance + 1)
    lab.settle(terms, proof.earned, proof.digest())
    audit = ("audit", "booking", lab.id(terms), "--format", "json")
    with serving(lambda *_: Answer(body=proof.model_dump_json().encode())) as url:
        found = report(run_here(replace(auditor, coordinator_url=url), *audit), code=1)
        stranger = user(tmp_path / "none", tmp_path / "none", lab.node.rpc_url, url)
        foreign = ("--escrow", lab.escrow.domain.escrow)
        unbounded = report(run_here(stranger, *audit, *foreign))
    assert found["problems"] == ["heartbeat 1 covers 21 seconds, the market takes at most 20"]
    assert unbounded["evidence_checked"] is True


def one_heartbeat(lab: EscrowLab, terms: Terms, seconds: int) -> Evidence:
    """Evidence of a booking's first seconds, by a single heartbeat."""
    domain, key = lab.escrow.domain, Account.create()
    grant = SessionGrant(
        provider=lab.provider.address, session_key=key.address, expires_at=terms.ends_at
    )
    beat = Heartbeat(
        booking_id=lab.id(terms),
        sequence=1,
        covers_from=terms.starts_at,
        covers_until=terms.starts_at + seconds,
        telemetry="{}",
    )
    granted = SignedSessionGrant(grant=grant, signature=sign(lab.provider, grant, domain))
    signed = SignedHeartbeat(heartbeat=beat, signature=sign(key, beat, domain))
    return meter(lab.id(terms), terms, [granted], [signed])


class FussyEscrow:
    """A real escrow behind a node that answers for at most `limit` blocks at a time."""

    def __init__(self, lab: EscrowLab, limit: int) -> None:
        self.escrow = lab.escrow
        self.limit = limit
        self.asked: list[int] = []

    def events(self, from_block: int, to_block: int) -> list[ev.EscrowEvent]:
        size = to_block - from_block + 1
        self.asked.append(size)
        if size > self.limit:
            raise ValueError(f"query returned more than {self.limit} blocks")
        return self.escrow.events(from_block, to_block)


def test_ranges_halve_until_the_node_answers(node: Node) -> None:
    lab = EscrowLab(node)
    lab.rpc("anvil_mine", "0x40")
    terms = lab.fund(AMOUNT)
    lab.cancel(lab.buyer, terms)
    head = lab.web3.eth.block_number
    fussy: Any = FussyEscrow(lab, limit=3)
    seen: list[tuple[int, int]] = []
    found = list(read_events(fussy, 0, head, lambda at, last: seen.append((at, last))))
    assert found == lab.escrow.events(0, head)
    assert len(found) == 2
    assert seen[-1] == (head, head)
    assert max(fussy.asked) > 3
    assert max(fussy.asked) <= LARGEST_RANGE
    silent: Any = FussyEscrow(lab, limit=0)
    with pytest.raises(ChainError, match="failed at block 0"):
        list(read_events(silent, 0, head, lambda *_: None))
    assert silent.asked[-1] == 1


def test_a_chain_that_is_replaced_meanwhile_is_not_judged(node: Node) -> None:
    lab = EscrowLab(node)
    lab.fund(AMOUNT)

    def reorganise(*_: object) -> None:
        lab.rpc("anvil_reorg", 1, [])

    with pytest.raises(ChainError, match="was replaced while it was read"):
        reconcile(lab.escrow, lab.deploy_block, None, reorganise)


def test_booking_ids_are_the_contracts(lab: EscrowLab) -> None:
    terms = lab.terms(AMOUNT)
    assert "0x" + lab.escrow.functions.idOf(terms.abi_values()).call().hex() == lab.id(terms)
    assert pin_block(lab.escrow, 0).number == 0
