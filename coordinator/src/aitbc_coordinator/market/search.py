"""Finding a GPU, by what it is and what it costs now."""

from sqlmodel import Session

from aitbc.protocol import wire
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import repository
from aitbc_coordinator.market.filters import Filters, Position
from aitbc_coordinator.market.views import gpu_views

MAX_BATCHES = 20
"""How far one search looks past GPUs that cost too much; its cursor leads further."""


def search(
    context: Context, session: Session, filters: Filters, after: Position | None, limit: int
) -> wire.GpuPage:
    """GPUs by base price and id. `next_cursor` is None on the last page only."""
    found: list[wire.Gpu] = []
    for _ in range(MAX_BATCHES):
        wanted = limit - len(found)
        rows = repository.search(session, filters, after, wanted + 1)
        page, more = rows[:wanted], len(rows) > wanted
        found += [view for view in gpu_views(context, session, page) if _affordable(view, filters)]
        if not more:
            return wire.GpuPage(items=found, next_cursor=None)
        after = Position(page[-1].base_price, page[-1].id)
        if len(found) == limit:
            break
    return wire.GpuPage(items=found, next_cursor=after.cursor() if after else None)


def _affordable(gpu: wire.Gpu, filters: Filters) -> bool:
    return filters.max_price is None or gpu.current_price.per_hour <= filters.max_price
