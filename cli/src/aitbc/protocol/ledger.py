"""Where every unit of an escrow's money is, from its events alone. Pure.

For a whole escrow `funded = paid + refunded + fees + open + owed`. `paid`, `refunded` and `fees`
are what left the escrow. A push that failed and a fee that nobody collected yet are `owed` to
their account until it withdraws. What the events cannot mean is listed as a violation.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aitbc.protocol import events as ev
from aitbc.protocol.messages import Domain, Terms
from aitbc.protocol.states import CLOSED_BY, BookingStatus, Phases, clock_cap, payout_fee, phases
from aitbc.protocol.types import ZERO_ADDRESS


@dataclass(frozen=True, slots=True)
class Rules:
    """What an escrow's code enforces. `claim_window` is in seconds."""

    domain: Domain
    fee_bps: int
    fee_recipient: str
    claim_window: int
    arbiter: str


@dataclass(frozen=True, slots=True)
class Money:
    """Base units by what they are: a provider's pay, a buyer's refund, or fees."""

    paid: int = 0
    refunded: int = 0
    fees: int = 0

    @property
    def total(self) -> int:
        return self.paid + self.refunded + self.fees

    def __add__(self, other: "Money") -> "Money":
        return Money(self.paid + other.paid, self.refunded + other.refunded, self.fees + other.fees)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.paid - other.paid, self.refunded - other.refunded, self.fees - other.fees)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that a sound escrow's events cannot say, and the bookings that it concerns."""

    bookings: tuple[str, ...]
    message: str


@dataclass(slots=True)
class BookingLine:
    """One booking's money: `terms.amount = paid + fee + refunded + remaining`."""

    booking_id: str
    terms: Terms
    status: BookingStatus = BookingStatus.FUNDED
    disputed_at: int | None = None
    """When its meter was stopped (UTC seconds)."""
    paid: int = 0
    fee: int = 0
    refunded: int = 0
    events: list[ev.BookingEvent] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        return self.terms.amount - self.paid - self.fee - self.refunded


@dataclass(frozen=True, slots=True)
class ChainState:
    """What the escrow itself says at one block: its money, its debts, its open bookings.

    `disputed` is when those of them that are disputed were (UTC seconds).
    """

    balance: int
    owed: Mapping[str, int]
    remaining: Mapping[str, int]
    disputed: Mapping[str, int]


@dataclass(slots=True)
class Ledger:
    """The books of one escrow. Build it with `build_ledger`."""

    fee_recipient: str
    funded: int = 0
    left: Money = Money()
    """What left the escrow."""
    owed: dict[str, Money] = field(default_factory=dict)
    """What each account can withdraw; nothing, once it has."""
    bookings: dict[str, BookingLine] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)

    @property
    def open(self) -> int:
        """What is locked in open bookings."""
        return sum(line.remaining for line in self.open_bookings)

    @property
    def open_bookings(self) -> list[BookingLine]:
        return [line for line in self.bookings.values() if not line.status.closed]

    @property
    def accounts(self) -> set[str]:
        """Everybody whom the escrow can owe something."""
        parties = {
            account
            for line in self.bookings.values()
            for account in (line.terms.buyer, line.terms.provider)
        }
        return parties | self.owed.keys()

    def bookings_of(self, account: str) -> tuple[str, ...]:
        """The bookings that can have left something owed to an account."""
        return tuple(
            line.booking_id
            for line in self.bookings.values()
            if account in {line.terms.buyer, line.terms.provider}
            or (line.fee > 0 and account == self.fee_recipient)
        )

    @property
    def total_owed(self) -> int:
        return sum(money.total for money in self.owed.values())

    @property
    def held(self) -> int:
        """What the escrow must have: everything open and owed."""
        return self.open + self.total_owed

    @property
    def balanced(self) -> bool:
        return self.funded == self.left.total + self.held


def moved(event: ev.BookingEvent, remaining: int) -> Money:
    """What an event moves of a booking of which so much remained."""
    fee = int(getattr(event, "fee", 0))
    paid = int(getattr(event, "paid", 0))
    if isinstance(event, ev.SettledInFull):
        paid = max(0, remaining - fee)
    return Money(paid, int(getattr(event, "refunded", 0)), fee)


def moves(amount: int, events: Iterable[ev.BookingEvent]) -> Iterator[Money]:
    """What each event of one booking moves; they are given in the chain's order."""
    remaining = amount
    for event in events:
        money = moved(event, remaining)
        remaining -= money.total
        yield money


def build_ledger(events: Iterable[ev.EscrowEvent], rules: Rules) -> Ledger:
    """The books after `events`, which are all of the escrow's, in the chain's order."""
    builder = _Builder(rules)
    for event in events:
        builder.add(event)
    return builder.ledger


def compare(ledger: Ledger, state: ChainState) -> list[Violation]:
    """Where the books and the escrow's own state disagree. A surplus is no disagreement."""
    found = [
        Violation(
            (line.booking_id,),
            f"{line.remaining} remains by the events, {state.remaining[line.booking_id]} on-chain",
        )
        for line in ledger.open_bookings
        if state.remaining[line.booking_id] != line.remaining
    ]
    found += [
        Violation(
            (line.booking_id,),
            f"it is disputed at {line.disputed_at} by the events,"
            f" at {state.disputed.get(line.booking_id)} on-chain",
        )
        for line in ledger.open_bookings
        if state.disputed.get(line.booking_id) != line.disputed_at
    ]
    for account in sorted(ledger.accounts):
        expected = ledger.owed.get(account, Money()).total
        owed = state.owed[account]
        if owed != expected:
            message = f"{account} is owed {expected} by the events, {owed} on-chain"
            found.append(Violation(ledger.bookings_of(account), message))
    if state.balance < ledger.held:
        bookings = tuple(line.booking_id for line in ledger.open_bookings)
        missing = ledger.held - state.balance
        message = f"the escrow holds {state.balance}, {missing} less than is open and owed"
        found.append(Violation(bookings, message))
    return found


@dataclass(frozen=True, slots=True)
class _Push:
    """A payment that an event announces; a later event of the transaction may defer it."""

    booking_id: str
    amount: int


class _Builder:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.ledger = Ledger(rules.fee_recipient, owed={rules.fee_recipient: Money()})
        self._last: tuple[int, int] = (-1, -1)
        self._transaction = ""
        self._payouts: dict[str, list[_Push]] = defaultdict(list)
        self._refunds: dict[str, list[_Push]] = defaultdict(list)

    def add(self, event: ev.EscrowEvent) -> None:
        place = (event.block_number, event.log_index)
        if place <= self._last:
            self._violate(event, "an event is repeated or out of the chain's order")
            return
        self._last = place
        if event.tx_hash != self._transaction:
            self._transaction = event.tx_hash
            self._payouts.clear()
            self._refunds.clear()
        match event:
            case ev.Funded():
                self._fund(event)
            case ev.BookingEvent():
                self._move(event)
            case ev.PayoutDeferred():
                self._defer(event, event.account, self._payouts, Money(paid=event.amount))
            case ev.RefundDeferred():
                self._defer(event, event.account, self._refunds, Money(refunded=event.amount))
            case ev.Withdrawn():
                self._withdraw(event)

    def _fund(self, event: ev.Funded) -> None:
        terms, booking_id = event.terms, event.booking_id
        if booking_id in self.ledger.bookings:
            self._violate(event, "it is funded twice")
            return
        if terms.booking_id(self.rules.domain) != booking_id:
            self._violate(event, "its id is not that of its terms")
        if not event.timestamp < terms.fund_by <= terms.starts_at < terms.ends_at:
            self._violate(event, "it is funded too late, or its times are out of order")
        if terms.amount == 0:
            self._violate(event, "it is funded with nothing")
        self.ledger.funded += terms.amount
        self.ledger.bookings[booking_id] = BookingLine(booking_id, terms, events=[event])

    def _move(self, event: ev.BookingEvent) -> None:
        """A payment, a refund, both, or a dispute, which moves nothing."""
        line = self.ledger.bookings.get(event.booking_id)
        name = type(event).__name__
        if line is None:
            self._violate(event, f"{name} of a booking that was never funded")
            return
        line.events.append(event)
        if line.status.closed:
            self._violate(event, f"{name} after it was {line.status}")
        before = line.remaining
        money = moved(event, before)
        paid, refunded, fee = money.paid, money.refunded, money.fees
        line.paid += paid
        line.fee += fee
        line.refunded += refunded

        after = before - paid - fee
        if line.remaining < 0:
            self._violate(event, f"{name} moves {-line.remaining} more than remained")
        elif fee != payout_fee(before, after, self.rules.fee_bps):
            due = payout_fee(before, after, self.rules.fee_bps)
            self._violate(event, f"{name} takes a fee of {fee}, due is {due}")
        self._check_time(event, line)
        self._set_status(event, line)

        if paid:
            self._payouts[line.terms.provider].append(_Push(event.booking_id, paid))
        if refunded:
            self._refunds[line.terms.buyer].append(_Push(event.booking_id, refunded))
        self.ledger.left += Money(paid=paid, refunded=refunded)
        if fee:
            self._owe(self.rules.fee_recipient, Money(fees=fee))

    def _check_time(self, event: ev.BookingEvent, line: BookingLine) -> None:
        """Attested payouts stay behind the clock; each phase keeps to its time.

        A claim may run ahead of the clock: a buyer can sign away their own money early.
        """
        now, terms = event.timestamp, line.terms
        times = phases(terms, self.rules.claim_window, line.disputed_at)
        match event:
            case ev.Disputed():
                self._check_dispute(event, line)
            case ev.Resolved():
                self._check_resolution(event, line, times)
            case ev.Settled() | ev.SettledInFull() if line.disputed_at is not None:
                self._violate(event, "it is settled although it is disputed")
            case ev.Settled() if event.paid + event.fee > 0:
                earned, cap = line.paid + line.fee, clock_cap(terms, now)
                if earned > cap:
                    self._violate(event, f"it earned {earned}, ahead of the clock's {cap}")
            case ev.SettledInFull() if now < terms.ends_at:
                self._violate(event, "it is settled in full before its end")
            case ev.Cancelled() if event.by == terms.buyer != terms.provider:
                if now >= terms.starts_at:
                    self._violate(event, "its buyer cancelled after the start")
            case ev.Cancelled() if event.by != terms.provider:
                self._violate(event, f"{event.by} cancelled it, who is no party to it")
            case ev.Reclaimed() if now < times.reclaim_from:
                self._violate(event, "it is reclaimed before the time of all others has passed")
        if (
            isinstance(event, ev.Claimed | ev.Settled | ev.SettledInFull)
            and now >= times.claim_before
        ):
            self._violate(event, "it is paid out after its claim window")

    def _check_dispute(self, event: ev.Disputed, line: BookingLine) -> None:
        if self.rules.arbiter == ZERO_ADDRESS:
            self._violate(event, "it is disputed in an escrow without an arbiter")
        if line.disputed_at is not None:
            self._violate(event, "it is disputed twice")
        if not line.terms.starts_at <= event.timestamp < line.terms.ends_at:
            self._violate(event, "it is disputed while it does not run")

    def _check_resolution(self, event: ev.Resolved, line: BookingLine, times: Phases) -> None:
        if line.disputed_at is None:
            self._violate(event, "it is resolved without a dispute")
        elif not times.claim_before <= event.timestamp < times.reclaim_from:
            self._violate(event, "it is resolved outside of the arbiter's time")

    def _set_status(self, event: ev.BookingEvent, line: BookingLine) -> None:
        if isinstance(event, ev.Disputed):
            if not line.status.closed:
                line.status, line.disputed_at = BookingStatus.DISPUTED, event.timestamp
            return
        if isinstance(event, ev.Claimed) and line.remaining > 0:
            return
        line.status = CLOSED_BY[type(event).__name__]
        if line.remaining > 0:
            self._violate(event, f"it is closed with {line.remaining} unaccounted for")

    def _defer(
        self, event: ev.EscrowEvent, account: str, pushes: dict[str, list[_Push]], money: Money
    ) -> None:
        """A push failed: what was announced as paid stays, owed to its account."""
        announced = pushes[account]
        run = _run_of(announced, money.total)
        if run is None:
            bookings = tuple(push.booking_id for push in announced)
            message = f"{money.total} for {account} is deferred, which no payment of it announced"
            self._violate(event, message, bookings)
        else:
            del announced[run]
        self.ledger.left -= money
        self._owe(account, money)

    def _owe(self, account: str, money: Money) -> None:
        self.ledger.owed[account] = self.ledger.owed.get(account, Money()) + money

    def _withdraw(self, event: ev.Withdrawn) -> None:
        owed = self.ledger.owed.get(event.account, Money())
        if event.amount != owed.total or owed.total == 0:
            bookings = self.ledger.bookings_of(event.account)
            message = f"{event.account} withdraws {event.amount}, owed is {owed.total}"
            self._violate(event, message, bookings)
        self.ledger.left += owed
        self.ledger.owed[event.account] = Money()

    def _violate(
        self, event: ev.EscrowEvent, message: str, bookings: tuple[str, ...] | None = None
    ) -> None:
        if bookings is None:
            bookings = (event.booking_id,) if isinstance(event, ev.BookingEvent) else ()
        self.ledger.violations.append(Violation(bookings, f"{message} ({event.tx_hash})"))


def _run_of(pushes: list[_Push], amount: int) -> slice | None:
    """The consecutive pushes that make up `amount`: a batch pays a run of bookings at once."""
    starts = {0: 0}
    total = 0
    for end, push in enumerate(pushes, start=1):
        total += push.amount
        start = starts.get(total - amount)
        if start is not None:
            return slice(start, end)
        starts[total] = end
    return None
