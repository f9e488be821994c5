"""The yardstick: an endpoint that commits one row through AsyncSession and SQLModel."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy import BigInteger, Engine, MetaData, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from aitbc_coordinator.database import SQLITE_BUSY_SECONDS

PATH = "/rows"
SQLITE_CONNECTIONS = 15
POSTGRES_CONNECTIONS = 5
"""Of 1, 5, 15 and 32 connections, those with which the most rows were committed in a second."""


class NewRow(SQLModel):
    """About as much as a buyer says in a request."""

    buyer: str
    gpu_id: str
    starts_at: int = Field(sa_type=BigInteger)
    ends_at: int = Field(sa_type=BigInteger)


class Row(NewRow, table=True):
    __tablename__ = "yardstick_row"
    metadata = MetaData()
    """Its own: the table is none of the coordinator's."""

    id: int | None = Field(default=None, primary_key=True)


def create_table(engine: Engine) -> None:
    Row.metadata.create_all(engine)


def create_app(url: str) -> FastAPI:
    """The application over the database at `url`, which is an async driver's."""
    engine = make_engine(url)
    app = FastAPI()

    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine, expire_on_commit=False) as opened:
            yield opened

    @app.post(PATH, status_code=201)
    async def add_row(row: NewRow, session: Annotated[AsyncSession, Depends(session)]) -> Row:
        stored = Row.model_validate(row)
        session.add(stored)
        await session.commit()
        return stored

    return app


def make_engine(url: str) -> AsyncEngine:
    """An engine as durable as the coordinator's own, with as many connections as serve it best."""
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=POSTGRES_CONNECTIONS, max_overflow=0)
    engine = create_async_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
        pool_size=SQLITE_CONNECTIONS,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
