"""`aitbc booking cancel` and `reclaim`, and what every verb that ends a booking needs.

None needs a coordinator for a booking that this home paid for, or that is given by its whole id.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aitbc.cli import arguments
from aitbc.cli.lookup import find_terms
from aitbc.cli.output import Moment
from aitbc.cli.session import Session
from aitbc.errors import ChainError, WalletError
from aitbc.protocol.events import EscrowEvent
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState, Phases, phases
from aitbc.protocol.units import format_amount

if TYPE_CHECKING:
    from aitbc.chain.escrow import Slot

IdArgument = Annotated[
    str, typer.Argument(help="Full id 0x…, short id b-…, or a unique prefix.", metavar="ID")
]
WALLET_HINT = "see 'aitbc wallet list' and 'aitbc config set wallet NAME'"


@dataclass(frozen=True, slots=True)
class Held:
    """A booking whose money is in the escrow. `now` is the chain's time, or ours if later."""

    booking_id: str
    terms: Terms
    slot: "Slot"
    times: Phases
    now: int

    @property
    def short_id(self) -> str:
        return short_booking_id(self.booking_id)

    @property
    def claimed(self) -> int:
        """What was paid already, the fee with it."""
        return self.terms.amount - self.slot.remaining


def cancel(session: Session, booking_id: IdArgument) -> None:
    """Give a booking up: what is left of its money goes back to the buyer.

    The buyer may until it starts, the provider at any time. Needs no coordinator for a booking
    that this home paid for.
    """
    terms = find_terms(session, booking_id)
    if session.address not in {terms.buyer, terms.provider}:
        raise WalletError(
            f"booking {booking_id} is neither bought nor provided by {session.address}",
            hint=WALLET_HINT,
        )
    if session.address != terms.provider and chain_time(session) >= terms.starts_at:
        hint = "what is not delivered comes back to you when it is settled"
        if session.market.has_arbiter:
            hint += f"; to stop the meter: aitbc booking dispute {booking_id}"
        raise ChainError(
            f"the booking began at {arguments.shown_time(terms.starts_at)}: only its provider "
            "can cancel it now",
            hint=hint,
        )
    _refund(session, held_booking(session, terms), "cancel", "Cancel the booking?")


def reclaim(session: Session, booking_id: IdArgument) -> None:
    """Send a booking's unclaimed money back to its buyer, once everybody else's time has passed.

    That is after its claim window; after a dispute, when the arbiter's time is over. Anyone may.
    """
    held = held_booking(session, find_terms(session, booking_id))
    if held.now < held.times.reclaim_from:
        until_then = "its provider may still collect what was delivered"
        if held.slot.state is EscrowState.DISPUTED:
            until_then += ", and the arbiter divide the rest"
        raise ChainError(
            f"the booking can be reclaimed from {arguments.shown_time(held.times.reclaim_from)}",
            hint=f"until then {until_then}",
        )
    _refund(session, held, "reclaim", "Send its money back to the buyer?")


def times_view(times: Phases, disputed_at: int | None) -> dict[str, Any]:
    """When who can act; the arbiter from `claim_before` until `reclaim_from`, after a dispute."""
    return {
        "disputed_at": Moment.of(disputed_at),
        "claim_before": Moment(times.claim_before),
        "reclaim_from": Moment(times.reclaim_from),
    }


def read_slot(session: Session, booking_id: str) -> "Slot":
    """What the escrow stores of a booking now. Raises ChainError for the node."""
    from aitbc.chain.node import NODE_FAILURES, node_down

    escrow = session.escrow
    try:
        return escrow.slot(booking_id)
    except NODE_FAILURES as error:
        raise node_down(session.rpc_url) from error


def _refund(session: Session, held: Held, verb: str, question: str) -> None:
    market, output, terms = session.market, session.output, held.terms
    refund = arguments.shown_amount(held.slot.remaining, market)
    output.summary(
        f"Booking {held.short_id}", {"buyer": terms.buyer, "goes back to the buyer": refund}
    )
    output.confirm(question)
    tx_hash, _ = send_verb(session, verb, terms.abi_values())
    refunded = {"refunded": format_amount(held.slot.remaining, market.decimals)}
    output.record(outcome(session, held, verb, tx_hash) | refunded)


def send_verb(session: Session, verb: str, *values: Any) -> tuple[str, list[EscrowEvent]]:
    """Send a verb of the escrow; its transaction and events."""
    from aitbc.chain.transactions import send

    output, escrow, account = session.output, session.escrow, session.account
    function = escrow.functions[verb](*values)
    with output.progress("sending"):
        sent = send(escrow, account, function, on_sent=lambda tx: output.note(f"sent: {tx}"))
    return sent.tx_hash, escrow.events_of(sent.receipt["logs"])


def outcome(session: Session, held: Held, action: str, tx_hash: str) -> dict[str, Any]:
    return {
        "id": held.booking_id,
        "short_id": held.short_id,
        "action": action,
        "tx": tx_hash,
        "symbol": session.market.symbol,
        "buyer": held.terms.buyer,
        "provider": held.terms.provider,
    }


def held_booking(session: Session, terms: Terms) -> Held:
    """Raises ChainError where the escrow holds nothing of the booking."""
    booking_id = terms.booking_id(session.market.domain)
    slot = read_slot(session, booking_id)
    if slot.state not in {EscrowState.OPEN, EscrowState.DISPUTED}:
        short = short_booking_id(booking_id)
        raise ChainError(
            f"the escrow holds no money of booking {short}: it was never paid, or is closed "
            "already",
            hint=f"see what happened: aitbc audit booking {booking_id}",
        )
    times = phases(terms, session.market.claim_window, slot.disputed_at)
    return Held(booking_id, terms, slot, times, chain_time(session))


def chain_time(session: Session) -> int:
    """The time that the next block has at least."""
    from aitbc.chain.node import node_call

    eth = session.escrow.web3.eth
    with node_call("the time was read"):
        return max(int(time.time()), int(eth.get_block("latest")["timestamp"]))
