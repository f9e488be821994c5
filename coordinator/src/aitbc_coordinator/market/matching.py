"""Matching: which GPUs a request gets, of those that are what it asks for and free."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlmodel import Session

from aitbc.protocol import pricing, units
from aitbc.protocol.availability import hours_of
from aitbc.protocol.messages import QuoteRequest
from aitbc.protocol.where import (
    Condition,
    Field,
    Operator,
    Where,
    compare,
    price_limit,
)
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.errors import Unmatched
from aitbc_coordinator.market import reasons, standing
from aitbc_coordinator.market.filters import Position, read_where
from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.market.state import MarketState
from aitbc_coordinator.market.views import Span
from aitbc_coordinator.market.walk import Slot, Walk

SPARES = 7
"""How many more free GPUs are compared than are asked for."""
BATCH = 100
MAX_BATCHES = 20
"""How far one request looks past GPUs that cost too much."""


class Offer(NamedTuple):
    """A GPU at its price in the time that was asked for."""

    gpu: Gpu
    inputs: pricing.PricingInputs
    price: pricing.Price

    @property
    def amount(self) -> int:
        return units.price_of(self.price.per_hour, self.inputs.seconds)


def wanted(request: QuoteRequest, decimals: int) -> Where:
    """All conditions of a request, that on its highest price among them. Raises Invalid."""
    where = read_where(request.where or None, decimals)
    limit = price_limit(where)
    if request.max_price >= (units.MAX_AMOUNT if limit is None else limit):
        return where
    return (*where, Condition(Field.PRICE, Operator.AT_MOST, (request.max_price,)))


def match(context: Context, session: Session, request: QuoteRequest, span: Span) -> Sequence[Offer]:
    """The best GPUs that a request asks for and that are free in a span, as many as it wants.

    Raises Unmatched where there are fewer, and Invalid where its expression is none.
    """
    where, count = wanted(request, context.market.decimals), request.count
    found = _free(context, session, where, span, count + SPARES)
    if len(found) < count:
        raise _unmatched(context, session, where, span, count, free=len(found))
    gpu_ids = [offer.gpu.id for offer in found]
    standings = standing.of_gpus(session, gpu_ids, context.now())
    return rank(found, {gpu_id: one.reliability_bps for gpu_id, one in standings.items()})[:count]


def rank(offers: Iterable[Offer], reliability: Mapping[str, int | None]) -> list[Offer]:
    """By price; then the most reliable, those without a history last; then by id."""

    def key(offer: Offer) -> tuple[int, int, str]:
        known = reliability[offer.gpu.id]
        return offer.price.per_hour, -1 * (-1 if known is None else known), offer.gpu.id

    return sorted(offers, key=key)


def offers(context: Context, session: Session, gpus: Sequence[Gpu], span: Span) -> list[Offer]:
    """GPUs in the order given, each at its price in a span."""
    state = MarketState.read(session, gpus, now=context.now(), **span._asdict())
    made = ((gpu, state.inputs(gpu)) for gpu in gpus)
    return [Offer(gpu, inputs, pricing.price(inputs)) for gpu, inputs in made]


def _free(
    context: Context, session: Session, where: Where, span: Span, limit: int
) -> Sequence[Offer]:
    """The first free GPUs by base price and id that meet all conditions, up to a limit."""
    of_price = [one for one in where if one.field is Field.PRICE]
    walk = Walk(session, where, context.now(), Slot(*span, chain_time(session)))
    found: list[Offer] = []
    after: Position | None = None
    for size in (limit, *[BATCH] * MAX_BATCHES):
        gpus = walk.find(after, size)
        offered = [gpu for gpu in gpus if hours_of(gpu).covers(*span)]
        for offer in offers(context, session, offered, span):
            affordable = all(compare(one, offer.price.per_hour) for one in of_price)
            if affordable and offer.amount <= units.MAX_AMOUNT:
                found.append(offer)
        if len(gpus) < size or len(found) >= limit:
            break
        after = Position(gpus[-1].base_price, gpus[-1].id)
    return found[:limit]


def _unmatched(
    context: Context, session: Session, where: Where, span: Span, count: int, *, free: int
) -> Unmatched:
    counts = reasons.count(context, session, where, span=span)
    matching = counts.matching(where)
    taken = None if matching is None else max(0, matching - free)
    why = reasons.shown(
        counts, where, context.market.decimals, taken=taken, complete=free == taken == 0
    )
    if free:
        return Unmatched(
            "too-few",
            f"{free} of the {count} GPUs that you ask for are free in that time",
            hint=f"ask for {free}, for less, or for another time",
            why=why,
        )
    return Unmatched(
        "no-match",
        _nothing_free(taken),
        hint="ask for less" if taken == 0 else "ask for another time, or for less",
        why=why,
    )


def _nothing_free(taken: int | None) -> str:
    if taken is None:
        return "no GPU matches that is free in that time"
    if taken == 0:
        return "no GPU matches"
    return f"{taken} GPUs match, and all are reserved or unavailable in that time"
