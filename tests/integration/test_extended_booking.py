"""A booking that is extended while it runs: nothing of either is lost between them."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from scraping import scrape

from aitbc.client import Coordinator
from checks import FAILED, NOT_AUTHORISED
from in_process import json_here
from local_market import LocalMarket, User

FIRST_SECONDS = 48
MORE_SECONDS = 10


def until(moment: int) -> None:
    while time.time() < moment:
        time.sleep(0.1)


def wait_until_settled(buyer: User, booking: str) -> Any:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        shown = json_here(buyer, "booking", "show", booking)
        if shown["status"] == "settled":
            return shown
        time.sleep(0.5)
    raise AssertionError(f"never settled: {shown}")


@pytest.mark.timeout(900)
def test_a_running_booking_is_extended_without_a_lost_second(
    token_market: LocalMarket, provider: User, buyer: User
) -> None:
    gpu = provider.json(
        *("marketplace", "gpu", "register", "--name", "Longer", "--memory", "24"),
        *("--cuda-version", "12.1", "--base-price", "36"),
    )
    assert (gpu["last_seen"], gpu["reachable"]) == (None, True)
    provider.json("provider", "session", "create")
    server = provider.start("provider", "serve", "--gpu-id", gpu["id"], "--interval", "1")
    duration = ("--duration", f"{FIRST_SECONDS}s")
    first = buyer.json("marketplace", "book", "--gpu-id", gpu["id"], *duration, "--yes")

    until(first["starts_at"] + 1)
    price = ("--base-price", "54", "--floor-price", "54", "--ceiling-price", "54")
    provider.json("marketplace", "gpu", "update", "--gpu-id", gpu["id"], *price, "--yes")
    extend = ("booking", "extend", first["id"], "--duration", f"{MORE_SECONDS}s")
    stranger = provider.run(*extend, "--yes")
    assert stranger.returncode == NOT_AUTHORISED, stranger.stderr
    done = buyer.run(*extend, "--yes", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "Extending booking" in done.stderr
    assert "54 (50 % more)" in done.stderr
    more = json.loads(done.stdout)
    assert more["starts_at"] == first["ends_at"]
    assert more["ends_at"] == first["ends_at"] + MORE_SECONDS
    assert more["gpu_id"] == gpu["id"]

    until(first["ends_at"] - 3)
    late = buyer.run(*extend, "--yes")
    assert late.returncode == FAILED
    assert f"too late to extend booking {first['short_id']}" in late.stderr
    assert "for which this market allows 8 s" in late.stderr

    until(more["ends_at"] + 1)
    settled = [wait_until_settled(buyer, booking["id"]) for booking in (first, more)]
    server.interrupt()
    assert server.wait(30) == 0, server.tail()
    assert [one["used_seconds"] for one in settled] == [FIRST_SECONDS, MORE_SECONDS]
    assert [one["refunded"] for one in settled] == ["0", "0"]
    with Coordinator(token_market.coordinator_url) as coordinator:
        proofs = [coordinator.evidence(booking["id"]) for booking in (first, more)]
    beats = [signed.heartbeat for proof in proofs for signed in proof.heartbeats]
    assert all(a.covers_until == b.covers_from for a, b in pairwise(beats))
    assert (beats[0].covers_from, beats[-1].covers_until) == (first["starts_at"], more["ends_at"])
    seen = provider.json("marketplace", "gpu", "show", gpu["id"])["last_seen"]
    assert seen is not None
    assert seen >= more["ends_at"] - 1

    metrics_port = int(token_market.coordinator_settings["AITBC_COORDINATOR_METRICS_PORT"])
    deadline = time.monotonic() + 30
    while scrape(metrics_port)["aitbc_settle_latency_seconds_count",] < len(settled):
        assert time.monotonic() < deadline, "its payouts were never counted"
        time.sleep(0.5)
    assert scrape(metrics_port)["aitbc_part_ok", "settler"] == 1

    closed = buyer.run(*extend, "--yes")
    assert closed.returncode == FAILED
    assert "the escrow holds no money" in closed.stderr
