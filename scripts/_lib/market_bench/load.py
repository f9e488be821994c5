"""Many requests over some connections, and how long each took; runs in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import aiohttp

from local_market import LocalMarketError


@dataclass(frozen=True)
class Load:
    """What was measured. Times are seconds; `latencies` are in the order of the answers."""

    seconds: float
    latencies: tuple[float, ...]
    statuses: dict[int, int]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def median(self) -> float:
        return median(self.latencies)

    @property
    def p99(self) -> float:
        return quantiles(self.latencies, n=100, method="inclusive")[98]


def post(url: str, bodies: Sequence[bytes], connections: int) -> Load:
    """Send each body once; a connection sends its next one when it has its answer.

    Raises LocalMarketError where there is none.
    """
    try:
        return asyncio.run(_post(url, bodies, connections))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise LocalMarketError(f"POST {url} had no answer: {error or 'too late'}") from None


async def _post(url: str, bodies: Sequence[bytes], connections: int) -> Load:
    waiting = iter(bodies)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()

    async def client(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            began = time.perf_counter()
            async with session.post(url, data=body, headers=_JSON) as answer:
                await answer.read()
            latencies.append(time.perf_counter() - began)
            statuses[answer.status] += 1

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(connections)))
        seconds = time.perf_counter() - began
    return Load(seconds, tuple(latencies), dict(statuses))


_JSON = {"Content-Type": "application/json"}
