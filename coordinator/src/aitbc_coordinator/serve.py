"""`aitbc-coordinator serve`: the API and the background workers in one process; `worker`: these."""

import gc
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvicorn
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from aitbc.chain.escrow import Escrow, checked_escrow
from aitbc.chain.node import NODE_FAILURES, reason
from aitbc.chain.token import payable_by
from aitbc.errors import AitbcError, ChainError, InvalidInput, UntrustedMarket
from aitbc.protocol.funding import RELAYABLE, PayBy
from aitbc.protocol.messages import Domain
from aitbc.protocol.wire import Market
from aitbc_coordinator import logs, metrics, migrations, nodes, signers
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.api.middleware import MAX_HEAD_BYTES
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.worth import coin_price, why_not_counted
from aitbc_coordinator.provision import NODE_HINT
from aitbc_coordinator.sessions.operator import Machinery
from aitbc_coordinator.settings import ENV_PREFIX, Settings
from aitbc_coordinator.settlement.watch import Watch
from aitbc_coordinator.settlement.workers import Workers

DATABASES = ("sqlite", "postgresql+psycopg")
SHUTDOWN_SECONDS = 10


class Server(uvicorn.Server):
    """Says on stdout where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"listening on {self._address}", flush=True)  # noqa: T201  # the interface

    def leave(self, _signal: int, _frame: object) -> None:
        self.should_exit = True


def database_url(settings: Settings) -> URL:
    """Raises InvalidInput for what is no URL, or one of a database that is not supported."""
    try:
        url = make_url(settings.database)
    except ArgumentError:
        url = URL.create("nothing")
    if url.drivername not in DATABASES:
        raise InvalidInput(
            "database_url is not the URL of a database that this program can use",
            hint=f"set {ENV_PREFIX}DATABASE_URL to postgresql+psycopg://USER@HOST/NAME, or to "
            "nothing for SQLite",
        )
    return url


def open_database(settings: Settings) -> Database:
    """The database at the newest schema. Raises AitbcError."""
    shown = database_url(settings).render_as_string(hide_password=True)
    database = Database(settings.database)
    try:
        migrations.upgrade(database)
    except SQLAlchemyError as error:
        database.close()
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise AitbcError(
            f"the database {shown} cannot be used: {reason}",
            hint=f"check that it runs, and {ENV_PREFIX}DATABASE_URL",
        ) from error
    return database


def open_market(settings: Settings, attester: str) -> tuple[Escrow, Market]:
    """The escrow, checked, and the market that it makes. Raises AitbcError."""
    domain = Domain(chain_id=settings.chain_id, escrow=settings.escrow)
    try:
        web3 = nodes.connect(settings.rpc_urls, settings.chain_id)
        escrow = checked_escrow(web3, domain, settings.contract)
        market = describe_market(settings, escrow)
    except UntrustedMarket as error:
        raise ChainError(
            str(error), hint=f"check {ENV_PREFIX}ESCROW and {ENV_PREFIX}CONTRACT"
        ) from error
    except ChainError as error:
        raise ChainError(str(error), hint=NODE_HINT) from error
    except NODE_FAILURES as error:
        raise ChainError(reason(error), hint=NODE_HINT) from error
    coin_price(settings, market.decimals)
    if market.attester != attester:
        raise ChainError(
            f"the escrow's attester is {market.attester}, this coordinator's is {attester}",
            hint="configure the escrow that was deployed for this attester: aitbc-coordinator init",
        )
    return escrow, market


def describe_market(settings: Settings, escrow: Escrow) -> Market:
    """What this coordinator says of its market: the escrow's own word where there is one."""
    parameters = escrow.parameters
    return Market.model_validate(
        {
            "name": settings.market_name,
            "chain_id": settings.chain_id,
            "contract": settings.contract,
            "escrow": settings.escrow,
            "token": parameters.token,
            "symbol": escrow.coin.symbol,
            "decimals": escrow.coin.decimals,
            "attester": parameters.attester,
            "arbiter": parameters.arbiter,
            "fee_bps": parameters.fee_bps,
            "fee_recipient": parameters.fee_recipient,
            "claim_window": parameters.claim_window,
            "deploy_block": settings.deploy_block,
            "rpc_url": settings.public_rpc_url,
            "confirmations": settings.confirmations,
            "quote_seconds": settings.quote_seconds,
            "minimum_seconds": settings.minimum_seconds,
            "maximum_seconds": settings.maximum_seconds,
            "maximum_lead_seconds": settings.maximum_lead_seconds,
            "heartbeat_allowance": settings.heartbeat_allowance,
            "unreachable_seconds": settings.unreachable_seconds,
            "relays": _relays(settings, escrow),
        }
    )


def _relays(settings: Settings, escrow: Escrow) -> list[PayBy]:
    """Which payments of buyers this coordinator sends: what the token can, if there is a budget."""
    if settings.relay_budget_gwei_per_day == 0:
        return []
    possible = payable_by(escrow)
    return [method for method in RELAYABLE if method in possible]


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AitbcError when it cannot begin."""
    with _coordinator(settings) as coordinator, listen(settings) as listener:
        context, handle = coordinator.context, coordinator.workers
        app = create_app(
            context,
            checks=handle.checks,
            alerts=handle.alerts,
            fundings=handle.fundings,
            machinery=Machinery(handle.leads, coordinator.watch.coin),
            url=url_of(listener),
        )
        with coordinator.at_work():
            _run(app, listener)


def work(settings: Settings) -> None:
    """Follow and settle until SIGTERM or SIGINT, without an API. Raises AitbcError as `serve`."""
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    with _coordinator(settings) as coordinator, coordinator.at_work():
        market = coordinator.context.market
        print(f"working for {market.escrow} on chain {market.chain_id}", flush=True)  # noqa: T201
        told_to_stop.wait()


@dataclass(frozen=True, slots=True)
class _Coordinator:
    context: Context
    workers: Workers
    watch: Watch

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Its background work goes on, and its metrics can be read."""
        context, settings = self.context, self.context.settings
        keep_what_there_is()
        self.workers.start()
        try:
            with metrics.served(context.metrics, settings.metrics_host, settings.metrics_port):
                yield
        finally:
            self.workers.stop()


@contextmanager
def _coordinator(settings: Settings) -> Iterator[_Coordinator]:
    """All parts, checked, and none of them at work yet."""
    configure_logs(settings)
    escrow, market = open_market(settings, signers.attester_address(settings))
    uncounted = why_not_counted(settings, market.fee_bps)
    if uncounted is not None:
        logs.get_logger().warning("settlements are not counted", reason=uncounted)
    keys = signers.open_all(settings)
    database = open_database(settings)
    try:
        context = Context(settings, database, market, Attester(keys.attester, market))
        workers = Workers(context, escrow, keys.relayers)
        relayers = [relayer.address for relayer in keys.relayers]
        watch = Watch(
            context,
            escrow,
            relayers,
            checks=workers.checks,
            leads=workers.leads,
            troubled=workers.troubled_relayers,
        )
        context.metrics.registry.register(watch)
        yield _Coordinator(context, workers, watch)
    finally:
        database.close()


def keep_what_there_is() -> None:
    """Spare the garbage collector what stays until the end: modules, routes, statements."""
    gc.collect()
    gc.freeze()


def _run(app: object, listener: socket.socket) -> None:
    server = Server(server_config(app), url_of(listener))
    # uvicorn handles these itself while it runs, and hands them on to these handlers after it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.leave)
    server.run(sockets=[listener])


def server_config(app: object) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # FastAPI's own type is wider than uvicorn's
        log_config=None,
        access_log=False,
        http="h11",
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws="none",
        proxy_headers=False,  # The application does that, for the proxies of its settings.
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def listen(settings: Settings) -> socket.socket:
    """The socket to serve on. Raises AitbcError where it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sends an answer's parts at once only where it sees that a socket is TCP's.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise AitbcError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            hint="choose another port with --port; 0 picks a free one",
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where it listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configure_logs(settings: Settings) -> None:
    """Keep what may be a key in a configured URL out of the log."""
    logs.configure(secrets_of(settings))


def secrets_of(settings: Settings) -> list[str]:
    """What may be a key in a configured URL."""
    candidates = [database_url(settings).password, *signers.secrets(settings)]
    for url in (*settings.rpc_urls, settings.webhook_url):
        parts = urlsplit(url)
        candidates += [parts.path, parts.query, parts.password]
    return [text for text in candidates if text and text != "/"]
