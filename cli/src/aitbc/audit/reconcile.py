"""The audit of a whole escrow: its events, its own word and its balance must agree."""

from dataclasses import dataclass

from aitbc.audit.reading import (
    Block,
    Progress,
    check_unchanged,
    is_deployed,
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

    `from_block` is checked: an escrow that was there before it is not reconciled. Raises
    ChainError when the node fails or the chain is reorganised meanwhile.
    """
    block = pin_block(escrow, block_number)
    ledger = build_ledger(read_events(escrow, from_block, block.number, progress), rules(escrow))
    state = read_state(escrow, ledger, block)
    violations = [
        *_history_violations(escrow, from_block, block),
        *ledger.violations,
        *compare(ledger, state),
    ]
    check_unchanged(escrow, block)
    if not ledger.balanced:
        violations.append(Violation((), "funded is not paid + refunded + fees + open + owed"))
    return Reconciliation(block, ledger, state, tuple(violations))


def _history_violations(escrow: Escrow, from_block: int, block: Block) -> list[Violation]:
    """Books over part of a history prove nothing: the escrow must not be older than it."""
    before = min(from_block - 1, block.number)
    older = is_deployed(escrow, before) if before >= 0 else False
    if older is None:
        message = (
            f"the node does not know whether the escrow is older than block {from_block}:"
            " use an archive node, or --from-block 0"
        )
    elif older:
        message = (
            f"the escrow is older than block {from_block}:"
            " read from an earlier block (--from-block)"
        )
    else:
        return []
    return [Violation((), message)]


def rules(escrow: Escrow) -> Rules:
    """What the escrow's own code enforces. Raises ChainError when the node fails."""
    with node_call("the escrow was read"):
        parameters = escrow.parameters
    return Rules(
        domain=escrow.domain,
        fee_bps=parameters.fee_bps,
        fee_recipient=parameters.fee_recipient,
        claim_window=parameters.claim_window,
        arbiter=parameters.arbiter,
    )
