"""The application: routers, and around them errors, limits and logs."""

from fastapi import FastAPI
from fastapi.routing import APIRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from aitbc.protocol.sign_in import Audience
from aitbc.protocol.wire import DEFAULT_COORDINATOR_URL
from aitbc_coordinator import __version__
from aitbc_coordinator.api import health, openapi, problems
from aitbc_coordinator.api.checks import Alerts, Checks
from aitbc_coordinator.api.limits import AddressLimit
from aitbc_coordinator.api.middleware import RequestLog, SizeLimit
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import endpoints as market
from aitbc_coordinator.rate_limit import RateLimit
from aitbc_coordinator.sessions import endpoints as sessions
from aitbc_coordinator.sessions import operator
from aitbc_coordinator.settlement import endpoints as settlement
from aitbc_coordinator.settlement import funding_endpoints
from aitbc_coordinator.settlement.fundings import Fundings

DESCRIPTION = """
A market for GPU hours in which nobody can take your money.

Money is decimal strings of base units, time is UTC seconds. What commits somebody is signed as
EIP-712 typed data in the domain of the market's escrow (`GET /v1/market`). Every error is a
`Problem` (RFC 9457): `code` is stable and for programs, `detail` and `hint` are for people.
"""


def create_app(
    context: Context,
    *,
    checks: Checks,
    alerts: Alerts,
    fundings: Fundings | None = None,
    machinery: operator.Machinery | None = None,
    url: str = DEFAULT_COORDINATOR_URL,
) -> FastAPI:
    """The API over `context`. `/readyz` reports `checks` and `alerts`, beside the database.

    Without `fundings` it takes no payments of buyers. `url` is where it listens: wallets sign in
    for it, unless the settings name a public one.
    """
    settings = context.settings
    app = FastAPI(
        title="aitbc coordinator",
        version=__version__,
        summary="Matches, meters and attests, and never holds money",
        description=DESCRIPTION,
        generate_unique_id_function=_operation_id,
        redoc_url=None,
    )
    app.state.context = context
    app.state.checks = checks
    app.state.alerts = alerts
    app.state.fundings = fundings
    app.state.machinery = machinery or operator.Machinery()
    app.state.audience = Audience.of(settings.public_url or url)
    most = settings.address_requests_per_minute
    app.state.sign_ins = RateLimit(min(most, sessions.MOST_SIGN_INS))
    routers = (market.router, market.quick_router, settlement.router, funding_endpoints.router)
    for router in (health.router, *routers, sessions.router):
        app.include_router(router)
    if settings.operators:
        app.include_router(operator.router)
    problems.install(app)
    openapi.install(app)
    # The last one is the first to see a request.
    app.add_middleware(SizeLimit)
    app.add_middleware(AddressLimit, RateLimit(settings.address_requests_per_minute))
    app.add_middleware(ProxyHeadersMiddleware, settings.proxies)
    app.add_middleware(RequestLog)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
