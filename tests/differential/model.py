"""What the state table lets happen to bookings, and to the last unit who gets what.

Built on `TRANSITIONS` and the pure arithmetic of `aitbc.protocol.states` alone; what the table says
in words, its times, stands here once more.
"""

import math
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field

from aitbc.protocol.messages import Terms
from aitbc.protocol.states import TRANSITIONS, EscrowState, Transition, clock_cap, payout_fee

ARBITER_WINDOW = 14 * 86_400
ROWS = {(row.verb, row.before): row for row in TRANSITIONS}
FUNDING = {row.verb for row in TRANSITIONS if row.before is EscrowState.NONE}
BATCHES = {"settleMany", "settleEach"}
"""Of these, what would be refused is skipped."""
SIGNED_FUNDING = {"fundWithAuthorization", "fundWithPermit2"}
STATEMENTS = {"claim", "settle", "settleEach", "resolve"}
"""These say what was earned."""

Event = tuple[object, ...]
"""Name of an event and what it says of money, in order; for one of a booking, first its index."""


@dataclass(frozen=True)
class Rules:
    attester: str
    arbiter: str
    fee_recipient: str
    fee_bps: int
    claim_window: int


@dataclass(frozen=True)
class Step:
    """A transaction. `items` are the bookings that it names, each with what it says was earned."""

    verb: str
    at: int
    sender: str
    signer: str
    items: tuple[tuple[int, int], ...] = ()
    account: str = ""
    to: str = ""


@dataclass
class Booking:
    terms: Terms
    state: EscrowState = EscrowState.NONE
    remaining: int = 0
    disputed_at: int = 0
    closed_at: int = 0

    @property
    def slot(self) -> tuple[str, int, int]:
        """As the escrow stores it: `Closed` is kept before the start only."""
        nobody = "0x" + "00" * 20
        if self.state is EscrowState.CLOSED:
            early = self.closed_at < self.terms.starts_at
            return nobody, 0, EscrowState.CLOSED if early else EscrowState.NONE
        if self.state is EscrowState.NONE:
            return nobody, 0, EscrowState.NONE
        return self.terms.provider, self.remaining, self.state

    @property
    def meter_end(self) -> int:
        disputed = self.state is EscrowState.DISPUTED
        return self.disputed_at if disputed else self.terms.ends_at


@dataclass
class Model:
    """`wealth` is what an account gained since the beginning; `refusing` take no payment."""

    rules: Rules
    bookings: list[Booking]
    wealth: Counter[str] = field(default_factory=Counter)
    owed: Counter[str] = field(default_factory=Counter)
    refusing: set[str] = field(default_factory=set)

    def take(self, step: Step) -> list[Event] | None:
        """The events of a step, in order, or None if the escrow refuses it."""
        tried = deepcopy(self)
        events = tried._perform(step)
        if events is not None:
            self.__dict__ = tried.__dict__
        return events

    def allows(self, step: Step, index: int, earned: int) -> bool:
        """Whether the table has a row for one booking of a step, and all of its conditions hold."""
        booking = self.bookings[index]
        row = ROWS.get((step.verb, booking.state))
        if row is None or not self._may_send(step, row, booking.terms):
            return False
        begin, end = self.times(step, booking)
        return begin <= step.at < end and self._is_signed(step, booking, earned)

    def times(self, step: Step, booking: Booking) -> tuple[float, float]:
        """From when, and before when."""
        terms = booking.terms
        window_end = booking.meter_end + self.rules.claim_window
        arbiter_end = window_end
        if booking.state is EscrowState.DISPUTED:
            arbiter_end += ARBITER_WINDOW
        by_provider = step.sender == terms.provider
        times: dict[str, tuple[float, float]] = {
            **dict.fromkeys(FUNDING, (0, terms.fund_by)),
            "claim": (0, window_end),
            "settle": (0, window_end),
            "settleEach": (0, window_end),
            "settleMany": (terms.ends_at, window_end),
            "cancel": (0, math.inf if by_provider else terms.starts_at),
            "dispute": (terms.starts_at, terms.ends_at),
            "resolve": (window_end, arbiter_end),
            "reclaim": (arbiter_end, math.inf),
        }
        return times[step.verb]

    def _may_send(self, step: Step, row: Transition, terms: Terms) -> bool:
        parties = {
            "buyer": {terms.buyer},
            "provider": {terms.provider},
            "buyer or provider": {terms.buyer, terms.provider},
            "arbiter": {self.rules.arbiter},
            "anyone": {step.sender},
        }
        return step.sender in parties[row.sender]

    def _is_signed(self, step: Step, booking: Booking, earned: int) -> bool:
        """Whether who must have signed did, for no more than they may say."""
        terms, attester = booking.terms, self.rules.attester
        cap = clock_cap(terms, min(step.at, booking.meter_end))
        by_attester = attester in {step.sender, step.signer}
        by_buyer = step.signer == terms.buyer
        signed = {
            **dict.fromkeys(SIGNED_FUNDING, by_buyer),
            "claim": step.signer == attester or (by_buyer and earned <= terms.amount),
            "settle": by_attester,
            "settleMany": by_attester,
            "settleEach": by_attester,
            "resolve": earned <= terms.amount,
        }
        within = {
            "claim": step.signer != attester or earned <= cap,
            "settle": earned <= cap,
            "settleEach": earned <= cap,
        }
        return signed.get(step.verb, True) and within.get(step.verb, True)

    def _perform(self, step: Step) -> list[Event] | None:
        if step.verb == "withdraw":
            return self._withdraw(step)
        if step.verb in BATCHES and self.rules.attester not in {step.sender, step.signer}:
            return None
        events: list[Event] = []
        payments: list[tuple[str, str, int]] = []
        for index, earned in step.items:
            if self.allows(step, index, earned):
                event, moved = self._apply(step, self.bookings[index], earned)
                events += [(event[0], index, *event[1:])] if event else []
                payments += moved
            elif step.verb not in BATCHES:
                return None
        if step.verb == "settleMany":
            payments = _joined(payments)
        return events + [event for payment in payments for event in self._pay(*payment)]

    def _apply(
        self, step: Step, booking: Booking, earned: int
    ) -> tuple[Event, list[tuple[str, str, int]]]:
        """Change one booking. Returns its event without its index, and what is to be paid."""
        row, terms = ROWS[step.verb, booking.state], booking.terms
        if step.verb in FUNDING:
            booking.state, booking.remaining = EscrowState.OPEN, terms.amount
            self.wealth[terms.buyer] -= terms.amount
            return ("Funded", terms.amount), []
        if step.verb == "dispute":
            booking.state, booking.disputed_at = EscrowState.DISPUTED, step.at
            return ("Disputed",), []

        gives_back = step.verb in {"cancel", "reclaim"}
        earned = {"settleMany": terms.amount}.get(step.verb, 0 if gives_back else earned)
        left = min(booking.remaining, terms.amount - earned)
        fee = payout_fee(booking.remaining, left, self.rules.fee_bps)
        paid = booking.remaining - left - fee
        if step.verb == "claim" and left == booking.remaining:
            return (), []
        closes = step.verb != "claim" or left == 0
        refunded = 0 if step.verb == "claim" else left
        booking.remaining = 0 if closes else left
        if closes:
            booking.state, booking.closed_at = EscrowState.CLOSED, step.at
        assert booking.state in row.after
        self.owed[self.rules.fee_recipient] += fee
        payments = [
            ("PayoutDeferred", terms.provider, paid),
            ("RefundDeferred", terms.buyer, refunded),
        ]
        return _EVENTS[step.verb](step, paid, fee, refunded), payments

    def _pay(self, deferral: str, to: str, amount: int) -> list[Event]:
        if amount and to in self.refusing:
            self.owed[to] += amount
            return [(deferral, to, amount)]
        self.wealth[to] += amount
        return []

    def _withdraw(self, step: Step) -> list[Event] | None:
        amount = self.owed[step.account]
        may = step.account in {step.sender, step.to}
        if not may or not amount or step.to in self.refusing:
            return None
        self.owed[step.account] = 0
        self.wealth[step.to] += amount
        return [("Withdrawn", step.account, step.to, amount)]


def _joined(payments: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """One payment for each run of the same provider."""
    runs: list[tuple[str, str, int]] = []
    for kind, to, amount in payments:
        if kind != "PayoutDeferred":
            continue
        before = runs.pop()[2] if runs and runs[-1][1] == to else 0
        runs.append((kind, to, before + amount))
    return runs


_EVENTS = {
    "claim": lambda step, paid, fee, refunded: ("Claimed", paid, fee),
    "settle": lambda step, paid, fee, refunded: ("Settled", paid, fee, refunded),
    "settleEach": lambda step, paid, fee, refunded: ("Settled", paid, fee, refunded),
    "settleMany": lambda step, paid, fee, refunded: ("SettledInFull", fee),
    "cancel": lambda step, paid, fee, refunded: ("Cancelled", step.sender, refunded),
    "resolve": lambda step, paid, fee, refunded: ("Resolved", paid, fee, refunded),
    "reclaim": lambda step, paid, fee, refunded: ("Reclaimed", refunded),
}
