"""The provider's side of a booking: find it, verify it on-chain, heartbeat until it ends.

Idle or busy, it tells the market that the machine is up.

It dials out only. What was sent is on disk before it is sent, and what was not up is not claimed:
a restart goes on from its own start, with a higher sequence number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aitbc.errors import ChainError, CoordinatorError, WalletError
from aitbc.protocol.messages import MAX_SIGHTINGS, Heartbeat, Presence, Sighting
from aitbc.protocol.metering import SignedHeartbeat
from aitbc.protocol.states import EscrowState
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import (
    Booking,
    HeartbeatAnswer,
    Market,
    SignedListing,
    SignedPresence,
    SignedReceipt,
)
from aitbc.provider.checks import listing_problem, receipt_problem, terms_problem
from aitbc.provider.session import HOW_TO_MAKE_ONE, SessionKey
from aitbc.provider.storage import KEPT_RECEIPTS, BookingStore, ServedBooking

UNUSABLE_SESSION = {"wrong-signer", "session-expired"}
INVALID_REQUEST = "invalid"
"""What a coordinator answers where no retry can mend it; what a proxy answers may pass."""


class Slot(Protocol):
    """What the escrow says of a booking."""

    @property
    def provider(self) -> str: ...
    @property
    def state(self) -> EscrowState: ...
    @property
    def disputed_at(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Links:
    """What a server talks to.

    `open_bookings`, `sightings`, `announce`, `listing` (by digest) and `send` raise
    CoordinatorError, `slot` raises ChainError. `telemetry` takes a GPU's id and gives a JSON
    object as text. `wait` sleeps so many seconds and says whether to stop; `clock` is UTC seconds.
    """

    open_bookings: Callable[[], list[Booking]]
    sightings: Callable[[], list[Sighting]]
    announce: Callable[[SignedPresence], object]
    listing: Callable[[str], SignedListing]
    send: Callable[[SignedHeartbeat], HeartbeatAnswer]
    slot: Callable[[str], Slot]
    telemetry: Callable[[str | None], str]
    clock: Callable[[], int]
    wait: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Report:
    """Something that happened. `event` is for programs, `message` for people.

    `earned` is a decimal in the market's coin, from the newest receipt.
    """

    event: str
    time: int
    message: str
    booking_id: str | None = None
    covers_from: int | None = None
    covers_until: int | None = None
    earned: str | None = None


@dataclass(slots=True)
class Delivery:
    """A booking in service. `since` is where the next heartbeat's interval begins.

    `disputed_at` is when its buyer stopped the meter, as far as that is known.
    """

    booking: ServedBooking
    since: int
    disputed_at: int | None = None

    @property
    def stops_at(self) -> int:
        ends_at = self.booking.terms.ends_at
        return ends_at if self.disputed_at is None else min(self.disputed_at, ends_at)


class Server:
    """Serves the bookings of one provider (of one GPU, where `gpu_id` is given)."""

    def __init__(
        self,
        links: Links,
        market: Market,
        session: SessionKey,
        store: BookingStore,
        report: Callable[[Report], None],
        *,
        interval: int,
        gpu_id: str | None = None,
    ) -> None:
        self._links = links
        self._market = market
        self._session = session
        self._store = store
        self._report = report
        self._interval = max(1, min(interval, market.heartbeat_allowance // 2))
        self._gpu_id = gpu_id
        self._announce_at = 0
        self._deliveries: dict[str, Delivery] = {}
        self._skipped: dict[str, str] = {}
        self._failures = 0
        self._served = 0

    def run(self, *, once: bool = False, until_idle: bool = False) -> None:
        """Serve until told to stop; then claim the time up to now.

        Args:
            once: do one round only.
            until_idle: stop when a booking was served and none is left to serve.

        Raises:
            WalletError: the session key has expired or is not granted.
            CoordinatorError: the coordinator refuses what no retry can mend.
        """
        while True:
            worked = self.round()
            if once or (until_idle and worked and self._served and not self._deliveries):
                return
            if self._links.wait(self._delay()):
                self._heartbeat_all()
                return

    def round(self) -> bool:
        """Look for bookings and send the heartbeats that are due; whether all of it worked."""
        now = self._links.clock()
        if self._session.grant.expires_at <= now:
            raise WalletError("the session key has expired", hint=HOW_TO_MAKE_ONE)
        failures = self._failures
        self._discover()
        if self._failures == failures and now >= self._announce_at:
            self._announce(now)
        self._heartbeat_all()
        if self._failures == failures:
            self._failures = 0
        return self._failures == 0

    def _delay(self) -> int:
        """Seconds until the next round: the interval, an end, or a quick retry."""
        now = self._links.clock()
        ends = [delivery.stops_at for delivery in self._deliveries.values()]
        delays = [self._interval, *(end - now for end in (*ends, self._announce_at) if end > now)]
        if self._failures:
            delays.append(2 ** min(self._failures - 1, 10))
        return min(delays)

    # Staying on the market

    def _announce(self, now: int) -> None:
        provider, domain = self._session.grant.provider, self._market.domain
        try:
            served = [one for one in self._links.sightings() if self._serves(one.gpu_id)]
            for start in range(0, len(served), MAX_SIGHTINGS):
                gpus = tuple(served[start : start + MAX_SIGHTINGS])
                presence = Presence(provider=provider, gpus=gpus, signed_at=now)
                signature = self._session.sign(presence, domain)
                self._links.announce(SignedPresence(presence=presence, signature=signature))
        except CoordinatorError as error:
            self._refuse_unusable(error)
            self._coordinator_failed(error)
            return
        # So that one that is lost does not take the GPUs off the market.
        self._announce_at = now + max(1, self._market.unreachable_seconds // 3)

    # Finding bookings

    def _discover(self) -> None:
        try:
            found = self._links.open_bookings()
        except CoordinatorError as error:
            self._coordinator_failed(error)
            return
        now = self._links.clock()
        for booking in found:
            delivery = self._deliveries.get(booking.id)
            if delivery is not None:
                delivery.disputed_at = booking.disputed_at
            elif self._serves(booking.gpu_id) and now < booking.terms.ends_at:
                self._take_on(booking)

    def _serves(self, gpu_id: str | None) -> bool:
        return self._gpu_id is None or gpu_id == self._gpu_id

    def _take_on(self, booking: Booking) -> None:
        stored = self._store.get(booking.id)
        if stored is not None and stored.finished:
            return
        try:
            reason = self._why_not(booking)
        except (ChainError, CoordinatorError) as error:
            self._failures += 1
            self._tell("retrying", f"cannot verify the booking: {error}", booking.id)
            return
        if reason is not None:
            if self._skipped.get(booking.id) != reason:
                self._skipped[booking.id] = reason
                self._tell("skipped", reason, booking.id)
            return
        if stored is None:
            stored = ServedBooking(
                booking_id=booking.id, gpu_id=booking.gpu_id, terms=booking.terms
            )
            self._store.put(stored)
        since = max(stored.terms.starts_at, self._links.clock())
        self._deliveries[booking.id] = Delivery(stored, since)
        self._tell("accepted", "verified on-chain", booking.id)

    def _why_not(self, booking: Booking) -> str | None:
        """Why a booking that the coordinator names is not served; None if it is."""
        provider, domain = self._session.grant.provider, self._market.domain
        problem = terms_problem(booking, provider, domain)
        if problem is not None:
            return problem
        slot = self._links.slot(booking.id)
        if slot.state is EscrowState.DISPUTED or booking.disputed_at is not None:
            return "its buyer has disputed it"
        if slot.state is not EscrowState.OPEN or slot.provider != provider:
            return "the escrow holds no money for it"
        try:
            listing = self._links.listing(booking.terms.listing)
        except CoordinatorError as error:
            if error.problem == "unknown-listing":
                return "the coordinator does not have the listing that its terms name"
            raise
        return listing_problem(listing, booking, domain)

    # Serving them

    def _heartbeat_all(self) -> None:
        for delivery in list(self._deliveries.values()):
            if not self._closed_on_chain(delivery):
                self._heartbeat(delivery)

    def _closed_on_chain(self, delivery: Delivery) -> bool:
        try:
            slot = self._links.slot(delivery.booking.booking_id)
        except ChainError as error:
            self._failures += 1
            self._tell("retrying", f"goes on unchecked: {error}", delivery.booking.booking_id)
            return False
        if slot.state is EscrowState.DISPUTED:
            # Not closed: the time before the dispute is still to be reported.
            delivery.disputed_at = slot.disputed_at
        if slot.state in {EscrowState.OPEN, EscrowState.DISPUTED}:
            return False
        # The node may only lag behind: nothing is written down, and the booking is looked for
        # again soon, as after a failure.
        self._failures += 1
        self._leave(delivery, "stopped", "the booking is closed on-chain")
        return True

    def _heartbeat(self, delivery: Delivery) -> None:
        now = self._links.clock()
        stops_at, allowance = delivery.stops_at, self._market.heartbeat_allowance
        until = min(now, stops_at)
        since = max(delivery.since, until - allowance)
        if until <= since:
            if until == stops_at:
                self._end(delivery)
            return
        if now > stops_at + allowance:
            self._finish(delivery, "stopped", "its end could not be reported in time")
            return
        # Written first, so that no restart uses this number again. The clock as a floor keeps
        # the numbers growing even where the file was lost.
        sequence = max(delivery.booking.sequence + 1, now)
        self._remember(delivery, sequence=sequence)
        heartbeat = Heartbeat(
            booking_id=delivery.booking.booking_id,
            sequence=sequence,
            covers_from=since,
            covers_until=until,
            telemetry=self._links.telemetry(delivery.booking.gpu_id),
        )
        signature = self._session.sign(heartbeat, self._market.domain)
        try:
            answer = self._links.send(SignedHeartbeat(heartbeat=heartbeat, signature=signature))
        except CoordinatorError as error:
            self._heartbeat_failed(delivery, error)
            return
        delivery.since = until
        self._remember(
            delivery, covered_until=until, receipts=self._receipts(delivery, answer.receipt)
        )
        self._tell_heartbeat(delivery, since, until)
        if until == stops_at:
            self._end(delivery)
        elif not answer.serve:
            self._finish(delivery, "stopped", "the coordinator says to stop")

    def _heartbeat_failed(self, delivery: Delivery, error: CoordinatorError) -> None:
        self._refuse_unusable(error)
        if error.problem == "booking-closed":
            self._finish(delivery, "stopped", "the booking is closed")
        else:
            self._failures += 1
            self._tell("retrying", f"heartbeat not taken: {error}", delivery.booking.booking_id)

    def _refuse_unusable(self, error: CoordinatorError) -> None:
        if error.problem in UNUSABLE_SESSION:
            raise WalletError(
                f"the coordinator refuses this machine's session key: {error}",
                hint=HOW_TO_MAKE_ONE,
            ) from error

    def _receipts(
        self, delivery: Delivery, offered: SignedReceipt | None
    ) -> tuple[SignedReceipt, ...]:
        """Those to keep of the receipts held and a new one."""
        receipts, held = delivery.booking.receipts, delivery.booking.receipt
        if offered is None or offered == held:
            return receipts
        now = self._links.clock()
        problem = receipt_problem(
            offered, delivery.booking.booking_id, delivery.booking.terms, self._market, now
        )
        less = held is not None and offered.receipt.earned < held.receipt.earned
        if problem is None and less and delivery.disputed_at is None:
            problem = "it proves less than the one before"
        if problem is not None:
            self._tell("receipt-refused", problem, delivery.booking.booking_id)
            return receipts
        return (*receipts, offered)[-KEPT_RECEIPTS:]

    def _end(self, delivery: Delivery) -> None:
        if delivery.disputed_at is None:
            self._finish(delivery, "delivered", "served to its end")
            return
        # A reorg may take a dispute back: nothing is written down.
        self._leave(delivery, "stopped", "its buyer has disputed it")

    def _finish(self, delivery: Delivery, event: str, message: str) -> None:
        self._remember(delivery, finished=True)
        self._leave(delivery, event, message)

    def _leave(self, delivery: Delivery, event: str, message: str) -> None:
        del self._deliveries[delivery.booking.booking_id]
        if delivery.booking.covered_until:
            self._served += 1
        self._tell(event, message, delivery.booking.booking_id)

    def _remember(self, delivery: Delivery, **changes: object) -> None:
        delivery.booking = delivery.booking.model_copy(update=changes)
        self._store.put(delivery.booking)

    # Telling

    def _coordinator_failed(self, error: CoordinatorError) -> None:
        if error.problem == INVALID_REQUEST:
            raise error
        self._failures += 1
        self._tell("retrying", str(error), None)

    def _tell(self, event: str, message: str, booking_id: str | None) -> None:
        self._report(Report(event, self._links.clock(), message, booking_id))

    def _tell_heartbeat(self, delivery: Delivery, since: int, until: int) -> None:
        booking = delivery.booking
        earned = booking.receipt.receipt.earned if booking.receipt else 0
        total = booking.terms.ends_at - booking.terms.starts_at
        self._report(
            Report(
                event="heartbeat",
                time=self._links.clock(),
                message=f"second {until - booking.terms.starts_at} of {total}",
                booking_id=booking.booking_id,
                covers_from=since,
                covers_until=until,
                earned=format_amount(earned, self._market.decimals),
            )
        )
