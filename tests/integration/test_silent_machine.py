"""A machine that falls silent takes its GPU off a real market, and brings it back by itself."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from checks import FAILED
from in_process import json_here
from local_market import User


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 90
    while not what():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.5)


@pytest.mark.timeout(900)
def test_a_gpu_leaves_and_returns_with_its_machine(provider: User, buyer: User) -> None:
    gpu_id = provider.json(
        *("marketplace", "gpu", "register", "--name", "Comes-and-goes", "--memory", "24"),
        *("--cuda-version", "12.1", "--base-price", "36"),
    )["id"]
    provider.json("provider", "session", "create")

    def serve() -> Any:
        return provider.start("provider", "serve", "--gpu-id", gpu_id, "--interval", "1")

    def show() -> Any:
        return json_here(provider, "marketplace", "gpu", "show", gpu_id)

    def found() -> bool:
        gpus = json_here(buyer, "marketplace", "gpu", "list", "--where", f"id={gpu_id}")
        return [gpu["id"] for gpu in gpus] == [gpu_id]

    server = serve()
    wait_for(lambda: show()["last_seen"] is not None)
    assert found()
    server.interrupt()
    assert server.wait(30) == 0, server.tail()
    wait_for(lambda: not found())
    assert show()["reachable"] is False
    refused = buyer.run("marketplace", "quote", "--gpu-id", gpu_id, "--duration", "60s")
    assert refused.returncode == FAILED
    assert f"the machine of GPU {gpu_id} was heard last at" in refused.stderr

    server = serve()
    wait_for(found)
    quoted = buyer.json("marketplace", "quote", "--gpu-id", gpu_id, "--duration", "60s")
    assert quoted["gpu_id"] == gpu_id
    server.interrupt()
    assert server.wait(30) == 0, server.tail()
