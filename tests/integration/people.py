"""Buyers and providers who act through the library, so that many of them act at once."""

import secrets
import time
from dataclasses import dataclass, field

from eth_account import Account
from eth_account.signers.local import LocalAccount

import samples
from aitbc.chain.escrow import Escrow, open_escrow
from aitbc.chain.transactions import send
from aitbc.client import Coordinator
from aitbc.errors import CoordinatorError
from aitbc.protocol.messages import (
    Heartbeat,
    Listing,
    Message,
    QuoteRequest,
    SessionGrant,
    Terms,
)
from aitbc.protocol.metering import SignedHeartbeat, SignedSessionGrant
from aitbc.protocol.units import MAX_AMOUNT
from aitbc.protocol.wire import (
    HeartbeatAnswer,
    SignedListing,
    SignedQuote,
    SignedQuoteRequest,
    SignedReceipt,
)
from aitbc.signing import sign
from local_market import LocalMarket


def listing(provider: str, **changes: object) -> Listing:
    """A plain listing of `provider`, with `changes`."""
    fields: dict[str, object] = {
        "salt": secrets.randbits(63),
        "base_price": 3_600_000,
        "floor_price": 1_800_000,
        "ceiling_price": 7_200_000,
        "signed_at": int(time.time()),
    }
    return samples.listing(provider, **(fields | changes))


@dataclass
class Person:
    """An account in one market."""

    market: LocalMarket
    account: LocalAccount = field(default_factory=Account.create)

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(self.market.coordinator_url)
        self.domain = self.coordinator.market().domain

    @property
    def address(self) -> str:
        return str(self.account.address)

    def escrow(self) -> Escrow:
        contract = "NativeEscrow" if self.market.token is None else "TokenEscrow"
        return open_escrow(self.market.node.rpc_url, self.domain, contract)

    def call(self, verb: str, *args: object, value: int = 0) -> str:
        """Send a verb of the escrow; its transaction hash."""
        escrow = self.escrow()
        return send(escrow, self.account, escrow.functions[verb](*args), value=value).tx_hash

    def sign(self, message: Message) -> str:
        return sign(self.account, message, self.domain)


class Buyer(Person):
    def quote(self, gpu_id: str, duration: int) -> SignedQuote:
        request = QuoteRequest(
            buyer=self.address,
            gpu_id=gpu_id,
            starts_at=0,
            duration=duration,
            max_price=MAX_AMOUNT,
            salt=secrets.randbits(63),
            signed_at=int(time.time()),
        )
        signed = SignedQuoteRequest(request=request, signature=self.sign(request))
        return self.coordinator.request_quotes(signed).items[0]

    def fund(self, terms: Terms) -> str:
        escrow = self.escrow()
        if escrow.token is None:
            return self.call("fund", terms.abi_values(), value=terms.amount)
        approve = escrow.token.functions.approve(self.market.escrow, terms.amount)
        send(escrow, self.account, approve)
        return self.call("fund", terms.abi_values())


class Provider(Person):
    def list_gpu(self, **changes: object) -> str:
        wanted = listing(self.address, **changes)
        signed = SignedListing(listing=wanted, signature=self.sign(wanted))
        return self.coordinator.list_gpu(signed).id

    def open_session(self) -> None:
        self.session: LocalAccount = Account.create()
        grant = SessionGrant(
            provider=self.address,
            session_key=self.session.address,
            expires_at=int(time.time()) + 3600,
        )
        signed = SignedSessionGrant(grant=grant, signature=self.sign(grant))
        self.coordinator.grant_session(signed)

    def beat(self, booking_id: str, sequence: int, since: int, until: int) -> HeartbeatAnswer:
        heartbeat = Heartbeat(
            booking_id=booking_id,
            sequence=sequence,
            covers_from=since,
            covers_until=until,
            telemetry="{}",
        )
        signature = sign(self.session, heartbeat, self.domain)
        signed = SignedHeartbeat(heartbeat=heartbeat, signature=signature)
        return self.coordinator.heartbeat(signed)

    def deliver(self, booking_id: str, terms: Terms, seconds: int) -> SignedReceipt | None:
        """Serve the first `seconds` of a booking; the newest receipt."""
        covered, stop, sequence = terms.starts_at, terms.starts_at + seconds, 0
        receipt: SignedReceipt | None = None
        while covered < stop:
            now = min(int(time.time()), stop)
            if now > covered:
                sequence += 1
                receipt = self._beat(booking_id, sequence, covered, now) or receipt
                covered = now
            time.sleep(0.3)
        return receipt

    def _beat(self, booking_id: str, sequence: int, since: int, until: int) -> SignedReceipt | None:
        try:
            return self.beat(booking_id, sequence, since, until).receipt
        except CoordinatorError as error:
            if error.problem not in {"booking-closed", "unknown-booking"}:
                raise
            return None
