"""One kind of database under load: a small market, a large one, and the yardstick."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from statistics import median

from aitbc.protocol.wire import API
from aitbc_coordinator.context import utc_now
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.database import Database
from aitbc_coordinator.market import hours
from local_market import LocalMarketError
from market_bench import baseline, load
from market_bench.databases import Kind
from market_bench.growing import grow
from market_bench.load import Load
from market_bench.people import DURATION, MATCH, NO_MATCH, People
from market_bench.servers import Coordinator, Server

GPUS, QUOTES = f"{API}/gpus", f"{API}/quotes"
CREATED, CONFLICT = 201, 409
GAS_PRICE = 10**8
"""Wei. Every booking here is worth settling then."""
SEED = 1
LEAD_SECONDS = 2 * 3600
"""From now until the first booking: more than a quote holds."""
SPREAD_SECONDS = 28 * 86_400
EDGE = 20
"""Quotes at the beginning and at the end of a hot slot whose median counts."""
LOG_CHARS = 2_000
MILLISECONDS = 1000


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    listed: int = 1_000
    """GPUs in the small market."""
    copies: int = 1_000
    """So many times as many are in the large one."""
    rounds: int = 5
    requests: int = 1_000
    """Of each sort, in a round."""
    hot: int = 1_000
    """Quotes in one slot, in a round."""
    connections: int = 32


class Subject:
    """`values` has what was measured, by name, a value for each round."""

    def __init__(
        self, kind: Kind, coordinator: Coordinator, scale: Scale, loader: Executor, folder: Path
    ) -> None:
        self.kind = kind
        self.values: dict[str, list[float]] = {}
        self._coordinator = coordinator
        self._scale = scale
        self._loader = loader
        self._folder = folder
        self._people = People(coordinator.market.domain)
        self._small_url = kind.market()
        self._servers = {"small": self._serve("small", self._small_url)}
        self._random = random.Random(SEED)  # noqa: S311 nothing secret
        self._slots = count()

    def register(self) -> None:
        """Put a round's share of the small market's GPUs on it."""
        bodies = self._people.listings(self._scale.listed // self._scale.rounds)
        done = self._post("small", GPUS, bodies)
        self._note("listings_per_second", done.per_second)

    def open(self) -> None:
        """Make the large market of the small one, and serve everything."""
        self.stop()
        large_url = self.kind.copy(self._small_url)
        for url in (self._small_url, large_url):
            database = Database(url)
            if url == large_url:
                grow(database, self._scale.copies)
            _follow(database)
            hours.record(self._coordinator.context(database))
            database.close()
        self._servers = {
            "small": self._serve("small", self._small_url),
            "large": self._serve("large", large_url),
            "yardstick": Server(baseline.create_app, self.kind.yardstick(), self._log("yardstick")),
        }

    def round(self) -> None:
        """Measure everything once, in turns."""
        yardstick = self._rows()
        small, large = (self._quotes(server, MATCH) for server in ("small", "large"))
        self._note("yardstick_per_second", yardstick.per_second)
        self._note("quotes_per_second", small.per_second)
        self._note("quote_ratio", small.per_second / yardstick.per_second)
        self._note("quote_median", large.median * MILLISECONDS)
        self._note("quote_p99", large.p99 * MILLISECONDS)
        self._note("quote_growth", large.median / small.median)
        for why, where in NO_MATCH.items():
            refused = self._quotes("large", where, CONFLICT)
            self._note(f"no_match_ratio_{why}", refused.median / large.median)
        self._note("quote_hot_growth", self._hot())
        self._note("memory", self._servers["large"].memory_mib)

    def stop(self) -> None:
        for server in self._servers.values():
            server.stop()
        self._servers = {}

    def _rows(self) -> Load:
        row = baseline.NewRow(
            buyer="0x" + "b0" * 20, gpu_id="g-7k3m9q", starts_at=0, ends_at=DURATION
        )
        bodies = [row.model_dump_json().encode()] * self._scale.requests
        return self._post("yardstick", baseline.PATH, bodies)

    def _quotes(self, server: str, where: str, status: int = CREATED) -> Load:
        """Requests for an hour, whose starts are spread over four weeks."""
        soonest = utc_now() + LEAD_SECONDS
        starts = [
            soonest + self._random.randrange(SPREAD_SECONDS) for _ in range(self._scale.requests)
        ]
        return self._post(server, QUOTES, self._people.requests(where, starts), status)

    def _hot(self) -> float:
        """Quotes in one slot, one after the other: what the last cost against the first."""
        start = utc_now() + LEAD_SECONDS + next(self._slots) * DURATION
        bodies = self._people.requests(MATCH, repeat(start, self._scale.hot))
        done = self._post("large", QUOTES, bodies, connections=1)
        return median(done.latencies[-EDGE:]) / median(done.latencies[:EDGE])

    def _post(
        self,
        server: str,
        path: str,
        bodies: Sequence[bytes],
        status: int = CREATED,
        *,
        connections: int | None = None,
    ) -> Load:
        url = self._servers[server].url + path
        most = connections or self._scale.connections
        done = self._loader.submit(load.post, url, bodies, most).result()
        if set(done.statuses) != {status}:
            log = self._log(server).read_text()[-LOG_CHARS:]
            raise LocalMarketError(f"POST {path} was answered with {done.statuses}:\n{log}")
        return done

    def _serve(self, name: str, url: str) -> Server:
        return Server(self._coordinator.app, url, self._log(name))

    def _log(self, server: str) -> Path:
        return self._folder / f"{self.kind.name}-{server}.log"

    def _note(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)


def _follow(database: Database) -> None:
    """The newest block is one of just now, as it is where somebody follows the chain."""
    with database.session() as session:
        session.add(
            ChainCursor(
                block_number=1,
                block_hash="0x" + "00" * 32,
                block_timestamp=utc_now(),
                gas_price=GAS_PRICE,
            )
        )
