"""`aitbc booking dispute`, for buyers, and `resolve`, for the market's arbiter."""

from typing import Annotated

import typer

from aitbc.cli import arguments
from aitbc.cli.closing import (
    WALLET_HINT,
    Held,
    IdArgument,
    held_booking,
    outcome,
    send_verb,
    times_view,
)
from aitbc.cli.lookup import find_terms
from aitbc.cli.session import Session
from aitbc.errors import ChainError, InvalidInput, WalletError
from aitbc.protocol.events import Disputed, Resolved
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState, clock_cap, payout_fee, phases
from aitbc.protocol.units import BPS, format_amount, parse_amount
from aitbc.protocol.wire import Market


def dispute(session: Session, booking_id: IdArgument) -> None:
    """Stop the meter of a booking that runs, because it is not delivered as agreed.

    Only its buyer can, and only while it runs. Time from now on is not paid by the meter; what
    was attested until now is not taken back. Then the market's arbiter divides what is left.
    """
    market, output = session.market, session.output
    terms = find_terms(session, booking_id)
    _require_arbiter(market)
    if session.address != terms.buyer:
        raise WalletError(
            f"booking {booking_id} is not bought by {session.address}: only its buyer, "
            f"{terms.buyer}, can dispute it",
            hint=WALLET_HINT,
        )
    held = held_booking(session, terms)
    _require_disputable(held)
    output.summary(
        f"Booking {held.short_id}",
        {
            "in the escrow": arguments.shown_amount(held.slot.remaining, market),
            "its provider has": arguments.shown_amount(held.claimed, market),
            "and can claim, in all, at most": arguments.shown_amount(
                max(clock_cap(terms, held.now), held.claimed), market
            ),
            "the arbiter, who divides the rest": market.arbiter,
        },
    )
    output.note("A dispute cannot be taken back. It stops the meter, and the service with it.")
    output.confirm("Dispute the booking?")
    tx_hash, events = send_verb(session, "dispute", terms.abi_values())
    disputed_at = next(event.timestamp for event in events if isinstance(event, Disputed))
    times = phases(terms, market.claim_window, disputed_at)
    output.record(
        outcome(session, held, "dispute", tx_hash)
        | {
            "remaining": format_amount(held.slot.remaining, market.decimals),
            "arbiter": market.arbiter,
            **times_view(times, disputed_at),
        }
    )
    output.hint(
        f"tell the arbiter, {market.arbiter}, who decides from "
        f"{arguments.shown_time(times.claim_before)} until "
        f"{arguments.shown_time(times.reclaim_from)}; if nobody does, take the rest back then: "
        f"aitbc booking reclaim {held.short_id}"
    )


def resolve(
    session: Session,
    booking_id: IdArgument,
    *,
    earned: Annotated[
        str | None, typer.Option(help="What its provider earned, in all.", metavar="AMOUNT")
    ] = None,
    percent: Annotated[
        str | None,
        typer.Option(help="The same as a share of its price, such as 62.5.", metavar="PERCENT"),
    ] = None,
) -> None:
    """Divide what a disputed booking still holds, as the market's arbiter.

    Its provider ends with what you say it earned, the fee off, or with what it claimed already if
    that is more; its buyer gets the rest. The evidence: 'aitbc audit booking ID'.
    """
    market, output = session.market, session.output
    if (earned is None) == (percent is None):
        raise InvalidInput("what did its provider earn? give --earned AMOUNT or --percent PERCENT")
    terms = find_terms(session, booking_id)
    _require_arbiter(market)
    wanted = _earned(terms, market, earned, percent)
    if session.address != market.arbiter:
        raise WalletError(
            f"only the market's arbiter, {market.arbiter}, can resolve a dispute, and the wallet "
            f"in use is {session.address}",
            hint=WALLET_HINT,
        )
    held = held_booking(session, terms)
    _require_resolvable(held)
    left = min(terms.amount - wanted, held.slot.remaining)
    fee = payout_fee(held.slot.remaining, left, market.fee_bps)
    output.summary(
        f"Booking {held.short_id}, of {arguments.shown_amount(terms.amount, market)}",
        {
            "its provider has already": arguments.shown_amount(held.claimed, market),
            f"to its provider, {terms.provider}": arguments.shown_amount(
                held.slot.remaining - left - fee, market
            ),
            "fee": arguments.shown_amount(fee, market),
            f"back to its buyer, {terms.buyer}": arguments.shown_amount(left, market),
        },
    )
    if wanted < held.claimed:
        output.note("What was claimed is not taken back: it is more than you say was earned.")
    output.confirm("Divide it so, for good?")
    tx_hash, events = send_verb(session, "resolve", terms.abi_values(), wanted)
    done = next(event for event in events if isinstance(event, Resolved))
    output.record(
        outcome(session, held, "resolve", tx_hash)
        | {
            name: format_amount(getattr(done, name), market.decimals)
            for name in ("paid", "fee", "refunded")
        }
    )


def _require_arbiter(market: Market) -> None:
    if not market.has_arbiter:
        raise ChainError(
            "this market has no arbiter: its bookings cannot be disputed",
            hint="before the start you can cancel; later, what is not delivered comes back to you "
            "when the booking is settled",
        )


def _require_disputable(held: Held) -> None:
    terms = held.terms
    if held.slot.state is EscrowState.DISPUTED:
        raise ChainError(
            "the booking is disputed already, since "
            f"{arguments.shown_time(held.times.metered_until)}",
            hint=f"see when who can act: aitbc booking show {held.short_id}",
        )
    if held.now < terms.starts_at:
        raise ChainError(
            f"the booking starts at {arguments.shown_time(terms.starts_at)}, and can be disputed "
            "from then on",
            hint=f"until then you can cancel it: aitbc booking cancel {held.short_id}",
        )
    if held.now >= terms.ends_at:
        raise ChainError(
            f"the booking ended at {arguments.shown_time(terms.ends_at)}: it can be disputed only "
            "while it runs",
            hint="what was not delivered comes back to you when it is settled",
        )


def _require_resolvable(held: Held) -> None:
    times = held.times
    if held.slot.state is not EscrowState.DISPUTED:
        raise ChainError(
            f"booking {held.short_id} is not disputed",
            hint="see those that are: aitbc booking list --as arbiter",
        )
    if held.now < times.claim_before:
        raise ChainError(
            f"the arbiter's time begins at {arguments.shown_time(times.claim_before)}",
            hint="until then the provider collects what was attested before the dispute",
        )
    if held.now >= times.reclaim_from:
        raise ChainError(
            f"the arbiter's time ended at {arguments.shown_time(times.reclaim_from)}",
            hint=f"what is left is the buyer's: aitbc booking reclaim {held.short_id}",
        )


def _earned(terms: Terms, market: Market, earned: str | None, percent: str | None) -> int:
    """Base units, of whichever was given. Raises InvalidInput for more than the price."""
    if earned is not None:
        amount = arguments.amount("--earned", earned, market)
    else:
        share = arguments.checked("--percent", lambda text: parse_amount(text, 2), percent or "")
        amount = terms.amount * share // BPS
    if amount > terms.amount:
        option = "--percent" if earned is None else "--earned"
        raise InvalidInput(
            f"{option}: the booking's price is {arguments.shown_amount(terms.amount, market)}: "
            "nobody can earn more"
        )
    return amount
