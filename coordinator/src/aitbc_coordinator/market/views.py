"""The market's rows as their wire models."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlmodel import Session

from aitbc.protocol import messages, pricing, wire
from aitbc.protocol.availability import Hours, hours_of
from aitbc.protocol.units import SECONDS_PER_HOUR
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.market import repository, standing
from aitbc_coordinator.market.models import Gpu, Listing, Quote, Reservation
from aitbc_coordinator.market.standing import Standing
from aitbc_coordinator.market.state import MarketState

LAST_SECOND = 2**32 - 1
"""The last that a Timestamp says."""


class Span(NamedTuple):
    """The time of a booking, in UTC seconds: from `starts_at` until `ends_at`."""

    starts_at: int
    ends_at: int


def soonest_hour(context: Context) -> Span:
    """An hour that starts as soon as possible."""
    starts_at = context.now() + context.settings.quote_seconds
    return Span(starts_at, starts_at + SECONDS_PER_HOUR)


def gpu_views(
    context: Context, session: Session, gpus: Sequence[Gpu], span: Span | None = None
) -> list[wire.Gpu]:
    """GPUs in the order given, each at the price of a span (default: the soonest hour)."""
    now = context.now()
    starts_at, ends_at = span or soonest_hour(context)
    state = MarketState.read(session, gpus, now=now, starts_at=starts_at, ends_at=ends_at)
    listings = repository.listings(session, [gpu.digest for gpu in gpus])
    reserved = defaultdict(list)
    gpu_ids = [gpu.id for gpu in gpus]
    standings = standing.of_gpus(session, gpu_ids, now)
    for reservation in repository.reservations(session, gpu_ids, now, chain_time(session)):
        reserved[reservation.gpu_id].append(reservation)
    return [
        _gpu_view(
            gpu,
            listings[gpu.digest],
            state,
            free_from(now, 1, reserved[gpu.id], hours_of(gpu)),
            standings[gpu.id],
        )
        for gpu in gpus
    ]


def gpu_view(context: Context, session: Session, gpu: Gpu) -> wire.Gpu:
    return gpu_views(context, session, [gpu])[0]


def free_from(
    start: int, duration: int, reserved: Sequence[Reservation], hours: Hours
) -> int | None:
    """The first second from `start` on that begins `duration` seconds which can be booked.

    `reserved` are the GPU's reservations that end after `start`, in the order of time. None where
    there is no such second in sight.
    """
    while (opened := hours.next_start(start, duration)) is not None:
        start = _unreserved_from(opened, duration, reserved)
        if start == opened:
            return start if start <= LAST_SECOND else None
    return None


def _unreserved_from(start: int, duration: int, reserved: Sequence[Reservation]) -> int:
    for reservation in reserved:
        if reservation.starts_at >= start + duration:
            break
        start = max(start, reservation.ends_at)
    return start


def signed_listing(listing: Listing) -> wire.SignedListing:
    return wire.SignedListing(
        listing=messages.Listing.model_validate_json(listing.payload), signature=listing.signature
    )


def quote_views(session: Session, quotes: Sequence[Quote]) -> wire.SignedQuotes:
    """Quotes in the order given."""
    listings = repository.listings(session, {quote.listing for quote in quotes})
    items = [_quote_view(quote, listings[quote.listing]) for quote in quotes]
    return wire.SignedQuotes(items=items)


def _quote_view(quote: Quote, listing: Listing) -> wire.SignedQuote:
    return wire.SignedQuote(
        id=quote.id,
        booking_id=quote.booking_id,
        gpu=signed_listing(listing),
        gpu_id=quote.gpu_id,
        terms=messages.Terms.model_validate_json(quote.terms),
        inputs=pricing.PricingInputs.model_validate_json(quote.inputs),
        price=pricing.Price.model_validate_json(quote.price),
        minimum=quote.minimum,
        signature=quote.signature,
    )


def _gpu_view(
    gpu: Gpu, row: Listing, state: MarketState, free: int | None, stands: Standing
) -> wire.Gpu:
    signed = signed_listing(row)
    return wire.Gpu(
        id=gpu.id,
        listing=signed.listing,
        signature=signed.signature,
        digest=gpu.digest,
        listed=gpu.listed,
        current_price=pricing.price(state.inputs(gpu)),
        free_from=free,
        last_seen=gpu.last_seen,
        reachable_until=gpu.reachable_until,
        reliability_bps=stands.reliability_bps,
        verified=stands.verified,
    )
