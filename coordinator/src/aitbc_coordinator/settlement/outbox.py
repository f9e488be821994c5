"""SQL of the outbox. Nothing here commits."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, and_, bindparam, delete, exists, false, func, or_, update
from sqlalchemy import select as sql_select
from sqlmodel import Session, SQLModel, col, select

from aitbc.protocol.messages import Terms
from aitbc.protocol.states import ARBITER_WINDOW
from aitbc_coordinator.database import among, insert_rows
from aitbc_coordinator.settlement.models import (
    Attestation,
    AttestationKind,
    Booking,
    BookingState,
    Receipt,
    RelayState,
    RelayTransaction,
)

MAX_ATTEMPTS = 3
"""After so many batches that did not close its booking, an attestation is left for a person."""

ITS_ATTESTATION = and_(
    col(Attestation.booking_id) == col(Booking.id),
    or_(
        and_(
            col(Booking.disputed_at).is_(None),
            col(Attestation.kind) == AttestationKind.COMPLETION,
        ),
        and_(
            col(Booking.disputed_at).is_not(None),
            col(Attestation.kind) == AttestationKind.CLAIM,
        ),
    ),
)
"""Joins a booking to the attestation that still counts for it: see `Booking.attested_by`."""

# As indexes have it: most bookings are closed, and most attestations settled.
_IDS = "booking_ids"
_ATTESTATIONS = SQLModel.metadata.tables[str(Attestation.__tablename__)]
_UNCLOSED = col(Booking.state).in_((BookingState.OPEN, BookingState.DISPUTED))
_UNSETTLED = col(Attestation.settled) == false()
_CLOSED = exists().where(
    col(Booking.id) == col(Attestation.booking_id),
    col(Booking.state) == BookingState.CLOSED,
)
_metered_until = func.coalesce(col(Booking.disputed_at), col(Booking.ends_at))
_LAST_TO_END = (_metered_until.desc(), col(Booking.id))


def _release(state: RelayState, *, mined: bool, attempts: int) -> Any:
    """Frees what is in the transactions of a state, and counts so many attempts."""
    was_mined = col(RelayTransaction.mined_block).is_not(None)
    spent = exists().where(
        col(RelayTransaction.batch_id) == col(Attestation.batch_id),
        col(RelayTransaction.state) == state,
        was_mined if mined else ~was_mined,
    )
    freed = {"batch_id": None, "attempts": col(Attestation.attempts) + attempts}
    return update(Attestation).where(_UNSETTLED, spent).values(**freed)


# Made once: to make them in every pass takes longer than to answer them.
_DUE = (
    sql_select(col(Booking.id))
    .where(
        _UNCLOSED,
        _metered_until > bindparam("claimable_after"),
        or_(
            and_(
                _metered_until <= bindparam("now"),
                exists().where(
                    col(Receipt.booking_id) == col(Booking.id),
                    col(Receipt.used_seconds) >= col(Booking.ends_at) - col(Booking.starts_at),
                ),
            ),
            _metered_until < bindparam("unheard_since"),
            col(Booking.refused),
        ),
        ~exists().where(ITS_ATTESTATION),
    )
    .order_by(col(Booking.refused), _metered_until, col(Booking.id))
    .limit(bindparam("most"))
)
_TICK_OFF = update(Attestation).where(_UNSETTLED, _CLOSED).values(settled=True)
_OPEN_CLAIMS = (
    select(Attestation, Booking)
    .join(Booking, ITS_ATTESTATION)
    .where(_UNSETTLED, col(Attestation.kind) == AttestationKind.CLAIM)
)
_RELEASES = (
    _release(RelayState.FINAL, mined=True, attempts=1),
    _release(RelayState.FAILED, mined=True, attempts=1),
    _release(RelayState.FAILED, mined=False, attempts=0),
)


def find_attestation(
    session: Session, booking_id: str, kind: AttestationKind = AttestationKind.COMPLETION
) -> Attestation | None:
    query = select(Attestation).where(
        col(Attestation.booking_id) == booking_id, col(Attestation.kind) == kind
    )
    return session.exec(query).first()


def refused(session: Session, booking_ids: Collection[str]) -> set[str]:
    """Those of some bookings that were attested as refused."""
    query = select(col(Attestation.booking_id)).where(
        among(col(Attestation.booking_id), _IDS),
        col(Attestation.kind) == AttestationKind.COMPLETION,
        col(Attestation.refused),
    )
    return set(session.exec(query, params={_IDS: booking_ids}))


def attestations(session: Session, booking_ids: Collection[str]) -> dict[str, Attestation]:
    """Of each booking that has one, the attestation that still counts for it."""
    query = (
        select(Attestation)
        .join(Booking, ITS_ATTESTATION)
        .where(among(col(Attestation.booking_id), _IDS))
    )
    found = session.exec(query, params={_IDS: booking_ids})
    return {attestation.booking_id: attestation for attestation in found}


def attested(session: Session, booking_ids: Collection[str]) -> set[tuple[str, AttestationKind]]:
    """What was attested of some bookings."""
    query = select(col(Attestation.booking_id), col(Attestation.kind))
    query = query.where(among(col(Attestation.booking_id), _IDS))
    return set(session.exec(query, params={_IDS: booking_ids}))


def add_attestations(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    waiting = {"batch_id": None, "settled": False, "attempts": 0}
    insert_rows(session, Attestation, [{**row, **waiting} for row in rows])


def delete_claims(session: Session, booking_ids: Collection[str]) -> None:
    """A reorg took the disputes back that claims rest on: their receipts are of another time."""
    session.exec(
        delete(Attestation).where(
            among(col(Attestation.booking_id), _IDS),
            col(Attestation.kind) == AttestationKind.CLAIM,
        ),
        params={_IDS: booking_ids},
    )


def delete_claims_except(session: Session, booking_ids: Select[tuple[str]]) -> None:
    """Keep the claims of these bookings alone, whose disputes are what they were."""
    session.exec(
        delete(Attestation).where(
            col(Attestation.kind) == AttestationKind.CLAIM,
            col(Attestation.booking_id).not_in(booking_ids),
        )
    )


def due_bookings(
    session: Session, now: int, *, unheard_since: int, claimable_after: int, limit: int
) -> Sequence[str]:
    """Ids of bookings to attest, the refused ones last.

    Of the others those that ended by `now` and were delivered whole, and those whose meter stopped
    before `unheard_since`. Where it stopped at or before `claimable_after` the claim window has
    passed, and a booking is left out.
    """
    found = session.connection().execute(
        _DUE,
        {
            "now": now,
            "unheard_since": unheard_since,
            "claimable_after": claimable_after,
            "most": limit,
        },
    )
    return found.scalars().all()


class Unsettled(NamedTuple):
    """An attestation that waits to be settled, and what its booking's terms say."""

    id: int
    booking_id: str
    kind: AttestationKind
    refused: bool
    earned: int
    evidence_digest: str
    signature: str
    attempts: int
    buyer: str
    provider: str
    amount: int
    fund_by: int
    starts_at: int
    ends_at: int
    listing: str
    salt: int

    @property
    def terms(self) -> Terms:
        return Terms(**{name: getattr(self, name) for name in Terms.model_fields})

    @property
    def is_claim(self) -> bool:
        return self.kind is AttestationKind.CLAIM

    @property
    def in_full(self) -> bool:
        return self.earned == self.amount


_WAITING: Any = (
    sql_select(
        *(
            getattr(Booking if name in Terms.model_fields else Attestation, name)
            for name in Unsettled._fields
        )
    )
    .join(Booking, ITS_ATTESTATION)
    .where(
        _UNSETTLED,
        col(Attestation.batch_id).is_(None),
        col(Attestation.attempts) < MAX_ATTEMPTS,
        _metered_until > bindparam("claimable_after"),
        _UNCLOSED,
    )
    .order_by(col(Attestation.refused), col(Attestation.attempts), col(Attestation.id))
    .limit(bindparam("most"))
)


def unsettled(session: Session, claimable_after: int, limit: int) -> list[Unsettled]:
    """Attestations that wait for a batch: payouts before refusals, which cost their makers next to
    nothing; of each, those that never failed first.
    """
    asked = {"claimable_after": claimable_after, "most": limit}
    rows: Any = session.connection().execute(_WAITING, asked)
    return [Unsettled._make(row) for row in rows]


def stuck(session: Session, claimable_after: int, limit: int) -> Sequence[str]:
    """Short ids of bookings in their claim window that are not going to be retried."""
    query = (
        select(col(Booking.short_id))
        .join(Attestation, ITS_ATTESTATION)
        .where(
            _UNSETTLED,
            col(Attestation.batch_id).is_(None),
            col(Attestation.attempts) >= MAX_ATTEMPTS,
            _metered_until > claimable_after,
            _UNCLOSED,
        )
        .order_by(*_LAST_TO_END)
    )
    return session.exec(query.limit(limit)).all()


def left_to_reclaim(session: Session, claimable_after: int, limit: int) -> Sequence[str]:
    """Short ids of bookings past their claim window and, if disputed, the arbiter's."""
    decidable_after = claimable_after - ARBITER_WINDOW
    state, disputed_at = col(Booking.state), col(Booking.disputed_at)
    query = select(col(Booking.short_id)).where(
        or_(
            and_(state == BookingState.OPEN, col(Booking.ends_at) <= claimable_after),
            and_(state == BookingState.DISPUTED, disputed_at <= decidable_after),
        )
    )
    return session.exec(query.order_by(*_LAST_TO_END).limit(limit)).all()


def waiting(session: Session, claimable_after: int) -> tuple[int, int | None]:
    """How many attestations can and do wait to be settled, and when the first's meter stopped."""
    query = (
        select(func.count(), func.min(_metered_until))
        .select_from(Attestation)
        .join(Booking, ITS_ATTESTATION)
        .where(
            _UNSETTLED,
            col(Attestation.attempts) < MAX_ATTEMPTS,
            _metered_until > claimable_after,
            _UNCLOSED,
        )
    )
    count, oldest = session.exec(query).one()
    return count, oldest


def ends_of_batch(session: Session, batch_id: str) -> Sequence[int]:
    """When the meter of each booking that a batch carries stopped (UTC seconds)."""
    query = (
        select(_metered_until)
        .select_from(Attestation)
        .join(Booking, col(Booking.id) == col(Attestation.booking_id))
        .where(col(Attestation.batch_id) == batch_id)
    )
    return session.exec(query).all()


def take(session: Session, attestation_ids: Sequence[int], batch_id: str) -> bool:
    """Give attestations to a batch. Returns whether all of them were free, and still count."""
    still_counts = exists().where(ITS_ATTESTATION, _UNCLOSED)
    taken = session.connection().execute(
        update(_ATTESTATIONS)
        .where(
            among(_ATTESTATIONS.c.id, "attestation_ids", BigInteger),
            _ATTESTATIONS.c.batch_id.is_(None),
            _UNSETTLED,
            still_counts,
        )
        .values(batch_id=batch_id),
        {"attestation_ids": attestation_ids},
    )
    return taken.rowcount == len(attestation_ids)


def count_attempt(session: Session, attestation_ids: Iterable[int | None]) -> None:
    session.exec(
        update(Attestation)
        .where(col(Attestation.id).in_(list(attestation_ids)))
        .values(attempts=col(Attestation.attempts) + 1)
    )


def mark_settled(session: Session) -> None:
    """Tick off what has nothing left to do.

    That is each attestation whose booking is closed, by whichever event, and each claim that was
    paid, by whichever receipt.
    """
    session.exec(_TICK_OFF)
    for claim, booking in session.exec(_OPEN_CLAIMS):
        claim.settled = booking.amount - booking.remaining >= claim.earned
    session.flush()


def reopen(session: Session, booking_ids: Collection[str] | None = None) -> None:
    """The closing of bookings was taken back: of these, or of whichever."""
    reopened = update(Attestation).where(col(Attestation.settled), ~_CLOSED)
    if booking_ids is not None:
        reopened = reopened.where(col(Attestation.booking_id).in_(list(booking_ids)))
    session.exec(reopened.values(settled=False))


def release_spent(session: Session) -> None:
    """Free what a finished transaction left unsettled; being mined in vain counts as an attempt."""
    for release in _RELEASES:
        session.exec(release)


def give_up(session: Session, batch_id: str) -> None:
    """Free a batch whose transaction no node takes; that counts as an attempt."""
    session.exec(
        update(Attestation)
        .where(_UNSETTLED, col(Attestation.batch_id) == batch_id)
        .values(batch_id=None, attempts=col(Attestation.attempts) + 1)
    )
