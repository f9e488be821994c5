"""`aitbc audit`: proof of where the money is. Needs a node; no wallet and no coordinator."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from aitbc.cli.app import command, group
from aitbc.cli.arguments import checked
from aitbc.cli.lookup import choose_booking
from aitbc.cli.output import Format, Moment
from aitbc.cli.session import Session
from aitbc.errors import AitbcError, CoordinatorError, InvalidInput
from aitbc.protocol.events import BookingEvent
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.ledger import BookingLine, Money, moves
from aitbc.protocol.types import parse_address
from aitbc.protocol.units import format_amount

if TYPE_CHECKING:
    from aitbc.audit.reconcile import Reconciliation
    from aitbc.chain.escrow import Escrow

BOOKING_COLUMNS = {
    "short_id": "BOOKING",
    "status": "STATUS",
    "funded": "FUNDED",
    "paid": "PAID",
    "fee": "FEE",
    "refunded": "REFUNDED",
    "open": "OPEN",
}
EVENT_COLUMNS = {
    "event": "EVENT",
    "time": "TIME",
    "block": "BLOCK",
    "paid": "PAID",
    "fee": "FEE",
    "refunded": "REFUNDED",
    "tx_hash": "TRANSACTION",
}

RpcOption = Annotated[
    str | None, typer.Option("--rpc", help="The node to ask. Default: your profile's.")
]
EscrowOption = Annotated[
    str | None, typer.Option("--escrow", help="Audit this escrow. Default: your market's.")
]
ContractOption = Annotated[
    Literal["NativeEscrow", "TokenEscrow"] | None,
    typer.Option("--contract", help="What --escrow is. Default: told by its code."),
]
FromOption = Annotated[
    int | None,
    typer.Option(
        "--from-block",
        min=0,
        help="Where the escrow was deployed, or earlier. Default: your market's, or 0.",
    ),
]
BlockOption = Annotated[
    int | None, typer.Option("--block", min=0, help="Audit at this block. Default: the newest.")
]

app = group("Prove from the chain alone where every unit of an escrow's money is.")


class Target(NamedTuple):
    """What is audited, and how its money is written."""

    escrow: "Escrow"
    from_block: int
    symbol: str
    decimals: int

    def shown(self, amount: int) -> str:
        return format_amount(amount, self.decimals)


@command(
    app,
    "reconcile",
    examples=[
        "aitbc audit reconcile",
        "aitbc audit reconcile --rpc http://127.0.0.1:8545 --escrow 0x… --from-block 1",
    ],
)
def reconcile(
    session: Session,
    *,
    rpc: RpcOption = None,
    escrow: EscrowOption = None,
    contract: ContractOption = None,
    from_block: FromOption = None,
    block: BlockOption = None,
) -> None:
    """Check that funded = paid + refunded + fees + open + owed, and that the escrow holds it.

    Exits with 0 only if events, escrow and balance agree to the last unit.
    """
    target = _target(session, rpc, escrow, contract, from_block)
    found = _audit(session, target, block)
    _show_reconciliation(session, target, found)
    if not found.reconciled:
        first = found.violations[0]
        where = f" in {', '.join(first.bookings)}" if first.bookings else ""
        raise AitbcError(
            f"the escrow does not reconcile: {len(found.violations)} violation(s),"
            f" the first{where}: {first.message}"
        )


@command(app, "booking", examples=["aitbc audit booking b-4xr2"])
def booking(
    session: Session,
    booking_id: Annotated[str, typer.Argument(help="Id, short id, or a unique prefix.")],
    *,
    rpc: RpcOption = None,
    escrow: EscrowOption = None,
    contract: ContractOption = None,
    from_block: FromOption = None,
    block: BlockOption = None,
) -> None:
    """Show a booking's events, and check what it earned against the coordinator's evidence."""
    target = _target(session, rpc, escrow, contract, from_block)
    found = _audit(session, target, block)
    line = found.ledger.bookings[choose_booking(booking_id, found.ledger.bookings)]
    problems = [v.message for v in found.violations if line.booking_id in v.bookings]
    checked, disproved = _check_evidence(session, target, line)
    problems += disproved
    _show_booking(session, target, line, evidence_checked=checked, problems=problems)
    if problems:
        raise AitbcError(f"booking {line.booking_id} does not hold: {problems[0]}")


def _target(
    session: Session,
    rpc: str | None,
    address: str | None,
    contract: Literal["NativeEscrow", "TokenEscrow"] | None,
    from_block: int | None,
) -> Target:
    rpc_url = rpc or session.rpc_url
    if address is None:
        if contract is not None:
            raise InvalidInput("--contract goes with --escrow", hint="name it")
        from aitbc.chain.escrow import open_checked

        market = session.market
        pinned = open_checked(rpc_url, market)
        first = market.deploy_block if from_block is None else from_block
        return Target(pinned, first, market.symbol, market.decimals)

    from aitbc.audit.opening import open_foreign
    from aitbc.chain.node import node_call

    foreign = open_foreign(rpc_url, checked("--escrow", parse_address, address), contract)
    with node_call("the token was read"):
        return Target(foreign, from_block or 0, *foreign.coin)


def _audit(session: Session, target: Target, block: int | None) -> "Reconciliation":
    from aitbc.audit.reconcile import reconcile as audit

    with session.output.progress("reading the escrow's events") as tell:
        return audit(
            target.escrow,
            target.from_block,
            block,
            lambda at, last: tell(f"reading the escrow's events: block {at} of {last}"),
        )


def _check_evidence(session: Session, target: Target, line: BookingLine) -> tuple[bool, list[str]]:
    """Whether the coordinator's evidence could be had, and what it fails to bear out."""
    from aitbc.audit.evidence import evidence_problems

    try:
        evidence = session.coordinator.evidence(line.booking_id)
    except CoordinatorError as error:
        session.output.note(f"the evidence was not checked: {error}")
        return False, []
    market, domain = session.profile.market, target.escrow.domain
    pinned = market if market is not None and market.domain == domain else None
    allowance = pinned.heartbeat_allowance if pinned is not None else None
    return True, evidence_problems(evidence, line, domain, allowance)


def _show_reconciliation(session: Session, target: Target, found: "Reconciliation") -> None:
    ledger, shown = found.ledger, target.shown
    totals = {
        "reconciled": found.reconciled,
        "escrow": target.escrow.domain.escrow,
        "chain_id": target.escrow.domain.chain_id,
        "block": found.block.number,
        "block_hash": found.block.hash,
        "symbol": target.symbol,
        "funded": shown(ledger.funded),
        "paid": shown(ledger.left.paid),
        "refunded": shown(ledger.left.refunded),
        "fees": shown(ledger.left.fees),
        "open": shown(ledger.open),
        "owed": shown(ledger.total_owed),
        "balance": shown(found.state.balance),
        "donations": shown(found.donations),
    }
    violations = [{"bookings": list(v.bookings), "message": v.message} for v in found.violations]
    rows = [_line_view(target, line) for line in ledger.bookings.values()]
    if session.output.format is Format.JSON:
        owed = {account: shown(money.total) for account, money in ledger.owed.items()}
        lists = {"owed_by_account": owed, "violations": violations, "bookings": rows}
        session.output.data({**totals, **lists})
        return
    session.output.record(totals)
    if rows:
        session.output.note("")
        session.output.table(rows, BOOKING_COLUMNS)
    for violation in found.violations:
        about = ", ".join(short_booking_id(booking_id) for booking_id in violation.bookings)
        session.output.note(f"violation: {about or 'the escrow'}: {violation.message}")


def _show_booking(
    session: Session,
    target: Target,
    line: BookingLine,
    *,
    evidence_checked: bool,
    problems: list[str],
) -> None:
    terms = line.terms
    record: dict[str, Any] = {
        **_line_view(target, line),
        "symbol": target.symbol,
        "buyer": terms.buyer,
        "provider": terms.provider,
        "starts_at": Moment(terms.starts_at),
        "ends_at": Moment(terms.ends_at),
        "disputed_at": Moment.of(line.disputed_at),
        "evidence_checked": evidence_checked,
        "problems": problems,
    }
    events = [
        _event_view(target, event, money)
        for event, money in zip(line.events, moves(line.terms.amount, line.events), strict=True)
    ]
    if session.output.format is Format.JSON:
        session.output.data({**record, "events": events})
        return
    del record["transactions"]
    session.output.record(record)
    session.output.note("")
    session.output.table(events, EVENT_COLUMNS)


def _line_view(target: Target, line: BookingLine) -> dict[str, Any]:
    return {
        "id": line.booking_id,
        "short_id": short_booking_id(line.booking_id),
        "status": line.status.value,
        "funded": target.shown(line.terms.amount),
        "paid": target.shown(line.paid),
        "fee": target.shown(line.fee),
        "refunded": target.shown(line.refunded),
        "open": target.shown(0 if line.status.closed else line.remaining),
        "transactions": [event.tx_hash for event in line.events],
    }


def _event_view(target: Target, event: BookingEvent, money: Money) -> dict[str, Any]:
    moved = {"paid": money.paid, "fee": money.fees, "refunded": money.refunded}
    amounts = {
        name: target.shown(amount)
        for name, amount in moved.items()
        if amount or hasattr(event, name)
    }
    return {
        "event": type(event).__name__,
        "time": Moment(event.timestamp),
        "block": event.block_number,
        **amounts,
        "tx_hash": event.tx_hash,
    }
