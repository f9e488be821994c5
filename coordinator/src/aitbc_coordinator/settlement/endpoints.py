"""HTTP endpoints of bookings, heartbeats and payouts."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Query
from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant
from aitbc_coordinator.api.dependencies import BookingId, ContextDependency, GpuId
from aitbc_coordinator.api.problems import declare
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import bookings, examples, gpus, heartbeats, presences
from aitbc_coordinator.settlement.filters import BookingQuery

router = APIRouter(prefix=wire.API, tags=["settlement"])

GrantBody = Annotated[SignedSessionGrant, Body(examples=[examples.GRANT])]
PresenceBody = Annotated[wire.SignedPresence, Body(examples=[examples.PRESENCE])]
HeartbeatBody = Annotated[SignedHeartbeat, Body(examples=[examples.HEARTBEAT])]


@router.get("/bookings", summary="Bookings, newest first")
def list_bookings(
    context: ContextDependency, query: Annotated[BookingQuery, Query()]
) -> wire.BookingPage:
    """Funded bookings, from confirmed events. Where `next_cursor` is given there are more."""
    with context.database.read() as session:
        return bookings.page(context, session, query)


@router.get(
    "/bookings/{booking_id}",
    summary="One booking",
    responses=declare({404: ("unknown-booking",), 409: ("ambiguous-id",)}),
)
def get_booking(booking_id: BookingId, context: ContextDependency) -> wire.Booking:
    """A booking's status and money, with the transaction behind each step."""
    with context.database.read() as session:
        return bookings.view(context, session, bookings.find(session, booking_id))


@router.get(
    "/bookings/{booking_id}/evidence",
    summary="What a completion or final receipt rests on",
    responses=declare({404: ("unknown-booking", "no-evidence"), 409: ("ambiguous-id",)}),
)
def get_evidence(booking_id: BookingId, context: ContextDependency) -> Evidence:
    """Grants and heartbeats from which anybody recomputes what was earned.

    The keccak-256 of this document as canonical JSON is the `evidence` of the `Settled` event.
    """
    with context.database.read() as session:
        return bookings.evidence(session, booking_id)


@router.get(
    "/bookings/{booking_id}/receipt",
    summary="The newest receipt",
    responses=declare({404: ("unknown-booking", "no-receipt"), 409: ("ambiguous-id",)}),
)
def get_receipt(booking_id: BookingId, context: ContextDependency) -> wire.SignedReceipt:
    """With it the provider claims from the escrow, without any coordinator."""
    with context.database.read() as session:
        return bookings.receipt(session, booking_id)


@router.post(
    "/sessions",
    status_code=HTTPStatus.CREATED,
    summary="Let a session key speak for a provider's machine",
    responses=declare({403: ("wrong-signer", "session-expired")}),
)
def grant_session(signed: GrantBody, context: ContextDependency) -> SignedSessionGrant:
    """Signed by the provider's wallet, for at most 90 days. Repeating it changes nothing."""

    def work(session: Session) -> None:
        heartbeats.grant_session(context, session, signed)
        reach(FaultPoint.SESSION_WRITING)

    context.database.transact(work)
    reach(FaultPoint.SESSION_WRITTEN)
    return signed


@router.post(
    "/heartbeats",
    summary="Report delivered time",
    responses=declare(
        {
            403: ("wrong-signer", "stale-heartbeat"),
            404: ("unknown-booking",),
            409: ("booking-closed", "booking-disputed", "replayed"),
            422: ("outside-booking",),
        }
    ),
)
def post_heartbeat(signed: HeartbeatBody, context: ContextDependency) -> wire.HeartbeatAnswer:
    """Signed by a session key. The answer carries the newest receipt, and whether to go on.

    `sequence` grows with each heartbeat of a booking. The very same heartbeat again gets an
    answer again, so that a lost one can be asked for.
    """

    def work(session: Session) -> wire.HeartbeatAnswer:
        answer = heartbeats.accept(context, session, signed)
        reach(FaultPoint.HEARTBEAT_WRITING)
        return answer

    answer = context.database.transact(work)
    reach(FaultPoint.HEARTBEAT_WRITTEN)
    return answer


@router.post(
    "/presence",
    summary="Say that a machine is up",
    responses=declare({403: ("wrong-signer", "stale-signature"), 404: ("unknown-gpu",)}),
)
def post_presence(signed: PresenceBody, context: ContextDependency) -> wire.PresenceAnswer:
    """Signed by a session key, for the GPUs that its machine serves, idle or busy.

    A GPU whose machine was not heard for the market's `unreachable_seconds` is not found and not
    quoted until it is heard again; a heartbeat counts as well. The very same again, or an older
    one, changes nothing.
    """

    def work(session: Session) -> wire.PresenceAnswer:
        answer = presences.accept(context, session, signed)
        reach(FaultPoint.PRESENCE_WRITING)
        return answer

    answer = context.database.transact(work)
    reach(FaultPoint.PRESENCE_WRITTEN)
    return answer


@router.get(
    "/gpus/{gpu_id}/earnings",
    summary="What a GPU has earned",
    responses=declare({404: ("unknown-gpu",)}),
)
def get_earnings(gpu_id: GpuId, context: ContextDependency) -> wire.Earnings:
    """From confirmed events; `pending` is the metered part of open bookings."""
    with context.database.read() as session:
        return gpus.earnings(context, session, gpu_id)


@router.get(
    "/gpus/{gpu_id}/status",
    summary="Where a GPU stands",
    responses=declare({404: ("unknown-gpu",)}),
)
def get_status(gpu_id: GpuId, context: ContextDependency) -> wire.GpuStatus:
    """Its bookings now, next and last, and the booked share of the last seven days."""
    with context.database.read() as session:
        return gpus.status(context, session, gpu_id)
