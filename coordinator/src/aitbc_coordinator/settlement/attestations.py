"""Ends bookings: meters what was delivered, attests it, and puts that in the outbox."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlmodel import Session

from aitbc.protocol.messages import Completion, Heartbeat, Message, Receipt, SessionGrant
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant, meter
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import heartbeats, outbox, repository
from aitbc_coordinator.settlement.models import AttestationKind, Booking, BookingState
from aitbc_coordinator.settlement.repository import Signed, Standing

BOOKINGS_PER_PASS = 500


def due(context: Context, session: Session) -> Sequence[str]:
    """Ids of the bookings to attest now, by the chain's time.

    Those that ended and were delivered whole, those that ended too long ago for another heartbeat,
    and the refused ones.
    """
    now = chain_time(session)
    return outbox.due_bookings(
        session,
        now,
        unheard_since=now - context.settings.heartbeat_allowance,
        claimable_after=now - context.market.claim_window,
        limit=BOOKINGS_PER_PASS,
    )


def attest(context: Context, booking_ids: Iterable[str]) -> list[str]:
    """Write the completions of due bookings, or the final receipts of disputed ones.

    Each is made once, with its evidence, and signed before the database's transaction: a booking
    that has changed meanwhile is left to the next pass. Returns the ids of those for which one was
    written. Raises SignerError.
    """
    with context.database.read() as session:
        metered = _meter(session, sorted(booking_ids))
    signed = [_sign(context, *each) for each in metered]
    return context.database.transact(partial(_write, signed=signed)) if signed else []


class _Metered(NamedTuple):
    """A booking as it was read, and what was delivered of it."""

    booking: Booking
    evidence: Evidence
    receipt: repository.Meter | None


class _Signed(NamedTuple):
    """What the attester says of a booking in the end."""

    booking: Booking
    last_sequence: int | None
    """Of the heartbeats that it rests on."""
    attestation: Mapping[str, Any]
    receipt: repository.Meter | None
    """A new one that goes with it."""


def _meter(session: Session, booking_ids: Sequence[str]) -> list[_Metered]:
    bookings = [
        booking
        for booking in repository.bookings(session, booking_ids)
        if booking.state != BookingState.CLOSED
    ]
    ids = [booking.id for booking in bookings]
    proofs = _Proofs(session, ids)
    receipts = repository.receipts(session, ids)
    return [
        _Metered(booking, proofs.meter(booking), receipts.get(booking.id)) for booking in bookings
    ]


def _sign(
    context: Context, booking: Booking, evidence: Evidence, receipt: repository.Meter | None
) -> _Signed:
    if evidence.earned or booking.attested_by is AttestationKind.CLAIM:
        receipt = heartbeats.issue_receipt(
            context,
            booking,
            receipt,
            used_seconds=evidence.used_seconds,
            earned=evidence.earned,
        )
    else:
        receipt = None
    served = evidence.heartbeats
    last_sequence = served[-1].heartbeat.sequence if served else None
    return _Signed(booking, last_sequence, _attestation(context, booking, evidence), receipt)


def _write(session: Session, signed: Sequence[_Signed]) -> list[str]:
    """Write what is still as it was when it was signed."""
    ids = [each.booking.id for each in signed]
    # Nobody meters them from here on.
    now = repository.lock_bookings(session, ids)
    attested = outbox.attested(session, ids)
    last = repository.last_sequences(session, ids)
    kept = [
        each
        for each in signed
        if _standing(each.booking) == now.get(each.booking.id)
        and (each.booking.id, each.booking.attested_by) not in attested
        and last.get(each.booking.id) == each.last_sequence
    ]
    repository.save_receipts(session, [each.receipt for each in kept if each.receipt])
    outbox.add_attestations(session, [each.attestation for each in kept])
    reach(FaultPoint.ATTESTATION_WRITING)
    return [each.booking.id for each in kept]


def _standing(booking: Booking) -> Standing:
    return Standing(booking.state, booking.disputed_at, booking.refused)


def _attestation(context: Context, booking: Booking, evidence: Evidence) -> Mapping[str, Any]:
    """What the attester says of a booking in the end, as a row of `Attestation`."""
    kind, digest = booking.attested_by, evidence.digest()
    message: Message = Receipt(booking_id=booking.id, earned=evidence.earned)
    if kind is AttestationKind.COMPLETION:
        message = Completion(booking_id=booking.id, earned=evidence.earned, evidence=digest)
    return {
        "booking_id": booking.id,
        "kind": kind,
        "refused": booking.refused,
        "earned": evidence.earned,
        "used_seconds": evidence.used_seconds,
        "evidence_digest": digest,
        "evidence": evidence.model_dump_json(),
        "signature": context.attester.sign(message),
    }


class _Proofs:
    """What was kept of some bookings' delivery, read at once."""

    def __init__(self, session: Session, booking_ids: Sequence[str]) -> None:
        # In this order: there is a grant of every heartbeat, also where one comes in between.
        self._served = repository.heartbeats(session, booking_ids)
        self._grants = repository.grants_used(session, booking_ids)
        self._read: dict[Signed, SignedSessionGrant] = {}
        """A provider's machines serve many bookings under one grant."""

    def meter(self, booking: Booking) -> Evidence:
        grants = [self._grant(row) for row in self._grants.get(booking.id, ())]
        served = [
            SignedHeartbeat(
                heartbeat=Heartbeat.model_validate_json(row.payload), signature=row.signature
            )
            for row in self._served.get(booking.id, ())
        ]
        return meter(booking.id, booking.terms, grants, served, booking.disputed_at)

    def _grant(self, row: Signed) -> SignedSessionGrant:
        if row not in self._read:
            grant = SessionGrant.model_validate_json(row.payload)
            self._read[row] = SignedSessionGrant(grant=grant, signature=row.signature)
        return self._read[row]
