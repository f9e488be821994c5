"""The quickest of the symbolic proofs; `./scripts/verify symbolic` tries them all."""

import pytest

from verification import halmos

QUICK = "(Finality|Math|Refunds)Proof"


@pytest.mark.timeout(900)
def test_the_quick_proofs_hold() -> None:
    proofs = halmos.prove(("--match-contract", QUICK))
    assert len(proofs) >= 15
    assert [name for name, holds in proofs.items() if not holds] == []
