"""Quotes: a GPU held for a while, at a price that is explained and signed."""

from sqlmodel import Session

from aitbc.protocol import ids, messages, pricing, units, wire
from aitbc.protocol.messages import Terms
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.errors import Conflict, Invalid, Missing
from aitbc_coordinator.market import listings, repository, worth
from aitbc_coordinator.market.models import Gpu, Quote, Reservation
from aitbc_coordinator.market.signatures import require_fresh, require_signer
from aitbc_coordinator.market.state import MarketState
from aitbc_coordinator.market.views import free_from, signed_listing

LAST_SECOND = 2**32 - 1


def get(session: Session, quote_id: str) -> Quote:
    """Raises Missing."""
    quote = repository.find_quote(session, quote_id)
    if quote is None:
        raise Missing("unknown-quote", f"there is no quote '{quote_id}'", hint="ask for a new one")
    return quote


def make(context: Context, session: Session, signed: wire.SignedQuoteRequest) -> tuple[Quote, bool]:
    """Hold a GPU and quote it. Returns the quote, and whether this made it."""
    request = signed.request
    require_signer(context, request, signed.signature, request.buyer)
    # The lock comes first: what is read behind it stays true until the GPU is held.
    gpu = listings.get(session, request.gpu_id, lock=True)
    earlier = repository.quote_with_salt(session, request.buyer, request.salt)
    if earlier is not None:
        return _repeated(earlier, request), False
    require_fresh(context, request.signed_at)
    context.wallets.spend(request.buyer)
    if not gpu.listed:
        raise Conflict(
            "not-listed",
            f"GPU {gpu.id} is off the market",
            hint="choose another: aitbc marketplace gpu list",
        )
    now = context.now()
    starts_at = _start(context, request, now)
    _require_free(session, gpu, starts_at, request.duration)
    quote = _priced(context, session, gpu, signed, now=now, starts_at=starts_at)
    repository.add(session, quote)
    repository.add(
        session,
        Reservation(
            gpu_id=gpu.id,
            quote_id=quote.id,
            starts_at=quote.starts_at,
            ends_at=quote.ends_at,
            held_until=quote.fund_by,
        ),
    )
    return quote, True


def taken(gpu_id: str, free: int | None = None) -> Conflict:
    """The refusal of a GPU that is reserved; `free` is when the wanted duration would fit."""
    when = "" if free is None else f": it is free from {free} (UTC seconds)"
    return Conflict(
        "taken",
        f"GPU {gpu_id} is reserved in that time{when}",
        hint="choose another start, or another GPU",
    )


def _repeated(quote: Quote, request: messages.QuoteRequest) -> Quote:
    if messages.QuoteRequest.model_validate_json(quote.request) != request:
        raise Conflict(
            "salt-reused",
            f"salt {request.salt} already stands for another request of yours",
            hint="draw a new random salt",
        )
    return quote


def _start(context: Context, request: messages.QuoteRequest, now: int) -> int:
    settings = context.settings
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
    return starts_at


def _require_free(session: Session, gpu: Gpu, starts_at: int, duration: int) -> None:
    now = chain_time(session)
    repository.delete_lapsed(session, gpu.id, now)
    standing = repository.reservations(session, [gpu.id], starts_at, now)
    free = free_from(starts_at, duration, standing)
    if free != starts_at:
        raise taken(gpu.id, free)


def _priced(
    context: Context,
    session: Session,
    gpu: Gpu,
    signed: wire.SignedQuoteRequest,
    *,
    now: int,
    starts_at: int,
) -> Quote:
    request = signed.request
    listing = signed_listing(repository.listings(session, [gpu.digest])[gpu.digest]).listing
    ends_at = starts_at + request.duration
    state = MarketState.read(session, [gpu], now=now, starts_at=starts_at, ends_at=ends_at)
    inputs = state.inputs(gpu, listing)
    price = pricing.price(inputs)
    amount = units.price_of(price.per_hour, request.duration)
    if price.per_hour > request.max_price or amount > units.MAX_AMOUNT:
        raise Conflict(
            "too-expensive",
            f"GPU {gpu.id} costs {price.per_hour} base units an hour, in all {amount}: "
            f"your limit is {request.max_price} an hour",
            hint="raise the limit, or choose another GPU or time",
        )
    minimum = worth.require_worth(context, session, amount, price.per_hour)
    terms = Terms(
        buyer=request.buyer,
        provider=gpu.provider,
        amount=amount,
        fund_by=now + context.settings.quote_seconds,
        starts_at=starts_at,
        ends_at=ends_at,
        listing=gpu.digest,
        salt=request.salt,
    )
    booking_id = terms.booking_id(context.market.domain)
    commitment = messages.Quote(
        booking_id=booking_id, price=price.per_hour, pricing=inputs.digest(), minimum=minimum
    )
    return Quote(
        id=ids.quote_id(booking_id),
        booking_id=booking_id,
        gpu_id=gpu.id,
        listing=gpu.digest,
        buyer=terms.buyer,
        salt=terms.salt,
        starts_at=terms.starts_at,
        ends_at=terms.ends_at,
        fund_by=terms.fund_by,
        terms=terms.model_dump_json(),
        inputs=inputs.model_dump_json(),
        price=price.model_dump_json(),
        minimum=minimum,
        signature=context.attester.sign(commitment),
        request=request.model_dump_json(),
        request_signature=signed.signature,
    )
