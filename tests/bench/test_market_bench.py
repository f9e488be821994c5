"""`./scripts/bench market` on a tiny market, and what its rows are made of."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, func, text
from sqlmodel import Session, select
from test_gas import bench, rows_by_id

from aitbc.protocol import wire
from aitbc_coordinator.database import Database
from aitbc_coordinator.market import listings
from aitbc_coordinator.market.models import Gpu, GpuClass, Listing
from local_market import LocalMarketError
from market_bench import baseline, load, measure
from market_bench.databases import Kind, kinds
from market_bench.growing import grow
from market_bench.people import People
from market_bench.servers import Server
from market_bench.subject import Scale

GOALS = {
    "quote_ratio_sqlite": ("least", 2),
    "quote_ratio_postgres": ("least", 1),
    "quote_growth_sqlite": ("most", 1.3),
    "quote_growth_postgres": ("most", 1.3),
    "quote_hot_growth": ("most", 2),
    "no_match_ratio": ("most", 3),
}
BESIDE = {
    f"{name}_{kind}"
    for name in ("quote_p99", "listings_per_second", "memory")
    for kind in ("sqlite", "postgres")
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kind, Kind]]:
    with kinds(tmp_path_factory.mktemp("databases")) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest, both: tuple[Kind, Kind]) -> Kind:
    return next(kind for kind in both if kind.name == request.param)


def test_a_small_run_has_every_row() -> None:
    done = bench("market", "--small", "--json")
    assert done.returncode == 0, done.stderr
    rows = rows_by_id(json.loads(done.stdout))

    goals = {name: (row["bound"], row["goal"]) for name, row in rows.items() if row["goal"]}
    assert goals == GOALS
    assert set(rows) > BESIDE
    assert all(row["value"] > 0 for row in rows.values())
    assert "round 2 of 2" in done.stderr


def noted(**values: list[float]) -> Any:
    """A subject after its rounds: with these values for SQLite, and ones for PostgreSQL."""
    names = [figure.name for figure in (*measure.FIGURES, measure.HOT, *measure.NO_MATCHES)]
    ones = {name: [1.0, 1.0, 1.0] for name in names}
    return [
        SimpleNamespace(kind=SimpleNamespace(name=kind), values=ones | more)
        for kind, more in (("sqlite", values), ("postgres", {}))
    ]


def test_a_row_is_the_median_of_its_rounds() -> None:
    rows = {row.id: row for row in measure.rows(noted(quote_ratio=[9.0, 2.1, 0.1]))}
    assert (rows["quote_ratio_sqlite"].value, rows["quote_ratio_sqlite"].holds) == (2.1, True)
    assert (rows["quote_ratio_postgres"].value, rows["quote_ratio_postgres"].holds) == (1, True)


def test_the_worst_kind_of_no_match_counts() -> None:
    rows = {row.id: row for row in measure.rows(noted(no_match_ratio_price=[3.5, 3.5, 1.0]))}
    assert (rows["no_match_ratio"].value, rows["no_match_ratio"].holds) == (3.5, False)
    assert "no_match_ratio_price_sqlite" in rows["no_match_ratio"].what
    assert rows["quote_hot_growth"].holds


def test_the_yardstick_commits_each_row(kind: Kind, tmp_path: Path) -> None:
    url = kind.yardstick()
    server = Server(baseline.create_app, url, tmp_path / "log")
    try:
        row = baseline.NewRow(buyer="0x", gpu_id="g", starts_at=1, ends_at=2).model_dump_json()
        done = load.post(server.url + baseline.PATH, [row.encode()] * 20, 4)
        assert server.memory_mib > 1
    finally:
        server.stop()
    engine = create_engine(url.replace(kind.async_driver, kind.driver, 1))
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(baseline.Row)) == 20
    engine.dispose()
    assert done.statuses == {201: 20}
    assert len(done.latencies) == 20
    assert 0 < done.median <= done.p99 <= done.seconds


def test_the_yardstick_is_as_durable_as_the_coordinator(kind: Kind) -> None:
    names = ["journal_mode", "synchronous", "foreign_keys"]
    statements = [f"PRAGMA {name}" for name in names]
    if kind.name == "postgres":
        statements = ["SHOW fsync", "SHOW synchronous_commit", "SHOW full_page_writes"]

    async def of_yardstick() -> list[Any]:
        engine = baseline.make_engine(kind.yardstick())
        async with engine.connect() as connection:
            found = [await connection.scalar(text(each)) for each in statements]
        await engine.dispose()
        return found

    database = Database(kind.market())
    with database.engine.connect() as connection:
        ours = [connection.scalar(text(each)) for each in statements]
    database.close()
    assert asyncio.run(of_yardstick()) == ours
    assert ours in (["wal", 2, 1], ["on", "on", "on"])


def test_every_gpu_is_copied_with_its_listing(kind: Kind, tmp_path: Path) -> None:
    coordinator = measure.new_coordinator(tmp_path)
    database = Database(kind.market())
    context = coordinator.context(database)
    for body in People(coordinator.market.domain).listings(6):
        signed = wire.SignedListing.model_validate_json(body)
        with database.session() as session:
            listings.register(context, session, signed)

    grow(database, 4)

    with database.read() as session:
        gpus = session.exec(select(Gpu).where(Gpu.listed)).all()
        counted = session.scalar(select(func.sum(GpuClass.listed)))
        of_gpus = {row.digest: row.gpu_id for row in session.exec(select(Listing))}
    database.close()
    assert len({gpu.id for gpu in gpus}) == counted == 24
    assert of_gpus == {gpu.digest: gpu.id for gpu in gpus}


def test_an_answer_that_is_not_the_expected_one_is_no_figure() -> None:
    scale = Scale(listed=2, copies=2, rounds=1, requests=2, hot=4, connections=1)
    with pytest.raises(LocalMarketError, match=r"/v1/quotes was answered with \{201: 2, 409: 2\}"):
        measure.measure(scale)


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(LocalMarketError, match="Could not parse SQLAlchemy URL"):
        Server(baseline.create_app, "no-url", tmp_path / "log")


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(LocalMarketError, match=r"POST http://127\.0\.0\.1:1/ had no answer"):
        load.post("http://127.0.0.1:1/", [b"{}"], 1)
