"""`aitbc booking extend`: the same GPU for longer, as a booking that begins when this one ends."""

from typing import Annotated

import typer

from aitbc.buying.quotes import listing_digest
from aitbc.cli import arguments
from aitbc.cli.buy import NoApproveOption, PayByOption, PayOption, RelayOption, way_of_paying
from aitbc.cli.closing import WALLET_HINT, Held, IdArgument, held_booking
from aitbc.cli.filtering import MaxPriceOption
from aitbc.cli.lookup import find_gpu, find_terms
from aitbc.cli.output import Moment
from aitbc.cli.paying import Payment, require_means
from aitbc.cli.quoting import Wish, quote_gpu
from aitbc.cli.session import Session
from aitbc.errors import ChainError, CoordinatorError, UntrustedMarket, WalletError
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.messages import Listing, Terms
from aitbc.protocol.states import EscrowState
from aitbc.protocol.units import BPS, SECONDS_PER_HOUR, format_amount, price_of
from aitbc.protocol.wire import Gpu
from aitbc.records import HeldQuote

TOO_SOON = "starts-too-soon"
"""What a coordinator answers where nobody could pay in time."""
TAKEN = "taken"
"""What it answers where the GPU is reserved from then on, or soon after."""
THE_GPU_ITSELF = ("gpu_uuid", "model", "memory_gib", "region")
"""What of a listing whoever stays on the GPU relies on."""


def extend(
    session: Session,
    booking_id: IdArgument,
    *,
    duration: Annotated[
        str, typer.Option(help="How much longer: 90s, 30m, 2h, 1d.", metavar="DURATION")
    ],
    max_price: MaxPriceOption = None,
    pay_by: PayByOption = PayOption.AUTO,
    relay: RelayOption = None,
    no_approve: NoApproveOption = False,
) -> None:
    """Keep the GPU of a booking that runs or is to come: book it from its end on, without a gap.

    It is a booking of its own, at the price of today, which you see beside the first one's before
    you are asked. It must be paid before it begins, and so a while before the first one ends.
    """
    how = way_of_paying(pay_by, relay=relay, no_approve=no_approve)
    seconds = arguments.duration("--duration", duration)
    limit = arguments.optional_amount("--max-price", max_price, session.market)
    terms = find_terms(session, booking_id)
    if terms.buyer != session.address:
        raise WalletError(
            f"booking {booking_id} is {terms.buyer}'s, and the wallet in use is {session.address}",
            hint=WALLET_HINT,
        )
    held = held_booking(session, terms)
    _require_open(session, held)
    gpu = _gpu_of(session, terms)
    # Before a quote keeps others from the GPU: whoever cannot pay the least cannot pay the price.
    require_means(session, session.address, price_of(gpu.listing.floor_price, seconds), how)
    try:
        quote = quote_gpu(session, gpu, Wish(seconds, starts_at=terms.ends_at), limit)
    except CoordinatorError as error:
        if error.problem == TOO_SOON:
            raise _too_late(session, held) from error
        if error.problem == TAKEN:
            error.hint = (
                "extend it for less, or book another GPU; a quote of yours that was not paid holds "
                "it too, until it expires"
            )
        raise
    _show(session, held, quote)
    Payment(session, [quote], how).make()


def _require_open(session: Session, held: Held) -> None:
    if held.slot.state is EscrowState.DISPUTED:
        raise ChainError(
            f"booking {held.short_id} is disputed: its provider serves it no more",
            hint="book another GPU: aitbc marketplace book",
        )
    if held.now > held.terms.ends_at - session.market.quote_seconds:
        raise _too_late(session, held)


def _too_late(session: Session, held: Held) -> ChainError:
    ends_at, seconds = held.terms.ends_at, session.market.quote_seconds
    return ChainError(
        f"it is too late to extend booking {held.short_id}: it ends at "
        f"{arguments.shown_time(ends_at)}, and what follows must be paid before that, for which "
        f"this market allows {seconds} s: until {arguments.shown_time(ends_at - seconds)}",
        hint="book anew, which leaves a gap: aitbc marketplace book",
    )


def _gpu_of(session: Session, terms: Terms) -> Gpu:
    """The GPU that terms are about, going by the listing that they name."""
    signed = session.coordinator.listing(terms.listing)
    named = signed.listing
    if listing_digest(session.market.domain, named) != terms.listing:
        raise UntrustedMarket(
            "the coordinator's listing is not the one that the booking's terms name",
            hint="nothing was paid; use another coordinator",
        )
    gpu = find_gpu(session, gpu_id(named.provider, named.salt))
    # Ids are short: another provider's may be the same.
    if (gpu.listing.provider, gpu.listing.salt) != (named.provider, named.salt):
        raise UntrustedMarket(
            f"the coordinator's GPU {gpu.id} is not the one that was booked",
            hint="nothing was paid; use another coordinator",
        )
    _require_same(gpu, named)
    return gpu


def _require_same(gpu: Gpu, booked: Listing) -> None:
    """A provider may list another card, or one that stands elsewhere, under the id of the first."""
    changes = [
        f"{field} {before!r} is now {now!r}"
        for field in THE_GPU_ITSELF
        if (before := getattr(booked, field)) != (now := getattr(gpu.listing, field))
    ]
    if changes:
        raise CoordinatorError(
            f"GPU {gpu.id} is not what was booked any more, its provider says: "
            + ", ".join(changes),
            hint="nothing was paid; to have it as it is now, book it anew: aitbc marketplace book",
            problem="changed",
        )


def _show(session: Session, held: Held, quote: HeldQuote) -> None:
    market, terms = session.market, held.terms
    before = terms.amount * SECONDS_PER_HOUR // (terms.ends_at - terms.starts_at)
    price = quote.quote.price.per_hour
    session.output.summary(
        f"Extending booking {held.short_id}:",
        {
            "ends_at": Moment(terms.ends_at),
            "extended_until": Moment(quote.quote.terms.ends_at),
            "price_per_hour_before": format_amount(before, market.decimals),
            "price_per_hour_now": f"{format_amount(price, market.decimals)} "
            f"({_change(before, price)})",
        },
    )


def _change(before: int, now: int) -> str:
    change = (now - before) * BPS // before if before else 0
    if change == 0:
        return "as before"
    return f"{format_amount(abs(change), 2)} % {'more' if change > 0 else 'less'}"
