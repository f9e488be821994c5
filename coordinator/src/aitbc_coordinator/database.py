"""The database: SQLite in one process out of the box, PostgreSQL by changing the URL."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    ColumnClause,
    ColumnElement,
    Dialect,
    Engine,
    String,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Session, SQLModel

from aitbc_coordinator.group_commit import GroupCommit

AMOUNT_DIGITS = 78
SQLITE_BUSY_SECONDS = 30
CONNECTIONS = 40
"""As many as the API has threads, so that none waits for a connection."""
POSTGRES_WRITERS = 2
"""Transactions in which requests are served at a time; more wait for each other. SQLite has one."""

ROWS = "rows"
"""The parameter of `rows_as_json`."""

Result = TypeVar("Result")


def among(column: Any, name: str, of: type[TypeEngine[Any]] = Text) -> ColumnElement[bool]:
    """SQL: whether a column has one of the values of the collection that the parameter `name` is.

    However many they are, the statement and its one parameter stay the same, unlike with `IN`.
    """
    return _Among(column, bindparam(name, type_=_Listed(of)))


class _Listed(TypeDecorator[Collection[Any]]):
    """Values as one parameter: an array, or JSON where the database has no arrays."""

    impl = Text
    cache_ok = True

    def __init__(self, of: type[TypeEngine[Any]]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(self.of))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        values = list(value)
        return json.dumps(values) if dialect.name == "sqlite" else values


class _Among(FunctionElement[bool]):
    name = "among"
    type = Boolean()
    inherit_cache = True


@compiles(_Among, "sqlite")
def _among_json(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  # clauses of SQL, no values


@compiles(_Among, "postgresql")
def _among_array(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({values})"


def insert_rows(
    session: Session,
    model: type[SQLModel],
    rows: Sequence[Mapping[str, Any]],
    *,
    changing: tuple[str, ...] = (),
) -> None:
    """Insert rows, all with the same columns, of which no objects are needed.

    Of those whose key is there already, the columns `changing` are changed.
    """
    if not rows:
        return
    names, connection = tuple(rows[0]), session.connection()
    insertion = _insertion(model, names, changing, connection.dialect)
    # Past SQLAlchemy, which takes longer to look at so many parameters than a database does.
    connection.exec_driver_sql(insertion.sql, insertion.parameters(rows))


class _Insertion(NamedTuple):
    """How rows with these columns are inserted, in the words of the driver."""

    sql: str
    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    """Names, and what makes of their values those that the database stores."""
    one_by_one: bool
    """Whether it is given row by row, or all of them at once as JSON."""

    def parameters(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        stored = [
            tuple(row[name] if store is None else store(row[name]) for name, store in self.columns)
            for row in rows
        ]
        if self.one_by_one:
            return stored
        names = [name for name, _ in self.columns]
        return {ROWS: json.dumps([dict(zip(names, row, strict=True)) for row in stored])}


@lru_cache
def _insertion(
    model: type[SQLModel], names: tuple[str, ...], changing: tuple[str, ...], dialect: Dialect
) -> _Insertion:
    table = SQLModel.metadata.tables[str(model.__tablename__)]
    types = [(name, table.c[name].type) for name in names]
    one_by_one = dialect.name == "sqlite"
    statement: Any
    if one_by_one:
        statement = sqlite.insert(table).values({name: bindparam(name) for name in names})
    else:
        source = select(*rows_as_json(*(column(name, type_) for name, type_ in types)).c)
        statement = postgresql.insert(table).from_select(names, source)
    if changing:
        values = {name: statement.excluded[name] for name in changing}
        statement = statement.on_conflict_do_update(index_elements=table.primary_key, set_=values)
    compiled = statement.compile(dialect=dialect)
    ordered = compiled.positiontup or names
    stored = {name: type_.dialect_impl(dialect).bind_processor(dialect) for name, type_ in types}
    columns = tuple((name, stored[name]) for name in ordered)
    return _Insertion(str(compiled), columns, one_by_one)


def rows_as_json(*columns: ColumnClause[Any]) -> TableValuedAlias:
    """Rows with these columns, which are given as a JSON text; on PostgreSQL alone."""
    given = func.json_to_recordset(cast(bindparam(ROWS, type_=Text), JSON))
    return given.table_valued(*columns).render_derived(with_types=True)


class AmountColumn(TypeDecorator[int]):
    """Money in base units: beyond 64 bits, so stored as digits padded to sort as numbers do."""

    impl = String(AMOUNT_DIGITS)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        del dialect
        if value is None:
            return None
        if value < 0:
            raise ValueError("an amount is never negative")
        return str(value).rjust(AMOUNT_DIGITS, "0")

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        del dialect
        return None if value is None else int(value)


class Transactions(Protocol):
    """What a part needs that reads, and writes as a whole or not at all."""

    def read(self) -> AbstractContextManager[Session]:
        """A transaction that writes nothing."""

    def transact(self, work: Callable[[Session], Result]) -> Result:
        """The result of `work`, run as a whole or not at all."""


class Database:
    """An engine, and sessions that commit as a whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        one_writer = self.engine.dialect.name == "sqlite"
        self._group = GroupCommit(self.engine, 1 if one_writer else POSTGRES_WRITERS)
        self._turn = self._group.pause if one_writer else nullcontext

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed on leaving, rolled back when anything is raised."""
        with (
            self._turn(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that writes nothing, and waits for no writer."""
        with (
            self.engine.connect().execution_options(aitbc_read_only=True) as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session

    def transact(self, work: Callable[[Session], Result]) -> Result:
        """The result of `work`, run as a whole or not at all, repeated where it met another.

        It is committed together with what others do at the same time. `work` looks before it
        writes; a conflict means that it looked too early. Raises what it raises, and SQLAlchemy's
        DBAPIError when every attempt met a conflict.
        """
        return self._group.submit(work).result()

    async def write(self, work: Callable[[Session], Result]) -> Result:
        """`transact` for a coroutine, which holds no thread while it waits."""
        return await asyncio.wrap_future(self._group.submit(work))

    def close(self) -> None:
        self._group.close()
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(
            url, pool_pre_ping=True, pool_size=CONNECTIONS, max_overflow=0, hide_parameters=True
        )
    engine = create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
        pool_size=CONNECTIONS,
        max_overflow=0,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # SQLAlchemy, not the driver, opens transactions: see `_begin`.
        connection.isolation_level = None
        _use_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A deferred transaction that upgrades to a write fails at once when another one writes.
        reading = connection.get_execution_options().get("aitbc_read_only", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: Any) -> None:
    """Switch a file to WAL. SQLite's own time-out does not wait for others that do the same."""
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
