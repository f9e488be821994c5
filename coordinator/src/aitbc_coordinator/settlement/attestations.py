"""Ends bookings: meters what was delivered, signs the completion, and puts it in the outbox."""

from collections.abc import Sequence

from sqlmodel import Session

from aitbc.protocol.messages import Completion, Heartbeat, SessionGrant
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant, meter
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.settlement import heartbeats, outbox, repository
from aitbc_coordinator.settlement.models import (
    Attestation,
    AttestationKind,
    Booking,
    BookingState,
)

BOOKINGS_PER_PASS = 500


def due(context: Context, session: Session) -> Sequence[str]:
    """Ids of the bookings to attest now: ended some grace ago by the chain's time, or refused."""
    now = chain_time(session)
    ended_by = now - context.settings.settle_grace
    return outbox.due_bookings(
        session, ended_by, now - context.market.claim_window, BOOKINGS_PER_PASS
    )


def attest(context: Context, session: Session, booking_id: str) -> None:
    """Write the one completion of a due booking, with its evidence; a no-op where it is there."""
    booking = repository.find_booking(session, booking_id, lock=True)
    if booking is None or booking.state == BookingState.CLOSED:
        return
    if outbox.find_attestation(session, booking_id) is not None:
        return
    evidence = _evidence(session, booking)
    completion = Completion(
        booking_id=booking_id, earned=evidence.earned, evidence=evidence.digest()
    )
    outbox.add_attestation(
        session,
        Attestation(
            booking_id=booking_id,
            kind=AttestationKind.COMPLETION,
            refused=booking.refused,
            earned=evidence.earned,
            used_seconds=evidence.used_seconds,
            evidence_digest=completion.evidence,
            evidence=evidence.model_dump_json(),
            signature=context.attester.sign(completion),
        ),
    )
    if evidence.earned:
        heartbeats.issue_receipt(
            context, session, booking_id, evidence.used_seconds, evidence.earned
        )


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
    return meter(booking.id, booking.terms, grants, served)
