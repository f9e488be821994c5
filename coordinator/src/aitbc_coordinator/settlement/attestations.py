"""Ends bookings: meters what was delivered, attests it, and puts that in the outbox."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from aitbc.protocol.messages import Completion, Heartbeat, Message, Receipt, SessionGrant
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant, meter
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import heartbeats, outbox, repository
from aitbc_coordinator.settlement.models import AttestationKind, Booking, BookingState
from aitbc_coordinator.settlement.repository import Signed

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


def attest(context: Context, session: Session, booking_ids: Iterable[str]) -> list[str]:
    """Write the completions of due bookings, or the final receipts of disputed ones.

    Each is made once, with its evidence. Returns the ids of those for which one was made.
    """
    due = _unattested(session, sorted(booking_ids))
    ids = [booking.id for booking in due]
    proofs = _Proofs(session, ids)
    receipts = repository.receipts(session, ids)
    made = []
    for booking in due:
        evidence = proofs.meter(booking)
        made.append(_attestation(context, booking, evidence))
        if evidence.earned or booking.attested_by is AttestationKind.CLAIM:
            heartbeats.issue_receipt(
                context,
                session,
                booking,
                receipts.get(booking.id),
                used_seconds=evidence.used_seconds,
                earned=evidence.earned,
            )
    session.flush()
    outbox.add_attestations(session, made)
    reach(FaultPoint.ATTESTATION_WRITING)
    return ids


def _unattested(session: Session, booking_ids: Sequence[str]) -> list[Booking]:
    """Those of some bookings that are to be attested; nobody else meters them meanwhile."""
    bookings = repository.lock_bookings(session, booking_ids)
    attested = outbox.attested(session, booking_ids)
    return [
        booking
        for booking in bookings
        if booking.state != BookingState.CLOSED
        and (booking.id, booking.attested_by) not in attested
    ]


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
        self._grants = repository.grants_used(session, booking_ids)
        self._served = repository.heartbeats(session, booking_ids)
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
