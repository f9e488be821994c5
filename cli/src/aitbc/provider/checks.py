"""Whether what a coordinator says of a booking is true, as far as the provider can tell. Pure."""

from hexbytes import HexBytes

from aitbc.protocol.ids import gpu_id, short_booking_id
from aitbc.protocol.messages import Domain, Terms
from aitbc.protocol.metering import CLOCK_TOLERANCE_SECONDS
from aitbc.protocol.states import clock_cap
from aitbc.protocol.units import price_of
from aitbc.protocol.wire import Booking, Market, SignedListing, SignedReceipt


def terms_problem(booking: Booking, provider: str, domain: Domain) -> str | None:
    """Why a booking is none of `provider`'s in this market; None if it is."""
    if booking.terms.provider != provider:
        return "its terms pay another provider"
    if booking.terms.booking_id(domain) != booking.id:
        return "its id is not that of its terms"
    if booking.gpu_id is None:
        return "the coordinator refused it: no quote offered it"
    return None


def listing_problem(signed: SignedListing, booking: Booking, domain: Domain) -> str | None:
    """Why a listing does not offer its provider's GPU for a booking's price; None if it does."""
    listing, terms = signed.listing, booking.terms
    if listing.digest(domain) != HexBytes(terms.listing):
        return "its listing is not the one that its terms name"
    if listing.provider != terms.provider:
        return "its listing is another provider's"
    if listing.signer(domain, signed.signature) != listing.provider:
        return "its listing is not signed by its provider"
    if gpu_id(listing.provider, listing.salt) != booking.gpu_id:
        return "its listing is another GPU's"
    floor = price_of(listing.floor_price, terms.ends_at - terms.starts_at)
    if terms.amount < floor:
        return f"it pays {terms.amount} base units, its listing's floor is {floor}"
    return None


def receipt_problem(
    signed: SignedReceipt, booking_id: str, terms: Terms, market: Market, now: int
) -> str | None:
    """Why a receipt of the coordinator proves nothing; None if it does."""
    receipt = signed.receipt
    if receipt.booking_id != booking_id:
        return f"the receipt is for {short_booking_id(receipt.booking_id)}"
    if receipt.signer(market.domain, signed.signature, on_chain=True) != market.attester:
        return "the receipt is not signed by this market's attester"
    if receipt.earned > clock_cap(terms, now + CLOCK_TOLERANCE_SECONDS):
        return "the receipt is ahead of the clock: the escrow would refuse it"
    return None
