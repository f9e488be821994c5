"""Whether a coordinator's quote is what the buyer asked for. Pure: no network, no clock.

Nothing in a quote is taken on trust. Whatever can be computed is computed again, the listing is
the provider's own signed word, and the rest is bounded by what the buyer requested.
"""

from typing import Any, NoReturn

from aitbc.errors import UntrustedMarket
from aitbc.protocol import pricing
from aitbc.protocol.ids import gpu_id, quote_id
from aitbc.protocol.messages import Domain, Listing, Quote, QuoteRequest, Terms
from aitbc.protocol.units import price_of
from aitbc.protocol.wire import Market, SignedListing, SignedQuote

CLOCK_TOLERANCE_SECONDS = 300
"""How far a buyer's and a coordinator's clocks may be apart."""


def verify_quote(market: Market, request: QuoteRequest, signed: SignedQuote) -> None:
    """Raises UntrustedMarket, saying what differs, unless a quote honestly answers a request.

    `market` is the pinned one, `request` what the buyer signed. Whether the quote is still open
    is another question: see `fund_by` of its terms.
    """
    verify_listing(market.domain, request.gpu_id, signed.gpu)
    _verify_price(request, signed)
    _verify_terms(market, request, signed)
    _same("GPU", signed.gpu_id, request.gpu_id)
    _same("id", signed.id, quote_id(signed.booking_id))
    quote = Quote(
        booking_id=signed.booking_id,
        price=signed.price.per_hour,
        pricing=signed.inputs.digest(),
    )
    _same("attester", quote.signer(market.domain, signed.signature), market.attester)


def verify_listing(domain: Domain, wanted_id: str, signed: SignedListing) -> None:
    """Raises UntrustedMarket unless a listing is signed by its provider and has the wanted id."""
    listing = signed.listing
    signer = listing.signer(domain, signed.signature)
    _same("signer of the listing", signer, listing.provider)
    _same("GPU of the listing", gpu_id(listing.provider, listing.salt), wanted_id)


def fits(listing: Listing, *, region: str | None, min_memory: int | None, cuda: str | None) -> bool:
    """Whether a listing is what a buyer looks for; None asks for nothing. Versions are `12.4`."""
    return (
        (region is None or listing.region == region)
        and (min_memory is None or listing.memory_gib >= min_memory)
        and (cuda is None or _version(listing.cuda_version) >= _version(cuda))
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def listing_digest(domain: Domain, listing: Listing) -> str:
    """What terms name a listing by, as 0x-hex."""
    return "0x" + listing.digest(domain).hex()


def _verify_price(request: QuoteRequest, signed: SignedQuote) -> None:
    listing, inputs, terms = signed.gpu.listing, signed.inputs, signed.terms
    _same("version of the price rules", inputs.version, pricing.PRICING_VERSION)
    for name in ("base_price", "floor_price", "ceiling_price", "strategy", "region"):
        _same(f"{name} of the price", getattr(inputs, name), getattr(listing, name))
    _same("start in the price", inputs.starts_at, terms.starts_at)
    _same("end in the price", inputs.ends_at, terms.ends_at)
    try:
        price = pricing.price(inputs)
    except ValueError as error:
        _refuse(str(error))
    _same("price", signed.price, price)
    if price.per_hour > request.max_price:
        _refuse(f"its price is {price.per_hour}, above the most you allow, {request.max_price}")
    _same("amount", terms.amount, price_of(price.per_hour, request.duration))


def _verify_terms(market: Market, request: QuoteRequest, signed: SignedQuote) -> None:
    terms = signed.terms
    _same("provider", terms.provider, signed.gpu.listing.provider)
    _same("listing", terms.listing, listing_digest(market.domain, signed.gpu.listing))
    _same("buyer", terms.buyer, request.buyer)
    _same("salt", terms.salt, request.salt)
    _same("duration", terms.ends_at - terms.starts_at, request.duration)
    _verify_times(market, request, terms)
    _same("booking id", signed.booking_id, terms.booking_id(market.domain))


def _verify_times(market: Market, request: QuoteRequest, terms: Terms) -> None:
    latest = request.signed_at + market.quote_seconds + CLOCK_TOLERANCE_SECONDS
    if not request.signed_at - CLOCK_TOLERANCE_SECONDS < terms.fund_by <= latest:
        _refuse(f"it is to be paid by {terms.fund_by}, not within {market.quote_seconds} seconds")
    if terms.fund_by > terms.starts_at:
        _refuse("it starts before it is to be paid")
    if request.starts_at:
        _same("start", terms.starts_at, request.starts_at)
    elif terms.starts_at > latest:
        _refuse(f"it starts at {terms.starts_at}, not as soon as possible")


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        _refuse(f"its {what} is {found}, and must be {expected}")


def _refuse(reason: str) -> NoReturn:
    raise UntrustedMarket(
        f"the coordinator's quote is not what was asked for: {reason}",
        hint="nothing was paid; ask again, or use another coordinator",
    )
