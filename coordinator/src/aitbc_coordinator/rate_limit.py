"""How often one client may ask: a sliding minute, counted in this process's memory."""

import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from aitbc_coordinator.errors import TooManyRequests

WINDOW_SECONDS = 60


class RateLimit:
    """Counts requests of clients. What was counted is forgotten after two windows.

    Args:
        most: requests of one client in a window; 0 for any number.
        window_seconds: how long a window is.
    """

    def __init__(self, most: int, window_seconds: int = WINDOW_SECONDS) -> None:
        self._most = most
        self._window = window_seconds
        self._rate = RateLimitItemPerSecond(most, window_seconds)
        self._counters = SlidingWindowCounterRateLimiter(MemoryStorage())

    def spend(self, client: str) -> None:
        """Count a request. Raises TooManyRequests, and counts nothing, where it is one too many."""
        if not self._most or self._counters.hit(self._rate, client):
            return
        frees_at, _ = self._counters.get_window_stats(self._rate, client)
        # Strictly after that moment, at which the count is still the old one.
        wait = math.floor(max(0.0, frees_at - time.time())) + 1
        raise TooManyRequests(
            f"{client} has made more than {self._most} requests in {self._window} s",
            retry_after=wait,
        )


class RequestLimit:
    """The limit as one request spends it: once for a client, however often its work is repeated."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._spent: set[str] = set()

    def spend(self, client: str) -> None:
        """As `RateLimit.spend`."""
        if client not in self._spent:
            self._limit.spend(client)
            self._spent.add(client)
