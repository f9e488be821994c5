"""Exact gas of every verb of both escrows, beside the least that any escrow must pay.

The contracts are the shipped ones and the node is a real anvil; the gas is what receipts report.
In every row all features are on (a fee of 1 %, an arbiter), balances and the fee's account are
not empty before or after. "Sent by anyone" is a relayer who is no party: where the attester's or
the buyer's signature is needed, it is in the calldata and is checked. A row of a batch is the
transaction's gas divided by its bookings, rounded up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

from aitbc.protocol.artifacts import ContractName, load_artifact, sources_sha256
from benchmark import Benchmark, Measured, Row
from gas import verbs
from gas.market import Market, open_markets
from gas.verbs import Gas
from local_market import ROOT, LocalMarketError

SNAPSHOT = ROOT / "tests" / "bench" / "gas.json"
CODE_SIZE_LIMIT = 24_576


@dataclass(frozen=True)
class Case:
    """A row to be measured, and the most that is accepted of its ratio or, without, of its gas."""

    id: str
    what: str
    measure: Callable[[Market], Gas]
    ratio: float | None = None
    gas: int | None = None

    def row(self, market: Market) -> Row:
        with market.chain.undone():
            measured = self.measure(market)
        return Row(
            id=self.id,
            what=self.what,
            value=measured.each,
            unit="gas",
            goal=self.ratio if self.ratio is not None else self.gas,
            floor=measured.floor,
            goal_of="value" if self.ratio is None else "ratio",
        )


RELAYED = "sent by anyone"
BY_ATTESTER = "sent by the attester"
SETTLE = partial(verbs.settle, by_attester=True)

TOKEN_CASES = (
    Case("fund_3009", f"ERC-3009, {RELAYED}", verbs.fund_3009, ratio=1.10),
    Case("fund_allowance", "standing allowance", verbs.fund, ratio=1.14),
    Case("fund_permit", "EIP-2612 permit, not the buyer's first", verbs.fund_permit),
    Case("fund_permit2", f"Permit2, fresh nonce word, {RELAYED}", verbs.fund_permit2, gas=129_500),
    Case("fund_many_10", "10 bookings of one buyer, each", verbs.fund_many, gas=37_000),
    Case("settle", f"from terms, with evidence, in full, {BY_ATTESTER}", SETTLE, ratio=1.30),
    Case("settle_relayed", f"as settle, {RELAYED}", verbs.settle),
    Case(
        "settle_by_id",
        f"a batch of one id, {BY_ATTESTER}",
        partial(verbs.settle_by_id, by_attester=True),
        ratio=1.20,
    ),
    Case("settle_by_id_relayed", f"as settle_by_id, {RELAYED}", verbs.settle_by_id),
    Case(
        "lifecycle_3009",
        "fund_3009 + settle",
        lambda market: verbs.fund_3009(market) + SETTLE(market),
        ratio=1.16,
    ),
    Case(
        "lifecycle_3009_relayed",
        "fund_3009 + settle_relayed",
        lambda market: verbs.fund_3009(market) + verbs.settle(market),
    ),
    Case("claim", f"half, attester's receipt, {RELAYED}", verbs.claim, gas=73_000),
    Case("cancel", "by the buyer, before the start", verbs.cancel, gas=59_700),
    Case("reclaim", f"after the window, {RELAYED}", verbs.reclaim, gas=55_000),
    Case("dispute", "by the buyer", verbs.dispute),
    Case("resolve", "half, by the arbiter", verbs.resolve),
    Case("withdraw", f"the fees owed, {RELAYED}", verbs.withdraw),
    Case(
        "settle_many_100x100",
        f"100 bookings, 100 providers, {RELAYED}, each",
        partial(verbs.settle_many, providers=100),
        gas=16_500,
    ),
    Case(
        "settle_many_100x10",
        f"100 bookings, 10 providers, {RELAYED}, each",
        partial(verbs.settle_many, providers=10),
        gas=8_500,
    ),
    Case(
        "settle_each_100x100",
        f"100 partial, 100 providers, 100 buyers, refunds, {RELAYED}, each",
        verbs.settle_each,
        gas=40_000,
    ),
)
NATIVE_CASES = (
    Case("native_fund", "native coin", verbs.fund, ratio=1.16),
    Case("native_settle", f"native coin, as settle, {BY_ATTESTER}", SETTLE, ratio=1.38),
    Case("native_settle_relayed", f"native coin, as settle_relayed, {RELAYED}", verbs.settle),
    Case(
        "native_lifecycle",
        "native_fund + native_settle",
        lambda market: verbs.fund(market) + SETTLE(market),
    ),
)


def measure() -> Measured:
    """Run every case. Raises LocalMarketError where a transaction reverts, or artifacts are old."""
    require_fresh_artifacts()
    with open_markets() as (token, native):
        rows = (*measure_rows(token, TOKEN_CASES), *measure_rows(native, NATIVE_CASES))
        sizes = (size_row("size_token", token), size_row("size_native", native))
    setting = {"compiler": load_artifact("TokenEscrow").compiler, "verbs": token.measured_verbs}
    return Measured(setting, (*rows, *sizes))


def measure_rows(market: Market, cases: Sequence[Case]) -> list[Row]:
    return [case.row(market) for case in cases]


def size_row(name: str, market: Market) -> Row:
    code = market.chain.web3.eth.get_code(market.escrow.address)
    what = "deployed code of the escrow"
    return Row(name, what, len(code), "bytes", goal=CODE_SIZE_LIMIT)


def require_fresh_artifacts() -> None:
    """Raises LocalMarketError unless what ships is what the sources say."""
    names: tuple[ContractName, ...] = get_args(ContractName)
    for name in names:
        artifact = load_artifact(name)
        sources = sources_sha256(ROOT, artifact.sources, artifact.compiler)
        if sources != artifact.sources_sha256:
            raise LocalMarketError(f"the artifact of {name} is stale: run `ape run compile` first")


BENCHMARK = Benchmark("gas", "exact gas of every verb, beside its floor", measure, SNAPSHOT)
