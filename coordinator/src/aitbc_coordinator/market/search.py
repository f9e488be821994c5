"""Finding a GPU, by what it is and what it costs now; and why there is none."""

from sqlmodel import Session

from aitbc.protocol import wire
from aitbc.protocol.where import matches
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import reasons
from aitbc_coordinator.market.filters import Position, SearchQuery, read_where
from aitbc_coordinator.market.views import gpu_views
from aitbc_coordinator.market.walk import Walk

MAX_BATCHES = 20
"""How far one search looks past GPUs that cost too much; its cursor leads further."""


def search(context: Context, session: Session, query: SearchQuery) -> wire.GpuPage:
    """GPUs by base price and id. `next_cursor` is None on the last page only. Raises Invalid."""
    where = read_where(query.where, context.market.decimals)
    walk = Walk(session, where, context.now(), provider=query.provider)
    start = after = None if query.cursor is None else Position.of(query.cursor)
    found: list[wire.Gpu] = []
    more = True
    for _ in range(MAX_BATCHES):
        wanted = query.limit - len(found)
        rows = walk.find(after, wanted + 1)
        batch, more = rows[:wanted], len(rows) > wanted
        found += [gpu for gpu in gpu_views(context, session, batch) if matches(where, gpu)]
        if not more:
            break
        after = Position(batch[-1].base_price, batch[-1].id)
        if len(found) == query.limit:
            break
    page = wire.GpuPage(items=found, next_cursor=after.cursor() if more and after else None)
    if page.items or start is not None:
        return page
    counts = reasons.count(context, session, where, provider=query.provider)
    why = reasons.shown(counts, where, context.market.decimals, complete=not more)
    return page.model_copy(update={"no_match": why})
