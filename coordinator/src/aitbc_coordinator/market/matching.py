"""Matching: which GPUs a request gets, of those that are what it asks for and free."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
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
from aitbc_coordinator.errors import Contended, Unmatched
from aitbc_coordinator.market import reasons, repository, standing
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


def match(context: Context, session: Session, request: QuoteRequest, span: Span) -> list[Offer]:
    """The best GPUs that a request asks for and that are free in a span, as many as it wants.

    What somebody else is being given at this moment counts as taken. Raises Unmatched where there
    are fewer, Contended where it depends on that, and Invalid where its expression is none.
    """
    where, count = wanted(request, context.market.decimals), request.count
    free = _free(context, session, where, span, count + SPARES)
    chosen: list[Offer] = []
    seen: list[str] = []
    while compared := list(islice(free, count - len(chosen) + SPARES)):
        seen += [offer.gpu.id for offer in compared]
        chosen += _choose(context, session, compared, count - len(chosen))
        if len(chosen) == count:
            return chosen
    if len(seen) >= count:
        repository.lock(session, seen, count)
        raise Contended
    raise _unmatched(context, session, where, span, count, free=len(seen))


def _choose(
    context: Context, session: Session, compared: Sequence[Offer], count: int
) -> list[Offer]:
    """The best of some offers, of those that nobody else is being given."""
    by_id = {offer.gpu.id: offer for offer in compared}
    standings = standing.of_gpus(session, by_id, context.now())
    ranked = rank(compared, {gpu_id: one.reliability_bps for gpu_id, one in standings.items()})
    gpu_ids = [offer.gpu.id for offer in ranked]
    return [by_id[gpu_id] for gpu_id in repository.lock(session, gpu_ids, count, skip=True)]


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
    context: Context, session: Session, where: Where, span: Span, first: int
) -> Iterator[Offer]:
    """Free GPUs by base price and id that meet all conditions; the `first` are read together."""
    of_price = [one for one in where if one.field is Field.PRICE]
    walk = Walk(session, where, context.now(), Slot(*span, chain_time(session)))
    after: Position | None = None
    for size in (first, *[BATCH] * MAX_BATCHES):
        gpus = walk.find(after, size)
        offered = [gpu for gpu in gpus if hours_of(gpu).covers(*span)]
        for offer in offers(context, session, offered, span):
            affordable = all(compare(one, offer.price.per_hour) for one in of_price)
            if affordable and offer.amount <= units.MAX_AMOUNT:
                yield offer
        if len(gpus) < size:
            return
        after = Position(gpus[-1].base_price, gpus[-1].id)


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
