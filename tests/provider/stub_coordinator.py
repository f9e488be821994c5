"""A small HTTP server that takes heartbeats as strictly as a coordinator does, on a set clock."""

from collections.abc import Callable
from contextlib import ExitStack
from threading import Event
from typing import Any

from eth_account.signers.local import LocalAccount
from pydantic import BaseModel

import samples
from aitbc.protocol.ids import gpu_id, short_booking_id
from aitbc.protocol.messages import Heartbeat, Presence, Receipt, Terms
from aitbc.protocol.metering import (
    SignedHeartbeat,
    SignedSessionGrant,
    earned,
    used_seconds,
)
from aitbc.protocol.pricing import Price
from aitbc.protocol.states import BookingStatus, clock_cap
from aitbc.protocol.wire import (
    Booking,
    BookingPage,
    Gpu,
    GpuPage,
    HeartbeatAnswer,
    Market,
    PresenceAnswer,
    Problem,
    SignedListing,
    SignedPresence,
    SignedReceipt,
)
from aitbc.signing import sign
from http_stub import Answer, serving


class StubCoordinator:
    """`down` answers nothing; `refusals` are (status, code) for the next heartbeats.

    `asked` is set once somebody looks for bookings.
    """

    def __init__(
        self, market: Market, attester: LocalAccount, session_key: str, clock: Callable[[], int]
    ) -> None:
        self.market = market
        self.attester = attester
        self.session_key = session_key
        self.clock = clock
        self.bookings: dict[str, tuple[Terms, str | None]] = {}
        self.listings: dict[str, SignedListing] = {}
        self.asked = Event()
        self.heartbeats: list[Heartbeat] = []
        self.presences: list[Presence] = []
        self.refusals: list[tuple[int, str]] = []
        self.lose_answers = 0
        self.page_size = 1_000
        self.down = False
        self.serve = True
        self.disputed_at: int | None = None
        self.make_receipt: Callable[[str, Terms, int], SignedReceipt | None] = self.receipt
        self._serving = ExitStack()
        self.url = self._serving.enter_context(serving(self.respond))

    def close(self) -> None:
        self._serving.close()

    def offer(self, provider: LocalAccount, **changes: object) -> str:
        """Take a listing that `provider` signs; its digest."""
        listing = samples.listing(provider.address).model_copy(update=changes)
        signature = sign(provider, listing, self.market.domain)
        digest = "0x" + listing.digest(self.market.domain).hex()
        self.listings[digest] = SignedListing(listing=listing, signature=signature)
        return digest

    def add(self, terms: Terms) -> str:
        """A booking of the GPU whose listing its terms name."""
        booking_id = terms.booking_id(self.market.domain)
        listing = self.listings[terms.listing].listing
        self.bookings[booking_id] = (terms, gpu_id(listing.provider, listing.salt))
        return booking_id

    def page(self) -> tuple[int, BaseModel]:
        self.asked.set()
        items = [self._booking(booking, *rest) for booking, rest in self.bookings.items()]
        return 200, BookingPage(items=items, next_cursor=None)

    def gpus(self, path: str) -> tuple[int, BaseModel]:
        """What its provider has listed, once for each GPU, by pages of `page_size`."""
        newest = {signed.listing.salt: signed for signed in self.listings.values()}
        start = int(path.rpartition("cursor=")[2]) if "cursor=" in path else 0
        end = start + self.page_size
        shown = list(newest.values())[start:end]
        more = str(end) if end < len(newest) else None
        return 200, GpuPage(items=[self._gpu(signed) for signed in shown], next_cursor=more)

    def hear(self, signed: SignedPresence) -> tuple[int, BaseModel]:
        presence = signed.presence
        if presence.signer(self.market.domain, signed.signature) != self.session_key:
            return self._problem(403, "wrong-signer")
        self.presences.append(presence)
        until = presence.signed_at + self.market.unreachable_seconds
        return 200, PresenceAnswer(reachable_until=until)

    def listing(self, digest: str) -> tuple[int, BaseModel]:
        if digest not in self.listings:
            return self._problem(404, "unknown-listing")
        return 200, self.listings[digest]

    def grant(self, signed: SignedSessionGrant) -> tuple[int, BaseModel]:
        if signed.grant.signer(self.market.domain, signed.signature) != signed.grant.provider:
            return self._problem(403, "wrong-signer")
        self.session_key = signed.grant.session_key
        return 201, signed

    def take(self, signed: SignedHeartbeat) -> tuple[int, BaseModel]:
        if self.refusals:
            return self._problem(*self.refusals.pop(0))
        beat, now = signed.heartbeat, self.clock()
        terms, _ = self.bookings[beat.booking_id]
        allowance = self.market.heartbeat_allowance
        checks = {
            (403, "wrong-signer"): beat.signer(self.market.domain, signed.signature)
            == self.session_key,
            (403, "stale-heartbeat"): beat.covers_from < beat.covers_until <= now + 5
            and beat.covers_until - beat.covers_from <= allowance
            and beat.covers_until >= now - allowance,
            (409, "booking-disputed"): self.disputed_at is None
            or beat.covers_until <= self.disputed_at,
            (422, "outside-booking"): terms.starts_at <= beat.covers_from
            and beat.covers_until <= terms.ends_at,
            (409, "replayed"): all(
                beat.sequence > taken.sequence
                for taken in self.heartbeats
                if taken.booking_id == beat.booking_id
            ),
        }
        for (status, code), passed in checks.items():
            if not passed:
                return self._problem(status, code)
        self.heartbeats.append(beat)
        used = self.used(beat.booking_id)
        money = earned(terms.amount, used, terms.ends_at - terms.starts_at)
        answer = HeartbeatAnswer(
            serve=self.serve,
            used_seconds=used,
            receipt=self.make_receipt(beat.booking_id, terms, min(money, clock_cap(terms, now))),
        )
        return 200, answer

    def used(self, booking_id: str) -> int:
        terms, _ = self.bookings[booking_id]
        return used_seconds(self.intervals(booking_id), terms.starts_at, terms.ends_at)

    def intervals(self, booking_id: str) -> list[tuple[int, int]]:
        return [
            (beat.covers_from, beat.covers_until)
            for beat in self.heartbeats
            if beat.booking_id == booking_id
        ]

    def receipt(self, booking_id: str, _terms: Terms, money: int) -> SignedReceipt:
        receipt = Receipt(booking_id=booking_id, earned=money)
        signature = sign(self.attester, receipt, self.market.domain)
        return SignedReceipt(receipt=receipt, signature=signature)

    def respond(self, method: str, path: str, body: bytes) -> Answer | None:
        if self.down:
            return None
        if method == "GET" and "/listings/" in path:
            status, model = self.listing(path.rsplit("/", 1)[-1])
        elif method == "GET" and "/gpus" in path:
            status, model = self.gpus(path)
        elif method == "GET":
            status, model = self.page()
        elif path.endswith("/sessions"):
            status, model = self.grant(SignedSessionGrant.model_validate_json(body))
        elif path.endswith("/presence"):
            status, model = self.hear(SignedPresence.model_validate_json(body))
        else:
            status, model = self.take(SignedHeartbeat.model_validate_json(body))
        if method == "POST" and self.lose_answers:
            self.lose_answers -= 1
            return None
        return Answer(status, model.model_dump_json().encode())

    def _problem(self, status: int, code: str) -> tuple[int, BaseModel]:
        return status, Problem(title="refused", status=status, code=code, detail=code)

    def _gpu(self, signed: SignedListing) -> Gpu:
        listing = signed.listing
        return Gpu(
            id=gpu_id(listing.provider, listing.salt),
            listing=listing,
            signature=signed.signature,
            digest="0x" + listing.digest(self.market.domain).hex(),
            listed=True,
            current_price=Price(per_hour=listing.base_price, factors=[]),
            free_from=0,
            last_seen=None,
            reachable_until=0,
            reliability_bps=None,
            verified=False,
        )

    def _booking(self, booking_id: str, terms: Terms, gpu_id: str | None) -> Booking:
        fields: dict[str, Any] = dict.fromkeys(("earned", "paid", "fee", "refunded"), 0)
        return Booking(
            id=booking_id,
            short_id=short_booking_id(booking_id),
            gpu_id=gpu_id,
            status=BookingStatus.FUNDED,
            terms=terms,
            disputed_at=self.disputed_at,
            used_seconds=0,
            remaining=terms.amount,
            transactions=[],
            settlement_tx=None,
            **fields,
        )
