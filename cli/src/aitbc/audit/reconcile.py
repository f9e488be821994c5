"""The audit of a whole escrow: its events, its own word and its balance must agree."""

from dataclasses import dataclass

from aitbc.audit.reading import (
    Block,
    Progress,
    check_unchanged,
    pin_block,
    read_events,
    read_state,
)
from aitbc.chain.escrow import Escrow
from aitbc.chain.node import node_call
from aitbc.protocol.ledger import (
    ChainState,
    Ledger,
    Rules,
    Violation,
    build_ledger,
    compare,
)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What an audit found at one block. Amounts are base units."""

    block: Block
    ledger: Ledger
    state: ChainState
    violations: tuple[Violation, ...]

    @property
    def reconciled(self) -> bool:
        return not self.violations

    @property
    def donations(self) -> int:
        """Money that nobody booked with: sent to the escrow outside of it. Negative: missing."""
        return self.state.balance - self.ledger.held


def reconcile(
    escrow: Escrow, from_block: int, block_number: int | None, progress: Progress
) -> Reconciliation:
    """Audit an escrow from its first block to `block_number`, by default the newest.

    Raises ChainError when the node fails or the chain is reorganised meanwhile.
    """
    block = pin_block(escrow, block_number)
    ledger = build_ledger(read_events(escrow, from_block, block.number, progress), rules(escrow))
    state = read_state(escrow, ledger, block)
    check_unchanged(escrow, block)
    violations = [*ledger.violations, *compare(ledger, state)]
    if not ledger.balanced:
        violations.append(Violation((), "funded is not paid + refunded + fees + open + owed"))
    return Reconciliation(block, ledger, state, tuple(violations))


def rules(escrow: Escrow) -> Rules:
    """What the escrow's own code enforces. Raises ChainError when the node fails."""
    with node_call("the escrow was read"):
        parameters = escrow.parameters
    return Rules(
        domain=escrow.domain,
        fee_bps=parameters.fee_bps,
        fee_recipient=parameters.fee_recipient,
        claim_window=parameters.claim_window,
    )
