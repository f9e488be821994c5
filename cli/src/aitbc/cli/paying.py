"""The payment of a verified quote: what it is, in whose transaction, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aitbc.buying.ways import Means, Own, Relayed, Way, Wish, choose
from aitbc.cli import arguments
from aitbc.cli.retired import require_in_use
from aitbc.cli.session import Session
from aitbc.cli.views import quote_view
from aitbc.errors import CoordinatorError
from aitbc.protocol.funding import PayBy, RelayMethod
from aitbc.protocol.ids import short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import FundingRequest, SignedQuote
from aitbc.records import HeldQuote, OwnBooking, Records

SHOWN = ("gpu_id", "provider", "amount", "price_per_hour", "symbol", "starts_at", "ends_at")

SENDING: dict[PayBy | None, str] = {
    None: "your own transaction, with the coin",
    PayBy.ALLOWANCE: "your own transaction, from the escrow's allowance",
    PayBy.PERMIT: "your own transaction, with a permit for exactly the amount",
    PayBy.AUTHORIZATION: "your own transaction, with an authorization for this booking only",
    PayBy.PERMIT2: "your own transaction, with a Permit2 signature for this booking only",
}


def require_means(session: Session, buyer: str, amount: int, wish: Wish, count: int = 1) -> Way:
    """The way in which a wallet pays an amount for `count` bookings. Raises ChainError where it
    cannot."""
    from aitbc.buying.payment import read_means

    with session.output.progress("checking the escrow and the wallet on the node"):
        means = read_means(session.escrow, buyer, count)
    relays = _relays(session, means, wish) if count == 1 else ()
    return choose(means, amount, session.market, wish, relays)


def _relays(session: Session, means: Means, wish: Wish) -> tuple[RelayMethod, ...]:
    """What the coordinator offers to send, asked only where it matters: it may change."""
    if session.market.token is None or not wish.wants_relay(means):
        return ()
    try:
        return session.coordinator.market().relays
    except CoordinatorError:
        if wish.relay or means.coin == 0:
            raise
        return ()  # The little coin that there is may do.


@dataclass(frozen=True, slots=True)
class Payment:
    """Quotes of one buyer, to be paid at once as the buyer wishes: all of them, or none."""

    session: Session
    quotes: Sequence[HeldQuote]
    wish: Wish

    @property
    def bookings(self) -> list[Terms]:
        return [held.quote.terms for held in self.quotes]

    @property
    def amount(self) -> int:
        return sum(terms.amount for terms in self.bookings)

    def make(self) -> None:
        """Check, show, ask, pay and report. Raises AitbcError."""
        from aitbc.buying.payment import require_open, require_unpaid

        session, bookings = self.session, self.bookings
        require_in_use(session)
        require_open(*bookings)
        buyer, count = bookings[0].buyer, len(bookings)
        way = require_means(session, buyer, self.amount, self.wish, count)
        for held in self.quotes:
            require_unpaid(session.escrow, held.quote.booking_id)
        self._ask(way)
        if isinstance(way, Relayed):
            self._report(way.method, self._relay(way), relayed=True)
        else:
            approve_tx = self._approve(way)
            self._report(way.method, self._send(way), approve_tx=approve_tx)

    def _ask(self, way: Way) -> None:
        market, output = self.session.market, self.session.output
        price = arguments.shown_amount(self.amount, market)
        for held in self.quotes:
            shown = quote_view(held.quote, market)
            del shown["factors"]
            output.summary("You are about to book:", shown)
        output.summary("The payment:", {"amount": price, **self._shown(way)})
        if isinstance(way, Own) and way.spender is not None:
            who = "the escrow" if way.spender == market.escrow else "Permit2"
            output.note(f"First {who} is allowed to take exactly {price}.")
        output.confirm(f"Lock {price} in the escrow?")

    def _shown(self, way: Way) -> dict[str, str]:
        if isinstance(way, Relayed):
            sent_by = "the coordinator, with your signature for this booking only"
            gas_paid_by = "the coordinator"
        else:
            sent_by, gas_paid_by = SENDING[way.method], "you"
        escrow = self.session.market.escrow
        return {"escrow": escrow, "sent_by": sent_by, "gas_paid_by": gas_paid_by}

    def _approve(self, way: Own) -> str | None:
        from aitbc.buying.payment import approve

        session, output = self.session, self.session.output
        if way.spender is None:
            return None
        escrow, account = session.escrow, session.account
        with output.progress("approving"):
            return approve(
                escrow,
                account,
                self.bookings,
                way.spender,
                lambda tx_hash: output.note(f"approval sent: {tx_hash}"),
            ).tx_hash

    def _send(self, way: Own) -> str:
        from aitbc.buying.payment import fund

        session, output = self.session, self.session.output
        escrow, account = session.escrow, session.account
        self._remember(None)

        def sent(tx_hash: str) -> None:
            self._remember(tx_hash)
            output.note(f"payment sent: {tx_hash}")
            self._warn("do not pay again")

        with output.progress("paying"):
            return fund(escrow, account, self.bookings, way, sent).tx_hash

    def _relay(self, way: Relayed) -> str:
        from aitbc.buying.payment import await_funding, sign_for_relay

        session, output, (terms,) = self.session, self.session.output, self.bookings
        escrow, account = session.escrow, session.account
        request, since = sign_for_relay(escrow, account, terms, way.method)
        # From here on the coordinator may use the signature, whatever it answers.
        self._remember(None)
        self._hand_over(request)
        until = arguments.shown_time(terms.fund_by)
        self._warn(f"do not pay in another way before {until}")
        with output.progress("waiting for the payment on the chain"):
            tx_hash = await_funding(escrow, terms, since, session.market.confirmations)
        self._remember(tx_hash)
        return tx_hash

    def _hand_over(self, request: FundingRequest) -> None:
        """Raises CoordinatorError where the coordinator certainly does not send it."""
        output = self.session.output
        try:
            self.session.coordinator.fund(request)
        except CoordinatorError as error:
            if error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                output.note(f"the coordinator may have the payment all the same: {error}")
                return
            raise CoordinatorError(
                f"the coordinator does not send it, and nothing was paid: {error}",
                hint=error.hint,
                status=error.status,
                problem=error.problem,
            ) from error
        output.note("payment signed, and handed to the coordinator")

    def _warn(self, what: str) -> None:
        first = self.quotes[0].quote.booking_id
        self.session.output.note(
            f"if this is interrupted, {what}: look it up with 'aitbc booking show {first}'"
        )

    def _remember(self, tx_hash: str | None) -> None:
        for held in self.quotes:
            booking = OwnBooking(
                domain=self.session.market.domain,
                booking_id=held.quote.booking_id,
                gpu_id=held.quote.gpu_id,
                terms=held.quote.terms,
                fund_tx=tx_hash,
            )
            Records(self.session.home).keep_booking(booking)

    def _report(
        self,
        method: PayBy | None,
        tx_hash: str,
        *,
        relayed: bool = False,
        approve_tx: str | None = None,
    ) -> None:
        booked = [self._booked(held.quote) for held in self.quotes]
        paid = {
            "paid_by": None if method is None else method.value,
            "relayed": relayed,
            "approve_tx": approve_tx,
            "tx": tx_hash,
        }
        if len(booked) == 1:
            self.session.output.record({**booked[0], **paid})
        else:
            total = format_amount(self.amount, self.session.market.decimals)
            self.session.output.record({"amount": total, **paid, "bookings": booked})
        follow = " or ".join(f"aitbc booking watch {one['short_id']}" for one in booked)
        self.session.output.hint(f"follow it: {follow}")

    def _booked(self, quote: SignedQuote) -> dict[str, Any]:
        quoted = quote_view(quote, self.session.market)
        return {
            "id": quote.booking_id,
            "short_id": short_booking_id(quote.booking_id),
            "quote_id": quote.id,
            "buyer": quote.terms.buyer,
            **{key: quoted[key] for key in SHOWN},
        }
