"""Search: every filter, the order, and pages."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import Wallet, listing

GPUS: list[dict[str, Any]] = [
    {"name": "a", "region": "us-west", "memory_gib": 24, "cuda_version": "12.1"},
    {"name": "b", "region": "us-west", "memory_gib": 80, "cuda_version": "12.10"},
    {"name": "c", "region": "eu-west", "memory_gib": 48, "cuda_version": "13.0"},
    {"name": "d", "region": "eu-west", "memory_gib": 8, "cuda_version": "9.2"},
]
PRICES = {"a": 300, "b": 2**70, "c": 100, "d": 100}
MODELS = {"a": "NVIDIA RTX 4090", "b": "NVIDIA A100-80G", "c": "RTX_6000", "d": "RTX 6000"}


@pytest.fixture
def provider(client: TestClient, wallet: Callable[[], Wallet]) -> Wallet:
    """Somebody who lists all of GPUS."""
    made = wallet()
    for salt, gpu in enumerate(GPUS):
        base = PRICES[gpu["name"]]
        signed = listing(
            made,
            salt=salt,
            model=MODELS[gpu["name"]],
            base_price=base,
            floor_price=base // 2,
            ceiling_price=base * 2,
            **gpu,
        )
        answer = client.post("/v1/gpus", json=signed.model_dump(mode="json"))
        assert answer.status_code == 201, answer.text
    return made


def names(client: TestClient, **query: Any) -> set[str]:
    answer = client.get("/v1/gpus", params=query)
    assert answer.status_code == 200, answer.text
    return {gpu["listing"]["name"] for gpu in answer.json()["items"]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "abcd"),
        ({"region": "us-west"}, "ab"),
        ({"region": "moon"}, ""),
        ({"min_memory": 48}, "bc"),
        ({"cuda": "12.2"}, "bc"),
        ({"cuda": "12.1"}, "abc"),
        ({"cuda": "13"}, "c"),
        ({"model": "rtx"}, "acd"),
        ({"model": "6000"}, "cd"),
        ({"model": "X_6"}, "c"),
        ({"model": "%"}, ""),
        ({"name": "b"}, "b"),
        # With nothing booked, Market Balance asks for 80 % of the base price.
        ({"max_price": "240"}, "acd"),
        ({"max_price": "239"}, "cd"),
        ({"max_price": "80"}, "cd"),
        ({"max_price": "79"}, ""),
        ({"region": "eu-west", "min_memory": 24, "cuda": "12.0"}, "c"),
    ],
)
def test_filters(
    client: TestClient, provider: Wallet, query: dict[str, Any], expected: str
) -> None:
    assert names(client, **query) == set(expected)


def test_provider(client: TestClient, provider: Wallet, wallet: Callable[[], Wallet]) -> None:
    assert names(client, provider=provider.address.lower()) == set("abcd")
    assert names(client, provider=wallet().address) == set()


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 200])
@pytest.mark.parametrize("query", [{}, {"max_price": "240"}])
def test_pages_hold_each_gpu_once_in_order(
    client: TestClient, provider: Wallet, limit: int, query: dict[str, Any]
) -> None:
    found: list[tuple[int, str]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = client.get("/v1/gpus", params={"limit": limit, **query, **cursor}).json()
        assert len(page["items"]) <= limit
        found += [(int(gpu["listing"]["base_price"]), gpu["id"]) for gpu in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == sorted(set(found))
    assert len(found) == (3 if query else 4)


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "nonsense"},
        {"cursor": "é"},
        {"limit": 0},
        {"limit": 201},
        {"min_memory": 0},
        {"cuda": "12.x"},
        {"max_price": "-1"},
        {"max_price": "0.5"},
        {"provider": "0x12"},
        {"name": "\x00"},
        {"regoin": "us-west"},
    ],
)
def test_a_query_that_makes_no_sense(client: TestClient, query: dict[str, Any]) -> None:
    answer = client.get("/v1/gpus", params=query)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid"
    assert problem["detail"].startswith(next(iter(query)) + ": ")
