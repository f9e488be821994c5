"""What Prometheus would read."""

import socket

import httpx
from prometheus_client.parser import text_string_to_metric_families


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def scrape(port: int) -> dict[tuple[str, ...], float]:
    """The samples that are served on a port of this machine, by name and label values."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
