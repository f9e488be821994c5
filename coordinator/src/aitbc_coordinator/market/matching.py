"""Matching: which GPUs a request gets, of those that are what it asks for and free."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from sqlmodel import Session

from aitbc.protocol import pricing, units
from aitbc.protocol.availability import hours_of
from aitbc.protocol.messages import Minimum, QuoteRequest
from aitbc.protocol.where import (
    Condition,
    Field,
    Operator,
    Where,
    compare,
    price_limit,
)
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Contended, Unmatched
from aitbc_coordinator.market import reasons, repository, standing, worth
from aitbc_coordinator.market.filters import Position, read_where
from aitbc_coordinator.market.models import Gpu
from aitbc_coordinator.market.state import MarketState
from aitbc_coordinator.market.views import Span
from aitbc_coordinator.market.walk import Slot, Walk

SPARES = 7
"""How many more free GPUs are compared than are asked for."""
BATCHES = (16, 32, 64, *[100] * 19)
"""How many more GPUs are then read at a time, and how far one request looks in all: past those that
cost too much, are not offered at that time, or are being given to others."""


class Offer(NamedTuple):
    """A GPU at its price in the time that was asked for."""

    gpu: Gpu
    inputs: pricing.PricingInputs
    per_hour: int

    @property
    def amount(self) -> int:
        return units.price_of(self.per_hour, self.inputs.seconds)


def wanted(request: QuoteRequest, decimals: int) -> Where:
    """All conditions of a request, that on its highest price among them. Raises Invalid."""
    where = read_where(request.where or None, decimals)
    limit = price_limit(where)
    if request.max_price >= (units.MAX_AMOUNT if limit is None else limit):
        return where
    return (*where, Condition(Field.PRICE, Operator.AT_MOST, (request.max_price,)))


def match(
    context: Context, session: Session, request: QuoteRequest, slot: Slot, least: Minimum
) -> list[Offer]:
    """The best GPUs that a request asks for and that are free in a slot, as many as it wants.

    Those whose booking would not come to the `least` amount are passed over, and what somebody
    else is being given at this moment counts as taken. Raises Unmatched where there are fewer,
    TooSmall where only the least amount is in the way, Contended where it depends on others, and
    Invalid where its expression is none.
    """
    where, count = wanted(request, context.market.decimals), request.count
    search = _Search(context, session, where, slot, least)
    free = search.free(count + SPARES)
    chosen: list[Offer] = []
    seen: list[Gpu] = []
    while compared := list(islice(free, count - len(chosen) + SPARES)):
        seen += [offer.gpu for offer in compared]
        chosen += _choose(context, session, compared, count - len(chosen))
        if len(chosen) == count:
            return chosen
    if len(seen) >= count:
        repository.lock(session, seen, count)
        raise Contended
    if len(seen) + len(search.too_small) >= count:
        dearest = max(search.too_small, key=lambda offer: offer.amount)
        worth.require_worth(context, least, dearest.amount, dearest.per_hour)
    raise search.unmatched(count, free=len(seen))


def _choose(
    context: Context, session: Session, compared: Sequence[Offer], count: int
) -> list[Offer]:
    """The best of some offers, of those that nobody else is being given."""
    by_id = {offer.gpu.id: offer for offer in compared}
    ranked = rank(compared, _reliability_of_equals(context, session, compared))
    gpus = [offer.gpu for offer in ranked]
    return [by_id[gpu_id] for gpu_id in repository.lock(session, gpus, count, skip=True)]


def _reliability_of_equals(
    context: Context, session: Session, compared: Sequence[Offer]
) -> dict[str, int | None]:
    """The reliability of those that cost what another costs: of others it decides nothing."""
    costing = Counter(offer.per_hour for offer in compared)
    equals = [offer.gpu.id for offer in compared if costing[offer.per_hour] > 1]
    standings = standing.of_gpus(session, equals, context.now()) if equals else {}
    return {gpu_id: one.reliability_bps for gpu_id, one in standings.items()}


def rank(offers: Iterable[Offer], reliability: Mapping[str, int | None]) -> list[Offer]:
    """By price; then the most reliable, those without a history last; then by id."""

    def key(offer: Offer) -> tuple[int, int, str]:
        known = reliability.get(offer.gpu.id)
        return offer.per_hour, -1 * (-1 if known is None else known), offer.gpu.id

    return sorted(offers, key=key)


def offers(context: Context, session: Session, gpus: Sequence[Gpu], span: Span) -> list[Offer]:
    """GPUs in the order given, each at its price in a span."""
    if not gpus:
        return []
    state = MarketState.read(session, gpus, now=context.now(), **span._asdict())
    made = ((gpu, state.inputs(gpu)) for gpu in gpus)
    return [Offer(gpu, inputs, pricing.price_per_hour(inputs)) for gpu, inputs in made]


@dataclass(slots=True)
class _Search:
    """The GPUs that are free in a slot and meet all conditions, and what was passed over."""

    context: Context
    session: Session
    where: Where
    slot: Slot
    least: Minimum
    too_small: list[Offer] = field(default_factory=list)
    looked_at: int = 0
    is_complete: bool = False

    def free(self, first: int) -> Iterator[Offer]:
        """By base price and id; the `first` are read together."""
        of_price = [one for one in self.where if one.field is Field.PRICE]
        walk = Walk(self.session, self.where, self.context.now(), self.slot)
        after: Position | None = None
        for size in (first, *BATCHES):
            gpus = walk.find(after, size)
            self.looked_at += len(gpus)
            offered = [gpu for gpu in gpus if hours_of(gpu).covers(*self.slot.span)]
            for offer in offers(self.context, self.session, offered, self.slot.span):
                affordable = all(compare(one, offer.per_hour) for one in of_price)
                if not affordable or offer.amount > units.MAX_AMOUNT:
                    continue
                if offer.amount < self.least.amount:
                    self.too_small.append(offer)
                else:
                    yield offer
            if len(gpus) < size:
                self.is_complete = True
                return
            after = Position(gpus[-1].base_price, gpus[-1].id)

    def unmatched(self, count: int, *, free: int) -> Unmatched:
        """The refusal of a request for `count` GPUs where so many were found free."""
        decimals = self.context.market.decimals
        counts = reasons.count(self.context, self.session, self.where, span=self.slot.span)
        matching = counts.matching(self.where) if self.is_complete else None
        taken = None if matching is None else max(0, matching - free - len(self.too_small))
        complete = free == taken == 0 and not self.too_small
        why = reasons.shown(counts, self.where, decimals, taken=taken, complete=complete)
        if free:
            hint = f"ask for {free}, for less, or for another time"
            return Unmatched("too-few", self._too_few(count, free), hint=hint, why=why)
        if not self.is_complete:
            hint = "say more of what you want, such as a region or a model, or ask for another time"
        else:
            hint = "ask for less" if taken == 0 else "ask for another time, or for less"
        return Unmatched("no-match", self._nothing_free(taken), hint=hint, why=why)

    def _too_few(self, count: int, free: int) -> str:
        if self.is_complete:
            return f"{free} of the {count} GPUs that you ask for are free in that time"
        return f"{self._cheapest} only {free} of the {count} that you ask for can be had then"

    def _nothing_free(self, taken: int | None) -> str:
        if not self.is_complete:
            return (
                f"{self._cheapest} each costs more than you allow or is not offered then, and no "
                "more were looked at"
            )
        if taken is None:
            return "no GPU matches that is free in that time"
        if taken == 0:
            return "no GPU matches"
        return f"{taken} GPUs match, and all are reserved or unavailable in that time"

    @property
    def _cheapest(self) -> str:
        return f"of the {self.looked_at} cheapest GPUs that are free in that time"
