"""The real coordinator on a database of its own, with a clock and a chain that are moved by hand.

What buyers and providers send is signed, and checked, as in any market. Of the chain there is only
what the coordinator's follower would make of its events: the time, and who funded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from sqlmodel import Session, col, select

from aitbc.cli.listing import default_ceiling, default_floor
from aitbc.protocol import wire
from aitbc.protocol.messages import Listing, QuoteRequest
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.signing import Signer, sign
from aitbc_coordinator import migrations
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.database import Database
from aitbc_coordinator.errors import Unmatched
from aitbc_coordinator.market import hours, listings, matching, quotes, reservations, views
from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.settings import Settings
from replay.rules import DECIMALS, MODELS, WEEK, Card, Request

ESCROW = "0x" + "e5" * 20
CUDA_VERSION = "12.1"
QUOTE_SECONDS = 60
"""How long a quote holds a GPU, and how soon a booking can begin."""


@dataclass(frozen=True, slots=True, order=True)
class Booking:
    """A GPU that was booked; `price` and `base_price` are for an hour, in base units."""

    ends_at: int
    starts_at: int
    booking_id: str
    gpu_id: str
    region: str
    model: str
    amount: int
    price: int
    base_price: int

    @classmethod
    def of(cls, quote: wire.SignedQuote) -> Booking:
        return cls(
            booking_id=quote.booking_id,
            gpu_id=quote.gpu_id,
            model=quote.gpu.listing.model,
            region=quote.gpu.listing.region,
            starts_at=quote.terms.starts_at,
            ends_at=quote.terms.ends_at,
            amount=quote.terms.amount,
            price=quote.price.per_hour,
            base_price=quote.inputs.base_price,
        )


class Market:
    """A coordinator's market. `now` is its clock: UTC seconds, to be set."""

    def __init__(self, folder: Path, now: int) -> None:
        self.now = now
        settings = Settings(
            rpc_url="http://127.0.0.1:1",
            chain_id=31_337,
            contract="TokenEscrow",
            escrow=ESCROW,
            deploy_block=0,
            passphrase_file=folder / "none",
            wallet_requests_per_minute=0,
            quote_seconds=QUOTE_SECONDS,
            maximum_seconds=WEEK,
            settle_gas=0,
            # No machine fails in this week, so that none need tell that it is up.
            first_presence_seconds=2 * WEEK,
        )
        attester = _account("attester")
        market = _market(settings, attester.address)
        database = Database(f"sqlite:///{folder / 'market.db'}")
        migrations.upgrade(database)
        self._context = Context(
            settings=settings,
            database=database,
            market=market,
            attester=Attester(Signer(attester), market),
            now=lambda: self.now,
        )

    def close(self) -> None:
        self._context.database.close()

    def register(self, cards: Sequence[Card], strategy: str, *, fixed: bool) -> list[str]:
        """List every GPU; at a `fixed` price, floor and ceiling are the base price."""
        with self._context.database.session() as session:
            return [
                listings.register(
                    self._context, session, self._listing(card, strategy, fixed=fixed)
                )[0].id
                for card in cards
            ]

    def record_hour(self) -> None:
        """What the coordinator does as each hour begins."""
        hours.record(self._context)

    def asking(self, gpu_ids: Sequence[str]) -> dict[str, int]:
        """What these GPUs cost now, base units for an hour, by id."""
        with self._context.database.read() as session:
            gpus = session.exec(select(Gpu).where(col(Gpu.id).in_(gpu_ids))).all()
            span = views.soonest_hour(self._context)
            offers = matching.offers(self._context, session, gpus, span)
            return {offer.gpu.id: offer.per_hour for offer in offers}

    def book(self, wanted: Request) -> list[Booking]:
        """Ask for what somebody wants, and fund all that is quoted; empty where nothing is."""
        buyer = _account(f"buyer {wanted.task}")
        request = QuoteRequest(
            buyer=buyer.address,
            gpu_id="",
            where=f"model={wanted.model} region={wanted.region}",
            count=wanted.count,
            starts_at=0,
            duration=wanted.seconds,
            max_price=wanted.most,
            salt=_number(wanted.task),
            signed_at=self.now,
        )
        signed = wire.SignedQuoteRequest(
            request=request, signature=sign(buyer, request, self._context.market.domain)
        )
        try:
            made, _ = self._context.database.transact(
                lambda session: quotes.make(self._context, session, signed)
            )
        except Unmatched:
            return []
        with self._context.database.session() as session:
            self._follow(session)
            for quote in made.items:
                if reservations.confirm(session, quote.booking_id) is None:
                    raise AssertionError(f"{quote.id} was quoted, and its GPU cannot be reserved")
        return [Booking.of(quote) for quote in made.items]

    def close_bookings(self, ended: Iterable[Booking]) -> None:
        """These bookings have ended, and were settled then."""
        with self._context.database.session() as session:
            self._follow(session)
            for booking in ended:
                reservations.release(session, booking.booking_id, at=booking.ends_at)

    def _follow(self, session: Session) -> None:
        """The chain is followed up to now."""
        cursor = ChainCursor(
            id=1,
            block_number=self.now,
            block_hash="0x" + "00" * 32,
            block_timestamp=self.now,
            gas_price=0,
        )
        session.merge(cursor)

    def _listing(self, card: Card, strategy: str, *, fixed: bool) -> wire.SignedListing:
        provider = _account(f"provider {card.node}")
        base = MODELS[card.model].base_price
        name = f"{card.node}-{card.index}"
        listing = Listing(
            provider=provider.address,
            salt=_number(name),
            version=1,
            name=name,
            model=card.model,
            gpu_uuid="",
            memory_gib=MODELS[card.model].memory_gib,
            cuda_version=CUDA_VERSION,
            region=card.region,
            base_price=base,
            floor_price=base if fixed else default_floor(base),
            ceiling_price=base if fixed else default_ceiling(base),
            strategy=strategy,
            signed_at=self.now,
        )
        return wire.SignedListing(
            listing=listing, signature=sign(provider, listing, self._context.market.domain)
        )


def _market(settings: Settings, attester: str) -> wire.Market:
    """What the coordinator would have read of the escrow."""
    announced = {
        name: getattr(settings, name)
        for name in wire.Market.model_fields.keys() & Settings.model_fields.keys()
        if name != "rpc_url"
    }
    return wire.Market(
        **announced,
        name="replay",
        token="0x" + "d0" * 20,
        symbol="USD",
        decimals=DECIMALS,
        attester=attester,
        arbiter=ZERO_ADDRESS,
        fee_bps=100,
        fee_recipient="0x" + "fe" * 20,
        claim_window=86_400,
        rpc_url=None,
    )


@cache
def _account(who: str) -> LocalAccount:
    """The wallet of somebody in the replay: always the same, and of no use elsewhere."""
    account: LocalAccount = Account.from_key(sha256(f"replay {who}".encode()).digest())
    return account


def _number(of: str) -> int:
    return int.from_bytes(sha256(of.encode()).digest()[:8], "big")
