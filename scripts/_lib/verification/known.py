"""Which deep checks are known to hold for the contracts and their tests as they are."""

from __future__ import annotations

import record
from repository import ROOT, is_unchanged_since

RECORD = ROOT / "contracts" / "VERIFICATION.md"
NOT_THE_RECORD = f":!{RECORD.relative_to(ROOT)}"
SOURCES = ("contracts", "tests/contracts", "foundry.toml", "package-lock.json", NOT_THE_RECORD)
"""What the tests, proofs and mutants of the contracts are made of."""


def known_to_hold() -> frozenset[str]:
    """Names of the checks whose recorded finding is of what is checked out, and holds."""
    rows = record.read(RECORD)
    same = {commit: is_unchanged_since(commit, *SOURCES) for commit in {row.commit for row in rows}}
    return frozenset(row.id for row in rows if row.holds and same[row.commit])
