"""Whether the process is alive, and whether it can do its work."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from aitbc.protocol.wire import Health
from aitbc_coordinator.api.checks import Alerts, Checks
from aitbc_coordinator.api.dependencies import ContextDependency
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time

ALIVE, READY = PATHS = ("/healthz", "/readyz")

router = APIRouter(tags=["health"])


@router.get(ALIVE, summary="Is the process alive?")
def health() -> Health:
    """Always `ok` when it answers; it looks at nothing else."""
    return Health(status="ok", checks={}, alerts=[])


@router.get(
    READY,
    summary="Can the coordinator do its work?",
    responses={503: {"model": Health, "description": "Some check failed; `checks` says why"}},
)
def readiness(request: Request, response: Response, context: ContextDependency) -> Health:
    """Each check is `ok` or the reason why not: database, node, follower, settler.

    `alerts` name what needs a person; the coordinator is ready all the same.
    """
    checks: Checks = request.app.state.checks
    alerts: Alerts = request.app.state.alerts
    found = {"database": _database(context), **checks()}
    ready = all(answer == "ok" for answer in found.values())
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Health(status="ok" if ready else "not ready", checks=found, alerts=list(alerts()))


def _database(context: Context) -> str:
    try:
        with context.database.read() as session:
            # Any query of any table shows whether the schema is there.
            chain_time(session)
    except SQLAlchemyError as error:
        return f"the database fails: {type(error).__name__}"
    return "ok"
