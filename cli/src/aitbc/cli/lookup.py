"""Finding the GPU or the booking that a person means by an id, a prefix or a name."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import NamedTuple

from aitbc.buying.quotes import verify_listing
from aitbc.cli.session import Session
from aitbc.errors import AitbcError, CoordinatorError, InvalidInput, UntrustedMarket
from aitbc.protocol.ids import GPU_ID_CHARS, SHORTEST_PREFIX, names_booking
from aitbc.protocol.messages import Terms
from aitbc.protocol.where import Field, Operator, Where, condition, matches, show
from aitbc.protocol.wire import Booking, Gpu, NoMatch, SignedListing
from aitbc.records import OwnBooking, Records, safe_id

PAGE = 200
MAX_SEARCHED = 5_000
MAX_PAGES = MAX_SEARCHED // PAGE
MAX_OWNED = 100_000
"""GPUs of one provider: a coordinator that names more of them makes them up."""
LONGEST_NAME = 64

_WHOLE_ID = re.compile(r"0x[0-9a-f]{64}")
_GPU_ID = re.compile(rf"g-[0-9a-z]{{{GPU_ID_CHARS}}}")
_GPU_PREFIX = re.compile(rf"g-[0-9a-z]{{1,{GPU_ID_CHARS}}}")


class AmbiguousId(InvalidInput):
    """What was typed fits more than one."""

    code = "ambiguous-id"


class Found(NamedTuple):
    """What a search finds; where it finds nothing, why, if the coordinator says so."""

    gpus: list[Gpu]
    why_none: NoMatch | None


def search_gpus(
    session: Session, limit: int, where: Where = (), provider: str | None = None
) -> Found:
    """Up to `limit` GPUs by base price, page by page; with a provider also those not listed.

    Raises UntrustedMarket where the coordinator answers with one that is not searched for.
    """
    expression = show(where, session.market.decimals) if where else None
    found, why_none, cursor = list[Gpu](), None, None
    for _ in range(MAX_PAGES):
        page = session.coordinator.gpus(
            where=expression,
            provider=provider,
            limit=min(PAGE, limit - len(found)),
            cursor=cursor,
        )
        _check_searched_for(where, page.items)
        found += page.items
        why_none, cursor = why_none or page.no_match, page.next_cursor
        if cursor is None or len(found) >= limit:
            break
    return Found(found[:limit], why_none if not found else None)


def list_gpus(
    session: Session, limit: int, where: Where = (), provider: str | None = None
) -> list[Gpu]:
    """As `search_gpus`, without the reasons."""
    return search_gpus(session, limit, where, provider).gpus


def _check_searched_for(where: Where, gpus: list[Gpu]) -> None:
    for gpu in gpus:
        if not matches(where, gpu):
            raise UntrustedMarket(
                f"the coordinator finds GPU {gpu.id}, which is not what was searched for",
                hint="do not act on it; use another coordinator",
            )


def gpus_of(session: Session, provider: str) -> Iterator[Gpu]:
    """All GPUs of a provider, those off the market too, page by page.

    Raises CoordinatorError where there is no end to them.
    """
    cursor: str | None = None
    for _ in range(MAX_OWNED // PAGE):
        page = session.coordinator.gpus(provider=provider, limit=PAGE, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
    raise CoordinatorError(
        f"the coordinator does not come to an end with the GPUs of {provider}",
        hint="use another coordinator",
    )


def own_gpus(session: Session) -> list[Gpu]:
    """All GPUs of this wallet, those off the market too."""
    return list(gpus_of(session, session.address))


def find_gpu(session: Session, text: str) -> Gpu:
    """The GPU of an id, of the name of one of one's own, or of a unique prefix of an id.

    Raises AmbiguousId, CoordinatorError, and UntrustedMarket where the coordinator answers with
    another GPU, or with a listing that its provider did not sign.
    """
    gpu = _find_gpu(session, text)
    if _GPU_ID.fullmatch(text) and gpu.id != text:
        raise UntrustedMarket(
            f"asked for GPU {text}, the coordinator answers with {gpu.id}",
            hint="do not act on it",
        )
    verify_listing(
        session.market.domain,
        gpu.id,
        SignedListing(listing=gpu.listing, signature=gpu.signature),
    )
    return gpu


def _find_gpu(session: Session, text: str) -> Gpu:
    if _GPU_ID.fullmatch(text):
        return session.coordinator.gpu(text)
    found = next(filter(None, _gpus_called(session, text)), [])
    if len(found) > 1:
        several = ", ".join(gpu.id for gpu in found[:5])
        raise AmbiguousId(f"'{text}' fits more than one GPU: {several}", hint="give its whole id")
    if not found:
        raise CoordinatorError(
            f"there is no GPU '{text}'",
            hint="see 'aitbc marketplace gpu list', or --mine for your own",
            status=HTTPStatus.NOT_FOUND,
            problem="unknown-gpu",
        )
    return found[0]


def _gpus_called(session: Session, text: str) -> Iterator[list[Gpu]]:
    """The GPUs that `text` may mean, the likeliest first."""
    has_wallet = session.profile.wallet in session.keystore.names()
    called = _called(session, text)
    if has_wallet and called:
        own = list_gpus(session, MAX_SEARCHED, called, session.address)
        named = [gpu for gpu in own if gpu.listing.provider == session.address]
        # Names are unique among listed GPUs only.
        yield [gpu for gpu in named if gpu.listed]
        yield named
    prefix = text.lower()
    if _GPU_PREFIX.fullmatch(prefix):
        if has_wallet:
            yield [gpu for gpu in own_gpus(session) if gpu.id.startswith(prefix)]
        yield [gpu for gpu in list_gpus(session, MAX_SEARCHED) if gpu.id.startswith(prefix)]


def _called(session: Session, text: str) -> Where:
    """The search by a GPU's name; none where the text can be no name."""
    if not 0 < len(text) <= LONGEST_NAME:
        return ()
    try:
        return (condition(Field.NAME, Operator.EQUAL, text, session.market.decimals),)
    except ValueError:
        return ()


def find_booking(session: Session, text: str) -> Booking:
    """The coordinator's view of a booking, by full or short id or a unique prefix of either.

    Raises AmbiguousId, and UntrustedMarket where its terms are not those of its id.
    """
    try:
        booking = session.coordinator.booking(check_booking_id(text))
    except CoordinatorError as error:
        if error.problem == AmbiguousId.code:
            raise _ambiguous_booking(text) from error
        raise
    actual = booking.terms.booking_id(session.market.domain)
    if actual != booking.id:
        raise UntrustedMarket(
            f"the coordinator's terms of booking {booking.id} are not its own",
            hint="do not act on them",
        )
    if not names_booking(text, booking.id):
        raise UntrustedMarket(
            f"asked for booking {text}, the coordinator answers with {booking.id}",
            hint="do not act on it",
        )
    return booking


def find_own_booking(session: Session, text: str) -> OwnBooking | None:
    """What this home recorded of a booking; None where it recorded nothing of it."""
    own = {
        booking.booking_id: booking
        for booking in Records(session.home).bookings()
        if booking.domain == session.market.domain
    }
    found = _named(text, own)
    return None if found is None else own[found]


def find_terms(session: Session, text: str) -> Terms:
    """A booking's terms, from one's own records, else from the coordinator, which is checked.

    Where that does not help, from the event by which it was funded, for a whole id.
    """
    own = find_own_booking(session, text)
    if own is not None:
        return own.terms
    try:
        return find_booking(session, text).terms
    except CoordinatorError as error:
        terms = _funded_terms(session, text.lower())
        if terms is None:
            raise
        session.output.note(f"the coordinator does not help: {error}")
        return terms


def _funded_terms(session: Session, booking_id: str) -> Terms | None:
    if _WHOLE_ID.fullmatch(booking_id) is None:
        return None
    from aitbc.chain.node import node_call

    market, escrow = session.market, session.escrow
    with node_call("the booking's funding was looked up"):
        funded = escrow.funded_event(booking_id, market.deploy_block)
    if funded is None or funded.terms.booking_id(market.domain) != booking_id:
        return None
    return funded.terms


def choose_booking(text: str, booking_ids: Iterable[str]) -> str:
    """The one of these ids that `text` names. Raises InvalidInput, AitbcError for none."""
    found = _named(text, booking_ids)
    if found is None:
        raise AitbcError(f"there is no booking '{text}' here", hint="check the id")
    return found


def check_booking_id(text: str) -> str:
    """The id as typed. Raises InvalidInput for what can be none."""
    if len(text) < SHORTEST_PREFIX or not safe_id(text):
        raise InvalidInput(
            f"'{text}' is not a booking's id: give 0x…, b-…, or at least its first "
            f"{SHORTEST_PREFIX} characters",
            hint="see 'aitbc booking list'",
        )
    return text


def _named(text: str, booking_ids: Iterable[str]) -> str | None:
    check_booking_id(text)
    found = [booking_id for booking_id in booking_ids if names_booking(text, booking_id)]
    if len(found) > 1:
        raise _ambiguous_booking(text)
    return found[0] if found else None


def _ambiguous_booking(text: str) -> AmbiguousId:
    return AmbiguousId(f"'{text}' fits more than one booking", hint="give more of its id")
