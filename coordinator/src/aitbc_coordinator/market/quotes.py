"""Quotes: a GPU held for a while, at a price that is explained and signed."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from aitbc.protocol import ids, messages, pricing, units, wire
from aitbc.protocol.availability import LOOK_AHEAD_SECONDS, hours_of
from aitbc.protocol.messages import Terms
from aitbc_coordinator import retirement
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import last_seen, require_sound
from aitbc_coordinator.database import insert_rows
from aitbc_coordinator.errors import Conflict, Invalid, Missing
from aitbc_coordinator.market import listings, matching, repository, views, worth
from aitbc_coordinator.market.matching import Offer
from aitbc_coordinator.market.models import Gpu, Listing, Quote, Reservation
from aitbc_coordinator.market.signatures import require_fresh, require_signer
from aitbc_coordinator.market.views import LAST_SECOND, Span
from aitbc_coordinator.market.walk import Slot
from aitbc_coordinator.settings import Settings


def get(session: Session, quote_id: str) -> Quote:
    """Raises Missing."""
    quote = repository.find_quote(session, quote_id)
    if quote is None:
        raise Missing("unknown-quote", f"there is no quote '{quote_id}'", hint="ask for a new one")
    return quote


def make(
    context: Context, session: Session, signed: wire.SignedQuoteRequest
) -> tuple[wire.SignedQuotes, bool]:
    """Hold what a request asks for, all of it or nothing, and quote it.

    Returns the quotes, and whether this made them.
    """
    request = signed.request
    require_signer(context, request, signed.signature, request.buyer)
    # The lock comes first: what is read behind it stays true until the GPU is held.
    named = listings.get(session, request.gpu_id, lock=True) if request.gpu_id else None
    earlier = repository.quotes_with_salts(session, request.buyer, request.salts)
    if earlier:
        return views.quote_views(session, _repeated(earlier, request)), False
    retirement.require_in_use(session)
    require_fresh(context, request.signed_at)
    context.wallets.spend(request.buyer)
    now = context.now()
    span = _span(context.settings, request, now)
    block = last_seen(session)
    require_sound(block)
    least = worth.minimum(context, block.gas_price)
    slot = Slot(*span, block.timestamp)
    if named is None:
        offers = matching.match(context, session, request, slot, least)
    else:
        offers = [_offer(context, session, named, request, slot)]
    backing = repository.listings(session, {offer.gpu.digest for offer in offers})
    # Of the same second as the start: one that is as soon as possible is when the quote expires.
    fund_by = now + context.settings.quote_seconds
    quotes = [
        _quote(context, _terms(request, offer, salt, fund_by), offer, least, backing)
        for offer, salt in zip(offers, request.salts, strict=True)
    ]
    repository.delete_lapsed(session, [quote.gpu_id for quote in quotes], block.timestamp)
    insert_rows(session, Quote, [_row(quote, signed) for quote in quotes])
    insert_rows(session, Reservation, [_hold(quote) for quote in quotes])
    return wire.SignedQuotes(items=quotes), True


def taken(gpu_id: str, free: int | None = None) -> Conflict:
    """The refusal of a GPU that is reserved; `free` is when the wanted duration would fit."""
    what = f"GPU {gpu_id} is" if gpu_id else "others were quicker: what you ask for is"
    when = "" if free is None else f": it is free from {free} (UTC seconds)"
    return Conflict(
        "taken",
        f"{what} reserved in that time{when}",
        hint="choose another start, or another GPU",
    )


def _unreachable(gpu: Gpu) -> Conflict:
    heard = "never" if gpu.last_seen is None else f"last at {gpu.last_seen} (UTC seconds)"
    return Conflict(
        "unreachable",
        f"the machine of GPU {gpu.id} was heard {heard}: it may not be there",
        hint="choose another; it comes back by itself once 'aitbc provider serve' runs there",
    )


def _unavailable(gpu: Gpu, free: int | None, seconds: int) -> Conflict:
    if free is not None:
        when = f"from {free} (UTC seconds)"
    elif hours_of(gpu).may_last(seconds):
        when = f"not within {LOOK_AHEAD_SECONDS // 86_400} days of that start"
    else:
        when = "never for so long"
    windows = f" (on the clock of {gpu.region}: {gpu.available})" if gpu.available else ""
    return Conflict(
        "unavailable",
        f"its provider does not offer GPU {gpu.id} in all of that time{windows}: it can be booked "
        f"{when}",
        hint="choose another start, a shorter time, or another GPU",
    )


def _repeated(earlier: dict[int, Quote], request: messages.QuoteRequest) -> list[Quote]:
    """The quotes that the same request was answered with."""
    for salt, quote in earlier.items():
        if messages.QuoteRequest.model_validate_json(quote.request) != request:
            raise Conflict(
                "salt-reused",
                f"salt {salt} already stands for another request of yours",
                hint="draw a new random salt",
            )
    return [earlier[salt] for salt in request.salts]


def _span(settings: Settings, request: messages.QuoteRequest, now: int) -> Span:
    """When the booking is. Raises Invalid where it cannot be then."""
    if request.duration < settings.minimum_seconds:
        raise Invalid(
            "too-short",
            f"{request.duration} s is shorter than this market's {settings.minimum_seconds} s",
            hint="ask for a longer duration",
        )
    if request.duration > settings.maximum_seconds:
        raise Invalid(
            "too-long",
            f"{request.duration} s is longer than this market's {settings.maximum_seconds} s",
            hint="ask for a shorter duration",
        )
    earliest = now + settings.quote_seconds
    latest = min(now + settings.maximum_lead_seconds, LAST_SECOND - request.duration)
    starts_at = request.starts_at or earliest
    if starts_at < earliest:
        raise Invalid(
            "starts-too-soon",
            f"a booking can start from {earliest} (UTC seconds), {settings.quote_seconds} s "
            f"from now, not at {starts_at}",
            hint="ask for a later start, or give 0 for as soon as possible",
        )
    if starts_at > latest:
        raise Invalid(
            "starts-too-late",
            f"a booking can start until {latest} (UTC seconds), not at {starts_at}",
            hint="ask for an earlier start",
        )
    return Span(starts_at, starts_at + request.duration)


def _offer(
    context: Context, session: Session, gpu: Gpu, request: messages.QuoteRequest, slot: Slot
) -> Offer:
    """The GPU that a request names. Raises Conflict where it is not to be had."""
    if not gpu.listed:
        raise Conflict(
            "not-listed",
            f"GPU {gpu.id} is off the market",
            hint="choose another: aitbc marketplace gpu list",
        )
    if gpu.reachable_until <= context.now():
        raise _unreachable(gpu)
    standing = repository.reservations(session, [gpu.id], slot.starts_at, slot.chain_time)
    hours = hours_of(gpu)
    free = views.free_from(slot.starts_at, request.duration, standing, hours)
    if not hours.covers(*slot.span):
        raise _unavailable(gpu, free, request.duration)
    if free != slot.starts_at:
        raise taken(gpu.id, free)
    [offer] = matching.offers(context, session, [gpu], slot.span)
    if offer.per_hour > request.max_price or offer.amount > units.MAX_AMOUNT:
        raise Conflict(
            "too-expensive",
            f"GPU {gpu.id} costs {offer.per_hour} base units an hour, in all "
            f"{offer.amount}: your limit is {request.max_price} an hour",
            hint="raise the limit, or choose another GPU or time",
        )
    return offer


def _terms(request: messages.QuoteRequest, offer: Offer, salt: int, fund_by: int) -> Terms:
    return Terms(
        buyer=request.buyer,
        provider=offer.gpu.provider,
        amount=offer.amount,
        fund_by=fund_by,
        starts_at=offer.inputs.starts_at,
        ends_at=offer.inputs.ends_at,
        listing=offer.gpu.digest,
        salt=salt,
    )


def _quote(
    context: Context,
    terms: Terms,
    offer: Offer,
    least: messages.Minimum,
    backing: Mapping[str, Listing],
) -> wire.SignedQuote:
    """A signed quote of terms. Raises TooSmall where they are not worth settling."""
    inputs, price = offer.inputs, pricing.price(offer.inputs)
    worth.require_worth(context, least, terms.amount, price.per_hour)
    booking_id = terms.booking_id(context.market.domain)
    commitment = messages.Quote(
        booking_id=booking_id, price=price.per_hour, pricing=inputs.digest(), minimum=least.amount
    )
    return wire.SignedQuote(
        id=ids.quote_id(booking_id),
        booking_id=booking_id,
        gpu=views.signed_listing(backing[terms.listing]),
        gpu_id=offer.gpu.id,
        terms=terms,
        inputs=inputs,
        price=price,
        minimum=least.amount,
        signature=context.attester.sign(commitment),
    )


def _row(quote: wire.SignedQuote, signed: wire.SignedQuoteRequest) -> dict[str, Any]:
    """Of the table of quotes."""
    terms = quote.terms
    return {
        "id": quote.id,
        "booking_id": quote.booking_id,
        "gpu_id": quote.gpu_id,
        "listing": terms.listing,
        "buyer": terms.buyer,
        "salt": terms.salt,
        "starts_at": terms.starts_at,
        "ends_at": terms.ends_at,
        "fund_by": terms.fund_by,
        "terms": terms.model_dump_json(),
        "inputs": quote.inputs.model_dump_json(),
        "price": quote.price.model_dump_json(),
        "minimum": quote.minimum,
        "signature": quote.signature,
        "request": signed.request.model_dump_json(),
        "request_signature": signed.signature,
    }


def _hold(quote: wire.SignedQuote) -> dict[str, Any]:
    """Of the table of reservations."""
    return {
        "gpu_id": quote.gpu_id,
        "quote_id": quote.id,
        "starts_at": quote.terms.starts_at,
        "ends_at": quote.terms.ends_at,
        "held_until": quote.terms.fund_by,
    }
