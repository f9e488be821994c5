"""A model of the escrow that keeps its own books and emits the events that the contract would."""

from collections import defaultdict
from dataclasses import dataclass, field

from aitbc.protocol import events as ev
from aitbc.protocol.ledger import ChainState, Money, Rules
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import Phases, clock_cap, payout_fee, phases


@dataclass
class EscrowModel:
    """`rejecting` are the accounts to which every push fails."""

    rules: Rules
    rejecting: frozenset[str]
    now: int
    donations: int = 0
    events: list[ev.EscrowEvent] = field(default_factory=list)
    terms: dict[str, Terms] = field(default_factory=dict)
    remaining: dict[str, int] = field(default_factory=dict)
    disputed: dict[str, int] = field(default_factory=dict)
    owed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    received: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    left: Money = field(default_factory=Money)
    owed_by_kind: dict[str, Money] = field(default_factory=lambda: defaultdict(Money))
    block: int = 0
    log_index: int = 0

    def mine(self, seconds: int) -> None:
        """Begin a new block, which carries the next transaction."""
        self.block += 1
        self.log_index = 0
        self.now += seconds

    @property
    def state(self) -> ChainState:
        held = sum(self.remaining.values()) + sum(self.owed.values())
        accounts: dict[str, int] = defaultdict(int, self.owed)
        disputed = {b: at for b, at in self.disputed.items() if b in self.remaining}
        return ChainState(
            held + self.donations, accounts, defaultdict(int, self.remaining), disputed
        )

    def fund(self, terms: Terms) -> str:
        booking_id = terms.booking_id(self.rules.domain)
        self.terms[booking_id] = terms
        self.remaining[booking_id] = terms.amount
        self._emit(ev.Funded, booking_id=booking_id, terms=terms)
        return booking_id

    def claim(self, booking_id: str, earned: int) -> None:
        paid, fee = self._take(booking_id, self.terms[booking_id].amount - earned)
        self._emit(ev.Claimed, booking_id=booking_id, paid=paid, fee=fee)
        if earned == self.terms[booking_id].amount:
            del self.remaining[booking_id]
        self._pay(self.terms[booking_id].provider, paid)

    def settle_each(self, items: list[tuple[str, int]]) -> None:
        """(booking id, earned) of each; pays after all events, as the contract does."""
        payments = []
        for booking_id, earned in items:
            terms = self.terms[booking_id]
            refunded = min(terms.amount - earned, self.remaining[booking_id])
            paid, fee = self._take(booking_id, refunded)
            del self.remaining[booking_id]
            self._emit(
                ev.Settled,
                booking_id=booking_id,
                paid=paid,
                fee=fee,
                refunded=refunded,
                evidence="0x" + "ee" * 32,
            )
            payments.append((terms, paid, refunded))
        for terms, paid, refunded in payments:
            self._pay(terms.provider, paid)
            self._refund(terms.buyer, refunded)

    def settle_many(self, booking_ids: list[str]) -> None:
        runs: list[tuple[str, int]] = []
        for booking_id in booking_ids:
            paid, fee = self._take(booking_id, 0)
            del self.remaining[booking_id]
            self._emit(ev.SettledInFull, booking_id=booking_id, fee=fee)
            provider = self.terms[booking_id].provider
            if runs and runs[-1][0] == provider:
                paid += runs.pop()[1]
            runs.append((provider, paid))
        for provider, total in runs:
            self._pay(provider, total)

    def dispute(self, booking_id: str) -> None:
        self.disputed[booking_id] = self.now
        self._emit(ev.Disputed, booking_id=booking_id)

    def resolve(self, booking_id: str, earned: int) -> None:
        terms = self.terms[booking_id]
        refunded = min(terms.amount - earned, self.remaining[booking_id])
        paid, fee = self._take(booking_id, refunded)
        del self.remaining[booking_id]
        self._emit(ev.Resolved, booking_id=booking_id, paid=paid, fee=fee, refunded=refunded)
        self._pay(terms.provider, paid)
        self._refund(terms.buyer, refunded)

    def cancel(self, booking_id: str, by: str) -> None:
        refunded = self.remaining.pop(booking_id)
        self._emit(ev.Cancelled, booking_id=booking_id, by=by, refunded=refunded)
        self._refund(self.terms[booking_id].buyer, refunded)

    def reclaim(self, booking_id: str) -> None:
        refunded = self.remaining.pop(booking_id)
        self._emit(ev.Reclaimed, booking_id=booking_id, refunded=refunded)
        self._refund(self.terms[booking_id].buyer, refunded)

    def withdraw(self, account: str) -> None:
        amount = self.owed.pop(account)
        self.left += self.owed_by_kind.pop(account, Money())
        self.received[account] += amount
        self._emit(ev.Withdrawn, account=account, to=account, amount=amount)

    def _take(self, booking_id: str, left: int) -> tuple[int, int]:
        before = self.remaining[booking_id]
        fee = payout_fee(before, left, self.rules.fee_bps)
        self.remaining[booking_id] = left
        if fee:
            self.owed[self.rules.fee_recipient] += fee
            self.owed_by_kind[self.rules.fee_recipient] += Money(fees=fee)
        return before - left - fee, fee

    def _pay(self, provider: str, amount: int) -> None:
        if self._pushed(provider, amount):
            self.left += Money(paid=amount)
            return
        self.owed_by_kind[provider] += Money(paid=amount)
        self._emit(ev.PayoutDeferred, account=provider, amount=amount)

    def _refund(self, buyer: str, amount: int) -> None:
        if self._pushed(buyer, amount):
            self.left += Money(refunded=amount)
            return
        self.owed_by_kind[buyer] += Money(refunded=amount)
        self._emit(ev.RefundDeferred, account=buyer, amount=amount)

    def _pushed(self, account: str, amount: int) -> bool:
        if amount == 0 or account not in self.rejecting:
            self.received[account] += amount
            return True
        self.owed[account] += amount
        return False

    def _emit(self, kind: type[ev.EscrowEvent], **fields: object) -> None:
        place = {
            "block_number": self.block,
            "block_hash": f"0x{self.block:064x}",
            "tx_hash": f"0x{self.block:064x}",
            "log_index": self.log_index,
            "timestamp": self.now,
        }
        self.events.append(kind(**place, **fields))  # type: ignore[arg-type]  # fields by kind
        self.log_index += 1


def times(model: EscrowModel, booking_id: str) -> Phases:
    return phases(model.terms[booking_id], model.rules.claim_window, model.disputed.get(booking_id))


def cap(model: EscrowModel, booking_id: str) -> int:
    """The most that can have been attested now."""
    return clock_cap(model.terms[booking_id], model.now)
