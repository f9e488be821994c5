"""Whether a run ended as its plan says: on the chain, in the ledger, in people's wallets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from faults import projected
from faults.chain import PURSE, Wallet
from faults.evidence import Evidence, Outcome, planned_outcome, some


def judge(evidence: Evidence, buyers: Iterable[Wallet]) -> list[str]:
    """What is wrong, a line each; nothing where all is as planned."""
    return [
        *(f"ledger: {violation}" for violation in evidence.report.violations),
        *_chain(evidence),
        *_purses(evidence, buyers),
        *projected.judge(evidence),
    ]


def _chain(evidence: Evidence) -> Iterator[str]:
    strangers = evidence.report.ledger.bookings.keys() - evidence.by_id.keys()
    if strangers:
        yield f"chain: bookings that nobody planned: {some(strangers)}"
    found = {outcome.number: outcome for outcome in evidence.outcomes}
    for lived in evidence.lived:
        planned, actual = planned_outcome(lived), found.get(lived.planned.number)
        if actual is None:
            yield f"chain: booking {planned.number} ({planned.kind}) is not there"
        elif actual != planned:
            yield f"chain: booking {planned.number} ({planned.kind}): {difference(planned, actual)}"


def difference(planned: Outcome, actual: Outcome) -> str:
    """What of two outcomes differs."""
    wanted, got = asdict(planned), asdict(actual)
    return "; ".join(
        f"{name} {got[name]}, not {wanted[name]}" for name in wanted if got[name] != wanted[name]
    )


def _purses(evidence: Evidence, buyers: Iterable[Wallet]) -> Iterator[str]:
    """What wallets hold must be what the ledger says."""
    expected: Counter[str] = Counter({buyer.address: PURSE for buyer in buyers})
    for line in evidence.report.ledger.bookings.values():
        expected[line.terms.provider] += line.paid
        expected[line.terms.buyer] += line.refunded - line.terms.amount
    for account, money in expected.items():
        actual = evidence.chain.money_of(account)
        if actual != money:
            yield f"purse of {account}: {actual}, not {money}"
