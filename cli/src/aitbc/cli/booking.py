"""`aitbc booking`: follow bookings. What prolongs or ends them is in modules of its own."""

import time
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

import typer

from aitbc.cli import arguments
from aitbc.cli.app import command, group
from aitbc.cli.closing import (
    WALLET_HINT,
    IdArgument,
    cancel,
    read_slot,
    reclaim,
    times_view,
)
from aitbc.cli.disputing import dispute, resolve
from aitbc.cli.extending import extend
from aitbc.cli.lookup import check_booking_id, find_booking, find_own_booking
from aitbc.cli.output import Moment
from aitbc.cli.session import Session
from aitbc.cli.views import BOOKING_COLUMNS, booking_view
from aitbc.errors import AitbcError, CoordinatorError, WalletError
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import BookingStatus, phases
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Booking
from aitbc.records import OwnBooking

PAGE = 200
WATCH_SECONDS = 2.0

booking = group("Follow bookings, extend, cancel or dispute them, reclaim their money.")


class Role(StrEnum):
    """What this wallet is to a booking; the arbiter divides every disputed one."""

    BUYER = "buyer"
    PROVIDER = "provider"
    ARBITER = "arbiter"


@command(
    booking, "list", examples=["aitbc booking list", "aitbc booking list --as provider --open"]
)
def list_bookings(
    session: Session,
    *,
    role: Annotated[
        Role | None, typer.Option("--as", help="Only as this. [default: buyer and provider]")
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those not closed.")] = False,
    status: Annotated[BookingStatus | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=PAGE)] = 50,
) -> None:
    """List your bookings, newest first, as the coordinator sees them."""
    market = session.market
    found: dict[str, Booking] = {}
    for side in [role] if role else [Role.BUYER, Role.PROVIDER]:
        wanted = status
        party = {side.value: session.address}
        if side is Role.ARBITER:
            wanted, party = status or BookingStatus.DISPUTED, {}
            _require_arbiter(session)
        page = session.coordinator.bookings(
            **party,
            open=True if open_only else None,
            status=wanted.value if wanted else None,
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
        session.output.record(
            _recorded_view(session, own) | _on_chain(session, own.booking_id, own.terms)
        )
        return
    shown = booking_view(found, session.market) | _on_chain(session, found.id, found.terms)
    session.output.record(shown)


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


command(booking, "extend", examples=["aitbc booking extend b-4t9wz2m0kc --duration 2h"])(extend)
command(booking, "cancel", examples=["aitbc booking cancel b-4t9wz2m0kc"])(cancel)
command(booking, "dispute", examples=["aitbc booking dispute b-4t9wz2m0kc"])(dispute)
command(
    booking,
    "resolve",
    examples=[
        "aitbc booking resolve b-4t9wz2m0kc --earned 1.25",
        "aitbc booking resolve b-4t9wz2m0kc --percent 40",
    ],
)(resolve)
command(booking, "reclaim", examples=["aitbc booking reclaim b-4t9wz2m0kc"])(reclaim)


def _on_chain(session: Session, booking_id: str, terms: Terms) -> dict[str, Any]:
    """What the escrow stores now; without a node, the reason why that is not known.

    While it holds something: until when it can be claimed, and from when on reclaimed. Between
    the two, after a dispute, is the arbiter's time.
    """
    try:
        slot = read_slot(session, booking_id)
    except AitbcError as error:
        session.output.note(f"the escrow was not read: {error}")
        return {"on_chain": None}
    shown: dict[str, Any] = {
        "state": slot.state.name.lower(),
        "remaining": format_amount(slot.remaining, session.market.decimals),
    }
    if slot.remaining:
        times = phases(terms, session.market.claim_window, slot.disputed_at)
        shown |= times_view(times, slot.disputed_at)
    return {"on_chain": shown}


def _require_arbiter(session: Session) -> None:
    if session.address != session.market.arbiter:
        raise WalletError(
            f"the wallet in use, {session.address}, is not this market's arbiter",
            hint=WALLET_HINT,
        )


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
    if found.status is BookingStatus.DISPUTED:
        times = phases(found.terms, market.claim_window, found.disputed_at)
        line += (
            f", the arbiter decides from {arguments.shown_time(times.claim_before)}"
            f" until {arguments.shown_time(times.reclaim_from)}"
        )
    if found.status.closed:
        line += (
            f", paid {arguments.shown_amount(found.paid, market)}"
            f", refunded {arguments.shown_amount(found.refunded, market)}"
        )
    if found.transactions:
        line += f"  tx {found.transactions[-1].tx_hash}"
    return line
