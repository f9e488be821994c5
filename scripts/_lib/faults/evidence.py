"""A run that is over: what people lived, its chain and its database; and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlmodel import select

from aitbc.audit.reconcile import Reconciliation, reconcile
from aitbc.protocol.events import BookingEvent, EscrowEvent
from aitbc.protocol.ledger import BookingLine
from aitbc_coordinator.database import Database
from aitbc_coordinator.settlement.models import Attestation, AttestationKind
from faults.chain import Chain
from faults.mischief import Mischief
from faults.people import Lived
from faults.plan import Kind

HISTORIES = {
    Kind.WHOLE: ("Funded", "SettledInFull"),
    Kind.PART: ("Funded", "Settled"),
    Kind.NONE: ("Funded", "Settled"),
    Kind.REFUSED: ("Funded", "Settled"),
    Kind.CANCELLED: ("Funded", "Cancelled"),
    Kind.DISPUTED: ("Funded", "Disputed", "Claimed"),
}
"""The events of a booking, no more and no fewer."""
SHOWN = 10
"""Most things of one sort that are named."""


@dataclass(frozen=True)
class Outcome:
    """What came of a planned booking, apart from when."""

    number: int
    kind: str
    history: tuple[str, ...]
    amount: int
    paid: int
    fee: int
    refunded: int
    used: int


@dataclass
class Evidence:
    """A run that is over: its chain, its database, and what people lived."""

    chain: Chain
    database: Database
    relayer: str
    lived: Sequence[Lived]
    mischief: Mischief
    killed: bool = False
    """Whether its coordinator was away for some blocks."""

    def id_of(self, lived: Lived) -> str:
        return lived.terms.booking_id(self.chain.escrow.domain)

    @cached_property
    def by_id(self) -> dict[str, Lived]:
        return {self.id_of(lived): lived for lived in self.lived}

    @cached_property
    def events(self) -> list[EscrowEvent]:
        head = int(self.chain.web3.eth.block_number)
        return self.chain.escrow.events(self.chain.deploy_block, head)

    @cached_property
    def histories(self) -> dict[str, list[BookingEvent]]:
        """The events of each booking, by its id."""
        found: dict[str, list[BookingEvent]] = {}
        for event in self.events:
            if isinstance(event, BookingEvent):
                found.setdefault(event.booking_id, []).append(event)
        return found

    @cached_property
    def report(self) -> Reconciliation:
        """The ledger, rebuilt from events and compared with the escrow's own word."""
        return reconcile(self.chain.escrow, self.chain.deploy_block, None, lambda *_: None)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What came of every booking, by its number: the same in every run of a plan."""
        with self.database.read() as session:
            used = {row.booking_id: row.used_seconds for row in session.exec(select(Attestation))}
        lines = self.report.ledger.bookings
        found = [
            _outcome(lived, lines[booking_id], used.get(booking_id, 0))
            for booking_id, lived in self.by_id.items()
            if booking_id in lines
        ]
        return sorted(found, key=lambda outcome: outcome.number)

    @property
    def attested(self) -> set[tuple[str, AttestationKind]]:
        """The attestations that there must be."""
        kinds = {Kind.DISPUTED: AttestationKind.CLAIM}
        return {
            (booking_id, kinds.get(lived.planned.kind, AttestationKind.COMPLETION))
            for booking_id, lived in self.by_id.items()
            if lived.planned.kind is not Kind.CANCELLED
        }


def _outcome(lived: Lived, line: BookingLine, used: int) -> Outcome:
    return Outcome(
        number=lived.planned.number,
        kind=lived.planned.kind.value,
        history=tuple(type(event).__name__ for event in line.events),
        amount=line.terms.amount,
        paid=line.paid,
        fee=line.fee,
        refunded=line.refunded,
        used=used,
    )


def planned_outcome(lived: Lived) -> Outcome:
    """What is to come of a booking."""
    planned = lived.planned
    stays = planned.kind is Kind.DISPUTED
    return Outcome(
        number=planned.number,
        kind=planned.kind.value,
        history=HISTORIES[planned.kind],
        amount=planned.amount,
        paid=planned.earned - planned.fee,
        fee=planned.fee,
        refunded=0 if stays else planned.amount - planned.earned,
        used=planned.used,
    )


def some(items: Iterable[Any]) -> str:
    """The first of some things, as text."""
    return ", ".join(str(item) for item in list(items)[:SHOWN])
