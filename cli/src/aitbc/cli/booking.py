"""`aitbc booking`: follow bookings, give them up, and take unspent money back."""

import time
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aitbc.cli import arguments
from aitbc.cli.app import command, group
from aitbc.cli.lookup import check_booking_id, find_booking, find_own_booking, find_terms
from aitbc.cli.output import Moment
from aitbc.cli.session import Session
from aitbc.cli.views import BOOKING_COLUMNS, booking_view
from aitbc.errors import AitbcError, ChainError, CoordinatorError, WalletError
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import BookingStatus, EscrowState
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Booking
from aitbc.records import OwnBooking

if TYPE_CHECKING:
    from aitbc.chain.escrow import Slot

PAGE = 200
WATCH_SECONDS = 2.0

booking = group("Follow bookings, cancel them, reclaim their money.")

IdArgument = Annotated[
    str, typer.Argument(help="Full id 0x…, short id b-…, or a unique prefix.", metavar="ID")
]


class Role(StrEnum):
    """On whose side of a booking this wallet is."""

    BUYER = "buyer"
    PROVIDER = "provider"


@command(
    booking, "list", examples=["aitbc booking list", "aitbc booking list --as provider --open"]
)
def list_bookings(
    session: Session,
    *,
    role: Annotated[
        Role | None, typer.Option("--as", help="Only as one side. [default: both]")
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those not closed.")] = False,
    status: Annotated[BookingStatus | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=PAGE)] = 50,
) -> None:
    """List your bookings, newest first, as the coordinator sees them."""
    market = session.market
    found: dict[str, Booking] = {}
    for side in [role] if role else list(Role):
        page = session.coordinator.bookings(
            **{side.value: session.address},
            open=True if open_only else None,
            status=status.value if status else None,
            limit=limit,
        )
        found |= {item.id: item for item in page.items}
    newest = sorted(found.values(), key=_funded_at, reverse=True)
    session.output.table(
        [booking_view(item, market) for item in newest[:limit]],
        BOOKING_COLUMNS,
        empty="no booking found",
    )


@command(booking, "show", examples=["aitbc booking show b-4t9wz2m0kc"])
def show(session: Session, booking_id: IdArgument) -> None:
    """Show a booking: what the coordinator says, and what the escrow itself stores of it."""
    try:
        found = find_booking(session, booking_id)
    except CoordinatorError as error:
        own = find_own_booking(session, booking_id)
        if own is None:
            raise
        session.output.note(f"the coordinator does not help: {error}")
        session.output.record(_recorded_view(session, own) | _on_chain(session, own.booking_id))
        return
    session.output.record(booking_view(found, session.market) | _on_chain(session, found.id))


@command(booking, "watch", examples=["aitbc booking watch b-4t9wz2m0kc"])
def watch(
    session: Session,
    booking_id: IdArgument,
    *,
    interval: Annotated[
        float, typer.Option(help="Seconds between two looks.", min=0.2, max=3600)
    ] = WATCH_SECONDS,
) -> None:
    """Follow a booking until it is closed, a line for every change."""
    seen: tuple[str, str, int] | None = None
    trouble: str | None = None
    check_booking_id(booking_id)
    with session.output.progress(f"watching {booking_id}") as tell:
        while True:
            try:
                found = find_booking(session, booking_id)
            except CoordinatorError as error:
                if not _may_recover(error, known=seen is not None or _is_own(session, booking_id)):
                    raise
                if str(error) != trouble:
                    session.output.note(f"still waiting: {error}")
                trouble = str(error)
            else:
                trouble = None
                now = (found.status.value, str(found.settlement_tx), found.earned)
                if seen is None or now != seen:
                    session.output.event(booking_view(found, session.market), _line(session, found))
                seen = now
                if found.status.closed:
                    return
                tell(f"{found.status.value}, {found.used_seconds} s delivered")
            time.sleep(interval)


@command(booking, "cancel", examples=["aitbc booking cancel b-4t9wz2m0kc"])
def cancel(session: Session, booking_id: IdArgument) -> None:
    """Give a booking up: what is left of its money goes back to the buyer.

    The buyer may until it starts, the provider at any time. Needs no coordinator for a booking
    that this home paid for.
    """
    terms = find_terms(session, booking_id)
    if session.address not in {terms.buyer, terms.provider}:
        raise WalletError(
            f"booking {booking_id} is neither bought nor provided by {session.address}",
            hint="see 'aitbc wallet list' and 'aitbc config set wallet NAME'",
        )
    if session.address != terms.provider and time.time() >= terms.starts_at:
        raise ChainError(
            f"the booking began at {arguments.shown_time(terms.starts_at)}: only its provider "
            "can cancel it now",
            hint="what is not delivered comes back to you when it is settled",
        )
    _close(session, terms, "cancel", "Cancel the booking?")


@command(booking, "reclaim", examples=["aitbc booking reclaim b-4t9wz2m0kc"])
def reclaim(session: Session, booking_id: IdArgument) -> None:
    """Send a booking's unclaimed money back to its buyer, once the claim window has passed.

    Needs no coordinator for a booking that this home paid for.
    """
    terms = find_terms(session, booking_id)
    opens_at = terms.ends_at + session.market.claim_window
    if time.time() < opens_at:
        raise ChainError(
            f"the booking can be reclaimed from {arguments.shown_time(opens_at)}",
            hint="until then its provider may still collect what was delivered",
        )
    _close(session, terms, "reclaim", "Send its money back to the buyer?")


def _close(session: Session, terms: Terms, verb: str, question: str) -> None:
    from aitbc.chain.transactions import send

    market, output = session.market, session.output
    booking_id = terms.booking_id(market.domain)
    slot = _open_slot(session, booking_id)
    refund = arguments.shown_amount(slot.remaining, market)
    output.summary(
        f"Booking {short_booking_id(booking_id)}",
        {"buyer": terms.buyer, "goes back to the buyer": refund},
    )
    output.confirm(question)
    escrow, account = session.escrow, session.account
    function = escrow.functions[verb](terms.abi_values())
    with output.progress("sending"):
        sent = send(escrow, account, function, on_sent=lambda tx: output.note(f"sent: {tx}"))
    output.record(
        {
            "id": booking_id,
            "short_id": short_booking_id(booking_id),
            "action": verb,
            "tx": sent.tx_hash,
            "refunded": format_amount(slot.remaining, market.decimals),
            "symbol": market.symbol,
            "buyer": terms.buyer,
        }
    )


def _open_slot(session: Session, booking_id: str) -> "Slot":
    slot = _slot(session, booking_id)
    if slot.state is EscrowState.OPEN:
        return slot
    short = short_booking_id(booking_id)
    if slot.state is EscrowState.DISPUTED:
        raise ChainError(f"booking {short} is disputed: its arbiter decides now")
    raise ChainError(
        f"the escrow holds no money of booking {short}: it was never paid, or is closed already",
        hint=f"see what happened: aitbc audit booking {booking_id}",
    )


def _slot(session: Session, booking_id: str) -> "Slot":
    from aitbc.chain.node import NODE_FAILURES, node_down

    escrow = session.escrow
    try:
        return escrow.slot(booking_id)
    except NODE_FAILURES as error:
        raise node_down(session.rpc_url) from error


def _on_chain(session: Session, booking_id: str) -> dict[str, Any]:
    """What the escrow stores now; without a node, the reason why that is not known."""
    try:
        slot = _slot(session, booking_id)
    except AitbcError as error:
        session.output.note(f"the escrow was not read: {error}")
        return {"on_chain": None}
    return {
        "on_chain": {
            "state": slot.state.name.lower(),
            "remaining": format_amount(slot.remaining, session.market.decimals),
        }
    }


def _recorded_view(session: Session, own: OwnBooking) -> dict[str, Any]:
    market, terms = session.market, own.terms
    return {
        "id": own.booking_id,
        "short_id": short_booking_id(own.booking_id),
        "gpu_id": own.gpu_id,
        "buyer": terms.buyer,
        "provider": terms.provider,
        "amount": format_amount(terms.amount, market.decimals),
        "symbol": market.symbol,
        "starts_at": Moment(terms.starts_at),
        "ends_at": Moment(terms.ends_at),
        "fund_tx": own.fund_tx,
    }


def _funded_at(booking: Booking) -> tuple[int, str]:
    """What the coordinator's lists are ordered by."""
    return min((seen.timestamp for seen in booking.transactions), default=0), booking.id


def _is_own(session: Session, booking_id: str) -> bool:
    return find_own_booking(session, booking_id) is not None


def _may_recover(error: CoordinatorError, *, known: bool) -> bool:
    """Whether waiting may help: a coordinator that restarts, or has yet to see the payment."""
    if error.problem == "unknown-booking":
        return known
    return known and (error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR)


def _line(session: Session, found: Booking) -> str:
    market = session.market
    line = f"{arguments.shown_time(int(time.time()))}  {found.status.value:<10}"
    line += f" earned {arguments.shown_amount(found.earned, market)}"
    if found.status.closed:
        line += (
            f", paid {arguments.shown_amount(found.paid, market)}"
            f", refunded {arguments.shown_amount(found.refunded, market)}"
        )
    if found.transactions:
        line += f"  tx {found.transactions[-1].tx_hash}"
    return line
