"""An honest quote, and what a coordinator that owns the attester's key can make of it."""

from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

import samples
from aitbc.buying.quotes import listing_digest
from aitbc.protocol import pricing
from aitbc.protocol.ids import gpu_id, quote_id
from aitbc.protocol.messages import Listing, Quote, QuoteRequest, Terms
from aitbc.protocol.units import price_of
from aitbc.protocol.wire import SignedListing, SignedQuote
from aitbc.signing import sign

NOW = 1_800_000_000
HOUR = pricing.MarketHour(starts_at=NOW, listed=10, booked=5, level_before_bps=10_400)


@dataclass
class Offer:
    """One request with its honest answer; the dishonest ones are derived from it."""

    attester: LocalAccount = field(default_factory=lambda: Account.from_key("0x" + "a1" * 32))
    provider: LocalAccount = field(default_factory=lambda: Account.from_key("0x" + "b2" * 32))
    buyer: LocalAccount = field(default_factory=lambda: Account.from_key("0x" + "c3" * 32))

    def __post_init__(self) -> None:
        self.market = samples.market(attester=self.attester.address)
        self.listing = samples.listing(
            self.provider.address,
            salt=7,
            base_price=36 * 10**15,
            floor_price=18 * 10**15,
            ceiling_price=72 * 10**15,
            signed_at=NOW - 1_000,
        )
        self.request = QuoteRequest(
            buyer=self.buyer.address,
            gpu_id=gpu_id(self.listing.provider, self.listing.salt),
            starts_at=0,
            duration=3_600,
            max_price=self.listing.ceiling_price,
            salt=99,
            signed_at=NOW,
        )

    def quote(
        self,
        *,
        gpu: Listing | None = None,
        lister: LocalAccount | None = None,
        inputs: dict[str, Any] | None = None,
        minimum: int = 1,
        **terms: Any,
    ) -> SignedQuote:
        """The quote with some of it changed, everything else recomputed, and all of it signed."""
        listing = gpu or self.listing
        starts_at = terms.get("starts_at", self.request.starts_at or NOW + 60)
        from_listing = ("strategy", "region", "base_price", "floor_price", "ceiling_price")
        all_inputs = pricing.PricingInputs(
            **{
                **{name: getattr(listing, name) for name in from_listing},
                "starts_at": starts_at,
                "ends_at": terms.get("ends_at", starts_at + self.request.duration),
                "hour": HOUR,
                "idle_seconds": 100,
                **(inputs or {}),
            }
        )
        price = pricing.price(all_inputs)
        all_terms = Terms(
            **{
                "buyer": self.request.buyer,
                "provider": listing.provider,
                "amount": price_of(price.per_hour, self.request.duration),
                "fund_by": NOW + 60,
                "starts_at": starts_at,
                "ends_at": starts_at + self.request.duration,
                "listing": listing_digest(self.market.domain, listing),
                "salt": self.request.salt,
                **terms,
            }
        )
        booking_id = all_terms.booking_id(self.market.domain)
        commitment = Quote(
            booking_id=booking_id,
            price=price.per_hour,
            pricing=all_inputs.digest(),
            minimum=minimum,
        )
        return SignedQuote(
            id=quote_id(booking_id),
            booking_id=booking_id,
            gpu=SignedListing(
                listing=listing,
                signature=sign(lister or self.provider, listing, self.market.domain),
            ),
            gpu_id=gpu_id(listing.provider, listing.salt),
            terms=all_terms,
            inputs=all_inputs,
            price=price,
            minimum=minimum,
            signature=sign(self.attester, commitment, self.market.domain),
        )
