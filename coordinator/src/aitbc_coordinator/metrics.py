"""What a coordinator counts for Prometheus while it works, and the port where it is read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram, start_http_server

from aitbc.errors import AitbcError

LATENCY_BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21_600, 86_400)
GAS_BUCKETS = (10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000, 120_000, 200_000)


class Metrics:
    """One process's own counts, since it began."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._latency = Histogram(
            "aitbc_settle_latency_seconds",
            "From a booking's end, or its dispute, until its payout was final.",
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._gas = Histogram(
            "aitbc_settle_gas_per_booking",
            "Gas of a settling transaction for each booking in it.",
            buckets=GAS_BUCKETS,
            registry=self.registry,
        )

    def settled(self, waited: Sequence[int], gas: int) -> None:
        """A transaction that used `gas` is final, and its bookings waited so many seconds."""
        for seconds in waited:
            self._latency.observe(seconds)
            self._gas.observe(gas / len(waited))


@contextmanager
def served(metrics: Metrics, host: str, port: int) -> Iterator[None]:
    """Answers Prometheus on a port of its own; on none if `port` is 0. Raises AitbcError."""
    if port == 0:
        yield
        return
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise AitbcError(
            f"cannot serve metrics on {host} port {port}: {error.strerror}",
            hint="set metrics_host and metrics_port to what is free, or metrics_port to 0",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
