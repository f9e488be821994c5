"""Ends bookings: meters what was delivered, attests it, and puts that in the outbox."""

from collections.abc import Sequence

from sqlmodel import Session

from aitbc.protocol.messages import Completion, Heartbeat, Message, Receipt, SessionGrant
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant, meter
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import heartbeats, outbox, repository
from aitbc_coordinator.settlement.models import (
    Attestation,
    AttestationKind,
    Booking,
    BookingState,
)

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


def attest(context: Context, session: Session, booking_id: str) -> None:
    """Write the completion of a due booking, or the final receipt of a disputed one.

    Each is made once, with its evidence: a no-op where it is there.
    """
    booking = repository.find_booking(session, booking_id, lock=True)
    if booking is None or booking.state == BookingState.CLOSED:
        return
    kind = booking.attested_by
    if outbox.find_attestation(session, booking_id, kind) is not None:
        return
    evidence = _evidence(session, booking)
    digest = evidence.digest()
    message: Message = Receipt(booking_id=booking_id, earned=evidence.earned)
    if kind is AttestationKind.COMPLETION:
        message = Completion(booking_id=booking_id, earned=evidence.earned, evidence=digest)
    outbox.add_attestation(
        session,
        Attestation(
            booking_id=booking_id,
            kind=kind,
            refused=booking.refused,
            earned=evidence.earned,
            used_seconds=evidence.used_seconds,
            evidence_digest=digest,
            evidence=evidence.model_dump_json(),
            signature=context.attester.sign(message),
        ),
    )
    if evidence.earned or kind is AttestationKind.CLAIM:
        heartbeats.issue_receipt(context, session, booking, evidence.used_seconds, evidence.earned)
    reach(FaultPoint.ATTESTATION_WRITING)


def _evidence(session: Session, booking: Booking) -> Evidence:
    grants = [
        SignedSessionGrant(
            grant=SessionGrant.model_validate_json(row.payload), signature=row.signature
        )
        for row in repository.grants_used(session, booking)
    ]
    served = [
        SignedHeartbeat(
            heartbeat=Heartbeat.model_validate_json(row.payload), signature=row.signature
        )
        for row in repository.heartbeats(session, booking.id)
    ]
    return meter(booking.id, booking.terms, grants, served, booking.disputed_at)
