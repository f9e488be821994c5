"""Session keys and heartbeats: what a provider's machine says about the bookings it serves."""

from sqlmodel import Session

from aitbc.protocol import metering
from aitbc.protocol.messages import Heartbeat, Receipt
from aitbc.protocol.metering import (
    CLOCK_TOLERANCE_SECONDS,
    LONGEST_SESSION_DAYS,
    SignedHeartbeat,
    SignedSessionGrant,
)
from aitbc.protocol.states import clock_cap
from aitbc.protocol.wire import HeartbeatAnswer, SignedReceipt
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Conflict, Invalid, Missing, Unauthorised
from aitbc_coordinator.market import standing
from aitbc_coordinator.settlement import models, outbox, repository
from aitbc_coordinator.settlement.models import Booking, BookingState
from aitbc_coordinator.settlement.repository import Meter
from aitbc_coordinator.webhooks import news

LONGEST_GRANT_SECONDS = LONGEST_SESSION_DAYS * 86_400


def grant_session(context: Context, session: Session, signed: SignedSessionGrant) -> None:
    """Keep a provider's grant for a session key; of two, the one that lasts longer counts.

    Raises Unauthorised (`wrong-signer`, `session-expired`).
    """
    grant = signed.grant
    if grant.signer(context.market.domain, signed.signature) != grant.provider:
        raise Unauthorised(
            "wrong-signer",
            "the grant is not signed by its provider",
            hint="sign it with the provider's wallet, for this market's chain and escrow",
        )
    if not context.now() < grant.expires_at <= context.now() + LONGEST_GRANT_SECONDS:
        raise Unauthorised(
            "session-expired",
            "the session has expired, or lasts longer than 90 days",
            hint="make a new one: aitbc provider session create",
        )
    known = repository.find_grant(session, grant.provider, grant.session_key, lock=True)
    if known is not None and known.expires_at >= grant.expires_at:
        return
    context.wallets.spend(grant.provider)
    repository.save_grant(
        session,
        models.SessionGrant(
            provider=grant.provider,
            session_key=grant.session_key,
            expires_at=grant.expires_at,
            payload=grant.model_dump_json(),
            signature=signed.signature,
        ),
    )


def accept(context: Context, session: Session, signed: SignedHeartbeat) -> HeartbeatAnswer:
    """Keep a heartbeat, and answer with a receipt for what was metered so far.

    The very same heartbeat again gets an answer again, also when its booking is over by then: the
    first may have been lost. Raises Missing, Conflict, Unauthorised or Invalid, and keeps nothing
    then.
    """
    heartbeat, now = signed.heartbeat, context.now()
    booking = _funded_booking(session, heartbeat.booking_id)
    last = repository.last_heartbeat(session, booking.id)
    if last is not None and last.sequence == heartbeat.sequence and _same(last, signed):
        return _answer(session, booking, now)
    _require_served(session, booking)
    session_key = _check_signer(context, session, booking, signed)
    if last is not None and heartbeat.sequence <= last.sequence:
        raise Conflict(
            "replayed",
            f"heartbeat {heartbeat.sequence} of this booking was used, the last is {last.sequence}",
            hint="number heartbeats upwards, and never use a number twice",
        )
    _check_times(context, booking, heartbeat)
    context.wallets.spend(session_key)
    gained = _newly_covered(session, heartbeat)
    repository.add_heartbeat(
        session,
        models.Heartbeat(
            booking_id=booking.id,
            sequence=heartbeat.sequence,
            covers_from=heartbeat.covers_from,
            covers_until=heartbeat.covers_until,
            payload=heartbeat.model_dump_json(),
            signature=signed.signature,
            session_key=session_key,
        ),
    )
    if booking.gpu_id is not None:
        uuid = standing.reported_uuid(heartbeat.telemetry)
        allowed = context.settings.unreachable_seconds
        standing.heard(session, {booking.gpu_id: uuid}, now, allowed=allowed)
    _advance_meter(context, session, booking, gained, now)
    if last is None:
        news.started(context, session, booking)
    return _answer(session, booking, now)


def signed_receipt(receipt: Meter) -> SignedReceipt:
    """A stored receipt as its provider gets it."""
    return SignedReceipt(
        receipt=Receipt(booking_id=receipt.booking_id, earned=receipt.earned),
        signature=receipt.signature,
    )


def issue_receipt(
    context: Context,
    booking: Booking,
    known: Meter | None,
    *,
    used_seconds: int,
    earned: int,
) -> Meter:
    """A booking's meter, with a new receipt if more was earned than by the one that is known.

    After a dispute also if it was less: the escrow refuses a receipt for time after it. It is still
    to be written.
    """
    if known is not None:
        is_lower = earned < known.earned and booking.disputed_at is not None
        if earned <= known.earned and not is_lower:
            return known._replace(used_seconds=used_seconds)
    signature = context.attester.sign(Receipt(booking_id=booking.id, earned=earned))
    return Meter(booking.id, used_seconds, earned, signature)


def _funded_booking(session: Session, booking_id: str) -> Booking:
    booking = repository.find_booking(session, booking_id, lock=True)
    if booking is None:
        raise Missing(
            "unknown-booking",
            f"no booking {booking_id} is funded",
            hint="its funding may not be confirmed yet: try again after some blocks",
        )
    return booking


def _require_served(session: Session, booking: Booking) -> None:
    if booking.state == BookingState.CLOSED:
        raise Conflict("booking-closed", f"booking {booking.short_id} is closed")
    if booking.refused:
        raise Conflict(
            "booking-closed",
            f"booking {booking.short_id} was refused: no quote of this coordinator offered it",
        )
    if outbox.find_attestation(session, booking.id, booking.attested_by) is not None:
        raise Conflict("booking-closed", f"booking {booking.short_id} is over and was attested")


def _check_signer(
    context: Context, session: Session, booking: Booking, signed: SignedHeartbeat
) -> str:
    signer = signed.heartbeat.signer(context.market.domain, signed.signature)
    grant = None if signer is None else repository.find_grant(session, booking.provider, signer)
    # A key speaks for no time after its grant, which an auditor checks too.
    needed_until = max(context.now() + 1, signed.heartbeat.covers_until)
    if signer is None or grant is None or grant.expires_at < needed_until:
        raise Unauthorised(
            "wrong-signer",
            "the heartbeat is not signed by a session key of the booking's provider",
            hint="grant a session key first: aitbc provider session create",
        )
    return signer


def _check_times(context: Context, booking: Booking, heartbeat: Heartbeat) -> None:
    begin, end, now = heartbeat.covers_from, heartbeat.covers_until, context.now()
    allowance = context.settings.heartbeat_allowance
    if not begin < end <= now + CLOCK_TOLERANCE_SECONDS:
        raise Unauthorised(
            "stale-heartbeat",
            f"it covers {begin} to {end}, and the time is {now}",
            hint="cover time that has passed; check the machine's clock",
        )
    if end - begin > allowance or end < now - allowance:
        raise Unauthorised(
            "stale-heartbeat",
            f"it covers {begin} to {end}, and the time is {now}: "
            f"at most the last {allowance} seconds can be covered",
            hint="send heartbeats more often",
        )
    if booking.disputed_at is not None and end > booking.disputed_at:
        raise Conflict(
            "booking-disputed",
            f"it covers {begin} to {end}, and the booking's buyer disputed it at "
            f"{booking.disputed_at}: no later time is paid",
            hint="stop serving it; time before the dispute can still be covered",
        )
    if begin < booking.starts_at or end > booking.ends_at:
        raise Invalid(
            "outside-booking",
            f"it covers {begin} to {end}, the booking {booking.starts_at} to {booking.ends_at}",
        )


def _same(stored: models.Heartbeat, signed: SignedHeartbeat) -> bool:
    return (
        stored.signature == signed.signature
        and stored.payload == signed.heartbeat.model_dump_json()
    )


def _newly_covered(session: Session, heartbeat: Heartbeat) -> int:
    """Seconds of a heartbeat that no earlier one covers."""
    begin, end = heartbeat.covers_from, heartbeat.covers_until
    earlier = repository.overlapping(session, heartbeat.booking_id, begin, end)
    return end - begin - metering.used_seconds(earlier, begin, end)


def _advance_meter(
    context: Context, session: Session, booking: Booking, gained: int, now: int
) -> None:
    receipt = repository.find_receipt(session, booking.id)
    if booking.disputed_at is None:
        used = gained + (receipt.used_seconds if receipt is not None else 0)
    else:
        # What was taken before the dispute was known may cover time after it.
        served = repository.overlapping(session, booking.id, booking.starts_at, booking.disputed_at)
        used = metering.used_seconds(served, booking.starts_at, booking.disputed_at)
    metered = metering.earned(booking.amount, used, booking.ends_at - booking.starts_at)
    payable = min(metered, clock_cap(booking.terms, now))
    issued = issue_receipt(context, booking, receipt, used_seconds=used, earned=payable)
    repository.save_receipts(session, [issued])
    session.flush()


def _answer(session: Session, booking: Booking, now: int) -> HeartbeatAnswer:
    receipt = repository.find_receipt(session, booking.id)
    return HeartbeatAnswer(
        serve=booking.state != BookingState.CLOSED and now < booking.metered_until,
        used_seconds=0 if receipt is None else receipt.used_seconds,
        receipt=None if receipt is None else signed_receipt(receipt),
    )
