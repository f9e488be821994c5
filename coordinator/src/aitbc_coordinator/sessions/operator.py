"""What operators read of their coordinator from elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request

from aitbc.chain.node import NODE_FAILURES
from aitbc.errors import ChainError
from aitbc.protocol import wire
from aitbc_coordinator.api.checks import Alerts, Checks
from aitbc_coordinator.api.dependencies import ContextDependency
from aitbc_coordinator.api.problems import declare
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.sessions.dependencies import UNSIGNED, require_operator
from aitbc_coordinator.settlement import outbox, repository
from aitbc_coordinator.settlement.settler import LISTED_BOOKINGS


@dataclass(frozen=True, slots=True)
class Machinery:
    """What a process knows of itself that its database does not."""

    leads: Callable[[], bool] = lambda: False
    coin: Callable[[], Mapping[str, int]] = dict
    """Wei of each relayer. Raises what a node does that fails."""


router = APIRouter(
    prefix=f"{wire.API}/operator", tags=["operator"], dependencies=[Depends(require_operator)]
)


@router.get(
    "/status",
    summary="How this coordinator does its work",
    responses=UNSIGNED | declare({403: ("not-an-operator",)}),
)
def get_operator_status(request: Request, context: ContextDependency) -> wire.OperatorStatus:
    """What `/readyz` says, what waits to be settled, and the relayers' coin.

    For wallets that the setting `operator_wallets` names; where it names none there is no such
    path.
    """
    checks: Checks = request.app.state.checks
    alerts: Alerts = request.app.state.alerts
    machinery: Machinery = request.app.state.machinery
    return _status(context, checks, alerts, machinery)


def _status(
    context: Context, checks: Checks, alerts: Alerts, machinery: Machinery
) -> wire.OperatorStatus:
    with context.database.read() as session:
        claimable_after = chain_time(session) - context.market.claim_window
        cursor = repository.cursor(session)
        waiting, since = outbox.waiting(session, claimable_after)
        stuck = outbox.stuck(session, claimable_after, LISTED_BOOKINGS)
        unclaimed = outbox.left_to_reclaim(session, claimable_after, LISTED_BOOKINGS)
    return wire.OperatorStatus(
        checks=dict(checks()),
        alerts=list(alerts()),
        leads=machinery.leads(),
        followed_block=None if cursor is None else cursor.block_number,
        followed_at=None if cursor is None else cursor.block_timestamp,
        waiting=waiting,
        waiting_since=since,
        stuck=list(stuck),
        unclaimed=list(unclaimed),
        relayers=_relayers(machinery),
    )


def _relayers(machinery: Machinery) -> list[wire.Relayer] | None:
    try:
        coin = machinery.coin()
    except (ChainError, *NODE_FAILURES):
        return None
    return [wire.Relayer(address=address, balance=wei) for address, wei in coin.items()]
