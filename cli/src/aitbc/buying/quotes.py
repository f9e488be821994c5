"""Whether a coordinator's quote is what the buyer asked for. Pure: no network, no clock.

Nothing in a quote is taken on trust. Whatever can be computed is computed again, the listing is
the provider's own signed word, and the rest is bounded by what the buyer requested.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from aitbc.errors import UntrustedMarket
from aitbc.protocol import pricing, worth
from aitbc.protocol.availability import hours_of
from aitbc.protocol.ids import gpu_id, quote_id
from aitbc.protocol.messages import Domain, Listing, Quote, QuoteRequest, Terms
from aitbc.protocol.pricing import NO_HOUR, PRICING_VERSION, PricingInputs
from aitbc.protocol.units import BPS, price_of
from aitbc.protocol.where import parse, show_condition, unmet
from aitbc.protocol.wire import Market, RegionHour, SignedListing, SignedMinimum, SignedQuote

CLOCK_TOLERANCE_SECONDS = 300
"""How far a buyer's and a coordinator's clocks may be apart."""

OFFERED = "inside the hours that its provider offers"


class Check(NamedTuple):
    """Something that a quote says, and what it must be."""

    what: str
    found: Any
    expected: Any

    @property
    def holds(self) -> bool:
        return bool(self.found == self.expected)


def verify_quotes(market: Market, request: QuoteRequest, quotes: Sequence[SignedQuote]) -> None:
    """As `verify_quote`, of all that a request is answered with: as many as it asks for, in the
    order of their salts, each for another GPU, and all for the same time."""
    salts = [signed.terms.salt for signed in quotes]
    _same("salts", salts, list(request.salts))
    listings = [signed.gpu.listing for signed in quotes]
    _same("number of GPUs", len({_gpu_id(listing) for listing in listings}), request.count)
    # Who lists a card without its UUID does not say which one it is.
    uuids = [listing.gpu_uuid for listing in listings if listing.gpu_uuid]
    _same("number of different UUIDs", len(set(uuids)), len(uuids))
    first = quotes[0].terms
    for signed in quotes:
        verify_quote(market, request, signed)
        # Each lasts as long as was asked for: those that start together end together.
        _same("start", signed.terms.starts_at, first.starts_at)
        _same("time to be paid", signed.terms.fund_by, first.fund_by)


def verify_quote(market: Market, request: QuoteRequest, signed: SignedQuote) -> None:
    """Raises UntrustedMarket, saying what differs, unless a quote honestly answers a request.

    `market` is the pinned one, `request` what the buyer signed. Whether the quote is still open
    is another question: see `fund_by` of its terms. What of an expression only the coordinator
    can know is not checked: see `where.unmet`.
    """
    if request.gpu_id:
        _same("GPU of the listing", _gpu_id(signed.gpu.listing), request.gpu_id)
    _verify_where(market, request, signed)
    _verify_request(market, request, signed)
    for check in own_checks(market, signed):
        _same(*check)


def own_checks(market: Market, signed: SignedQuote) -> Iterator[Check]:
    """What holds of any honest quote of a market, whoever asked for it."""
    listing, inputs, terms, domain = signed.gpu.listing, signed.inputs, signed.terms, market.domain
    signer = listing.signer(domain, signed.gpu.signature)
    yield Check("signer of the listing", signer, listing.provider)
    yield Check("GPU", signed.gpu_id, _gpu_id(listing))
    yield from _price_checks(signed)
    yield Check("amount", terms.amount, price_of(signed.price.per_hour, inputs.seconds))
    yield Check("provider", terms.provider, listing.provider)
    yield Check("listing", terms.listing, listing_digest(domain, listing))
    yield Check("booking id", signed.booking_id, terms.booking_id(domain))
    yield Check("id", signed.id, quote_id(signed.booking_id))
    yield Check("time", _when(listing, terms), OFFERED)
    yield Check("minimum", signed.minimum, min(signed.minimum, terms.amount))
    commitment = Quote(
        booking_id=signed.booking_id,
        price=signed.price.per_hour,
        pricing=inputs.digest(),
        minimum=signed.minimum,
    )
    yield Check("attester", commitment.signer(domain, signed.signature), market.attester)


def hour_checks(inputs: PricingInputs, published: Sequence[RegionHour]) -> Iterator[Check]:
    """Whether a price rests on the hour that its market publishes, and that on the hour before.

    `published` are the two newest hours of the region up to that of the price, newest first.
    """
    if inputs.hour == NO_HOUR:
        return
    shown = published[0] if published else None
    yield Check("region of the hour", inputs.region, getattr(shown, "region", None))
    for name in ("starts_at", "listed", "booked", "level_before_bps", "level_bps"):
        value = getattr(inputs.hour, name)
        yield Check(f"{name} of the hour", value, getattr(shown, name, None))
    before = published[1].level_bps if len(published) > 1 else BPS
    yield Check("level after the hour before", inputs.hour.level_before_bps, before)


def verify_listing(domain: Domain, wanted_id: str, signed: SignedListing) -> None:
    """Raises UntrustedMarket unless a listing is signed by its provider and has the wanted id."""
    listing = signed.listing
    signer = listing.signer(domain, signed.signature)
    _same("signer of the listing", signer, listing.provider)
    _same("GPU of the listing", _gpu_id(listing), wanted_id)


def verify_minimum(market: Market, signed: SignedMinimum) -> None:
    """Raises UntrustedMarket unless what a coordinator says is worth settling follows from the gas
    price and the coin's price that it says, and is signed."""
    told = signed.minimum
    cost = worth.settle_cost(told.settle_gas, told.gas_price, told.coin_price)
    for check in (
        Check("cost of settling", told.cost, cost),
        Check("minimum", told.amount, worth.minimum_amount(cost, market.fee_bps)),
        Check("attester", told.signer(market.domain, signed.signature), market.attester),
    ):
        if not check.holds:
            raise UntrustedMarket(
                "the coordinator says that the booking is too small to settle, and contradicts "
                f"itself: its {check.what} is {check.found}, and must be {check.expected}",
                hint="nothing was paid; use another coordinator",
            )


def listing_digest(domain: Domain, listing: Listing) -> str:
    """What terms name a listing by, as 0x-hex."""
    return "0x" + listing.digest(domain).hex()


def _when(listing: Listing, terms: Terms) -> str:
    """How the time of terms lies to the hours in which a listing offers its GPU."""
    try:
        offered = hours_of(listing).covers(terms.starts_at, terms.ends_at)
    except ValueError as error:
        return str(error)
    return OFFERED if offered else "outside"


def _price_checks(signed: SignedQuote) -> Iterator[Check]:
    listing, inputs, terms = signed.gpu.listing, signed.inputs, signed.terms
    yield Check("version of the price rules", inputs.version, PRICING_VERSION)
    for name in ("base_price", "floor_price", "ceiling_price", "strategy", "region"):
        yield Check(f"{name} of the price", getattr(inputs, name), getattr(listing, name))
    yield Check("start in the price", inputs.starts_at, terms.starts_at)
    yield Check("end in the price", inputs.ends_at, terms.ends_at)
    try:
        price = pricing.price(inputs)
    except ValueError as error:
        yield Check("price rule", str(error), "one that there is")
        return
    yield Check("price per hour", signed.price.per_hour, price.per_hour)
    yield Check("factors", signed.price.factors, price.factors)


def _verify_where(market: Market, request: QuoteRequest, signed: SignedQuote) -> None:
    where = parse(request.where, market.decimals) if request.where else ()
    condition = unmet(where, signed.gpu.listing, signed.price.per_hour)
    if condition is not None:
        wanted = show_condition(condition, market.decimals)
        _refuse(f"GPU {signed.gpu_id} is not {wanted}, which was asked for")


def _verify_request(market: Market, request: QuoteRequest, signed: SignedQuote) -> None:
    terms, per_hour = signed.terms, signed.price.per_hour
    if per_hour > request.max_price:
        _refuse(f"its price is {per_hour}, above the most you allow, {request.max_price}")
    _same("buyer", terms.buyer, request.buyer)
    if terms.salt not in request.salts:
        _refuse(f"its salt is {terms.salt}, which was not asked for")
    _same("duration", terms.ends_at - terms.starts_at, request.duration)
    _verify_times(market, request, terms)


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


def _gpu_id(listing: Listing) -> str:
    return gpu_id(listing.provider, listing.salt)


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        _refuse(f"its {what} is {found}, and must be {expected}")


def _refuse(reason: str) -> NoReturn:
    raise UntrustedMarket(
        f"the coordinator's quote is not what was asked for: {reason}",
        hint="nothing was paid; ask again, or use another coordinator",
    )
