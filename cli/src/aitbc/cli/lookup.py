"""Finding the GPU or the booking that a person means by an id, a prefix or a name."""

import re
from http import HTTPStatus
from typing import Any

from aitbc.cli.session import Session
from aitbc.errors import CoordinatorError, InvalidInput, UntrustedMarket
from aitbc.protocol.ids import GPU_ID_CHARS, short_booking_id
from aitbc.protocol.messages import Terms
from aitbc.protocol.wire import Booking, Gpu
from aitbc.records import OwnBooking, Records, safe_id

PAGE = 200
MAX_SEARCHED = 5_000

_GPU_ID = re.compile(rf"g-[0-9a-z]{{{GPU_ID_CHARS}}}")
_MIN_PREFIX = 4


def list_gpus(session: Session, limit: int, **filters: Any) -> list[Gpu]:
    """Up to `limit` GPUs of the coordinator, page by page."""
    found: list[Gpu] = []
    cursor: str | None = None
    while len(found) < limit:
        wanted = min(PAGE, limit - len(found))
        page = session.coordinator.gpus(**filters, limit=wanted, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None or not page.items:
            break
    return found[:limit]


def own_gpus(session: Session) -> list[Gpu]:
    """All GPUs of this wallet, those off the market too."""
    return list_gpus(session, MAX_SEARCHED, provider=session.address)


def find_gpu(session: Session, text: str) -> Gpu:
    """The GPU of an id, of the name of one of one's own, or of a unique prefix of an id."""
    if _GPU_ID.fullmatch(text):
        return session.coordinator.gpu(text)
    own = own_gpus(session) if session.profile.wallet in session.keystore.names() else []
    named = [gpu for gpu in own if gpu.listing.name == text]
    if named:
        return named[0]
    matches = [gpu for gpu in own if _has_prefix(gpu.id, text)]
    if not matches:
        listed = list_gpus(session, MAX_SEARCHED)
        matches = [gpu for gpu in listed if _has_prefix(gpu.id, text)]
    if len(matches) > 1:
        several = ", ".join(gpu.id for gpu in matches[:5])
        raise InvalidInput(f"'{text}' fits more than one GPU: {several}")
    if not matches:
        raise CoordinatorError(
            f"there is no GPU '{text}'",
            hint="see 'aitbc marketplace gpu list', or --mine for your own",
            status=HTTPStatus.NOT_FOUND,
            problem="unknown-gpu",
        )
    return matches[0]


def find_booking(session: Session, text: str) -> Booking:
    """The coordinator's view of a booking, by full or short id or a unique prefix of either.

    Raises UntrustedMarket where its terms are not those of its id.
    """
    booking = session.coordinator.booking(check_booking_id(text))
    actual = booking.terms.booking_id(session.market.domain)
    if actual != booking.id:
        raise UntrustedMarket(
            f"the coordinator's terms of booking {booking.id} are not its own",
            hint="do not act on them",
        )
    if not (_has_prefix(booking.id, text) or _has_prefix(short_booking_id(booking.id), text)):
        raise UntrustedMarket(
            f"asked for booking {text}, the coordinator answers with {booking.id}",
            hint="do not act on it",
        )
    return booking


def find_own_booking(session: Session, text: str) -> OwnBooking | None:
    """What this home recorded of a booking; None where it recorded nothing of it."""
    check_booking_id(text)
    matches = [
        booking
        for booking in Records(session.home).bookings()
        if booking.domain == session.market.domain
        and (
            _has_prefix(booking.booking_id, text)
            or _has_prefix(short_booking_id(booking.booking_id), text)
        )
    ]
    if len(matches) > 1:
        raise InvalidInput(f"'{text}' fits more than one booking: give more of its id")
    return matches[0] if matches else None


def find_terms(session: Session, text: str) -> Terms:
    """A booking's terms, from one's own records, else from the coordinator, which is checked."""
    own = find_own_booking(session, text)
    return own.terms if own else find_booking(session, text).terms


def check_booking_id(text: str) -> str:
    """The id as typed. Raises InvalidInput for what can be none."""
    if len(text) < _MIN_PREFIX or not safe_id(text):
        raise InvalidInput(
            f"'{text}' is not a booking's id: give 0x…, b-…, or at least its first 4 characters",
            hint="see 'aitbc booking list'",
        )
    return text


def _has_prefix(identifier: str, text: str) -> bool:
    bare = identifier.partition("-")[2]
    return identifier.startswith(text.lower()) or (bool(bare) and bare.startswith(text.lower()))
