"""HTTP endpoints of the market."""

from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Path, Query, Response
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.types import Bytes32
from aitbc_coordinator import retirement
from aitbc_coordinator.api.dependencies import ContextDependency, GpuId, QuoteId
from aitbc_coordinator.api.problems import declare
from aitbc_coordinator.api.quick_route import QuickRoute
from aitbc_coordinator.cursor import last_seen
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.market import examples, hours, listings, quotes, search, views, worth
from aitbc_coordinator.market.filters import SearchQuery

router = APIRouter(prefix=wire.API, tags=["market"])
quick_router = APIRouter(prefix=wire.API, tags=["market"], route_class=QuickRoute)

ListingDigest = Annotated[
    Bytes32, Path(description="The listing's EIP-712 digest", examples=["0x" + "5e" * 32])
]

ListingBody = Annotated[wire.SignedListing, Body(examples=[examples.LISTING])]
UnlistingBody = Annotated[wire.SignedUnlisting, Body(examples=[examples.UNLISTING])]
QuoteRequestBody = Annotated[wire.SignedQuoteRequest, Body(examples=[examples.QUOTE_REQUEST])]
Made = TypeVar("Made")

SIGNED = ("wrong-signer", "stale-signature")
UNACCEPTABLE = ("unknown-region", "unknown-strategy", "invalid-prices")


@router.get("/market", summary="This market and its escrow")
def get_market(context: ContextDependency) -> wire.Market:
    """What the coordinator says of itself: check it against the chain, then pin it."""
    with context.database.read() as session:
        return context.market.model_copy(update={"retirement": retirement.find(session)})


@router.get("/market/minimum", summary="The least amount that is worth settling now")
def get_minimum(context: ContextDependency) -> wire.SignedMinimum:
    """At the gas price of the last followed block, so that the fee covers the settlement.

    0 where that is not counted: the market takes no fee, or nobody says what gas is worth.
    """
    with context.database.read() as session:
        gas_price = last_seen(session).gas_price
    return worth.signed(context, worth.minimum(context, gas_price))


@router.get(
    "/market/hours",
    summary="A region's demand and price level, hour by hour",
    responses=declare({422: ("unknown-region",)}),
)
def list_hours(
    context: ContextDependency, query: Annotated[hours.HoursQuery, Query()]
) -> wire.RegionHourPage:
    """From the newest to the oldest: what prices rest on, for anybody to check.

    Each level follows from the hour before and from what was booked. Where `next_cursor` is given
    there are more: ask again with it as `cursor`.
    """
    with context.database.read() as session:
        return hours.page(session, query)


@router.post(
    "/gpus",
    status_code=HTTPStatus.CREATED,
    summary="Register a GPU",
    responses={
        200: {"model": wire.Gpu, "description": "The very same listing was registered before"},
        **declare(
            {
                403: SIGNED,
                409: ("id-taken", "name-taken", "uuid-taken", "version-conflict"),
                422: UNACCEPTABLE,
            }
        ),
    },
)
def register_gpu(signed: ListingBody, context: ContextDependency, response: Response) -> wire.Gpu:
    """The first listing of a GPU: version 1, signed by the provider's wallet.

    The id is made of the provider's address and the listing's `salt`. For `id-taken`, choose
    another salt. Sending the very same listing again is harmless.
    """

    def work(session: Session) -> tuple[wire.Gpu, bool]:
        gpu, created = listings.register(context, session, signed)
        view = views.gpu_view(context, session, gpu)
        reach(FaultPoint.LISTING_WRITING)
        return view, created

    gpu, created = context.database.transact(work)
    reach(FaultPoint.LISTING_WRITTEN)
    return _made(response, gpu, created=created)


@router.put(
    "/gpus/{gpu_id}",
    summary="Change a GPU's listing",
    responses=declare(
        {
            403: (*SIGNED, "not-owner"),
            404: ("unknown-gpu",),
            409: ("version-conflict", "name-taken", "uuid-taken"),
            422: UNACCEPTABLE,
        }
    ),
)
def update_gpu(gpu_id: GpuId, signed: ListingBody, context: ContextDependency) -> wire.Gpu:
    """The next listing of a GPU, by the same provider with the same `salt`.

    Its `version` is the present listing's plus one. It puts a GPU that was taken off the market
    back on it, if it was signed after that. Bookings and quotes keep their terms.
    """

    def work(session: Session) -> wire.Gpu:
        gpu = listings.update(context, session, gpu_id, signed)
        view = views.gpu_view(context, session, gpu)
        reach(FaultPoint.UPDATE_WRITING)
        return view

    view = context.database.transact(work)
    reach(FaultPoint.UPDATE_WRITTEN)
    return view


@router.post(
    "/gpus/{gpu_id}/unlist",
    summary="Take a GPU off the market",
    responses=declare(
        {403: (*SIGNED, "not-owner"), 404: ("unknown-gpu",), 409: ("version-conflict",)}
    ),
)
def unlist_gpu(gpu_id: GpuId, signed: UnlistingBody, context: ContextDependency) -> wire.Gpu:
    """No new quote is made for it; what is booked goes on. `version` is the listing's plus one."""

    def work(session: Session) -> wire.Gpu:
        gpu = listings.unlist(context, session, gpu_id, signed)
        view = views.gpu_view(context, session, gpu)
        reach(FaultPoint.UNLISTING_WRITING)
        return view

    view = context.database.transact(work)
    reach(FaultPoint.UNLISTING_WRITTEN)
    return view


@router.get("/gpus", summary="Search GPUs", responses=declare({422: ("invalid-where",)}))
def search_gpus(context: ContextDependency, query: Annotated[SearchQuery, Query()]) -> wire.GpuPage:
    """Listed GPUs by base price, then id.

    `where` is a filter expression; of what it cannot be read, `detail` has the position, from 0.
    Where `next_cursor` is given there may be more: ask again with it as `cursor`. A first page
    without items says in `no_match` what each condition excludes.
    """
    with context.database.read() as session:
        return search.search(context, session, query)


@router.get("/gpus/{gpu_id}", summary="One GPU", responses=declare({404: ("unknown-gpu",)}))
def get_gpu(gpu_id: GpuId, context: ContextDependency) -> wire.Gpu:
    """A GPU, listed or not, with the signed listing that backs it and its price now."""
    with context.database.read() as session:
        return views.gpu_view(context, session, listings.get(session, gpu_id))


@router.get(
    "/listings/{digest}",
    summary="A listing as it was signed",
    responses=declare({404: ("unknown-listing",)}),
)
def get_listing(digest: ListingDigest, context: ContextDependency) -> wire.SignedListing:
    """Every version that a provider signed stays here: terms name theirs by its digest."""
    with context.database.read() as session:
        return views.signed_listing(listings.of_digest(session, digest))


@quick_router.post(
    "/quotes",
    status_code=HTTPStatus.CREATED,
    summary="Ask for quotes, which hold the GPUs",
    responses={
        200: {"model": wire.SignedQuotes, "description": "The same request was quoted before"},
        **declare(
            {
                403: SIGNED,
                404: ("unknown-gpu",),
                409: (
                    "market-retired",
                    "not-listed",
                    "unreachable",
                    "unavailable",
                    "taken",
                    "no-match",
                    "too-few",
                    "too-expensive",
                    "too-small",
                    "salt-reused",
                ),
                422: (
                    "invalid-where",
                    "too-short",
                    "too-long",
                    "starts-too-soon",
                    "starts-too-late",
                ),
                503: ("chain-replaced", "database-unavailable", "signer-unavailable"),
            }
        ),
    },
)
async def make_quote(
    signed: QuoteRequestBody, context: ContextDependency, response: Response
) -> wire.SignedQuotes:
    """Of the GPU that is named, or of the best `count` that `where` means: all of them or none.

    Each is held until `terms.fund_by`: fund the terms in the escrow before that. `starts_at` 0
    means as soon as possible, which is when the quotes expire. A price comes with its inputs,
    from which anybody recomputes it. Sending the same request again returns the same quotes;
    each further request needs other salts: the i-th quote's is `salt` + i, modulo 2^64.
    """

    def work(session: Session) -> tuple[wire.SignedQuotes, bool]:
        answer = quotes.make(context, session, signed)
        reach(FaultPoint.QUOTE_WRITING)
        return answer

    try:
        made, created = await context.database.write(work)
    except IntegrityError as error:
        raise quotes.taken(signed.request.gpu_id) from error
    reach(FaultPoint.QUOTE_WRITTEN)
    return _made(response, made, created=created)


@router.get("/quotes/{quote_id}", summary="A quote", responses=declare({404: ("unknown-quote",)}))
def get_quote(quote_id: QuoteId, context: ContextDependency) -> wire.SignedQuote:
    """A quote as it was signed, whether or not it is still valid."""
    with context.database.read() as session:
        return views.quote_views(session, [quotes.get(session, quote_id)]).items[0]


def _made(response: Response, body: Made, *, created: bool) -> Made:
    if not created:
        response.status_code = HTTPStatus.OK
    return body
