"""A coordinator cannot sell a buyer another GPU than the one that was asked for."""

from typing import Any

import pytest
from lying import lying_coordinator
from people import Provider

from local_market import LocalMarket, User

DURATION = ("--duration", "5s", "--yes")


@pytest.fixture(scope="module")
def cheap(token_market: LocalMarket) -> dict[str, Any]:
    """A small GPU that a liar would rather sell, as the coordinator shows it."""
    owner = Provider(token_market)
    gpu_id = owner.list_gpu(memory_gib=8, base_price=1_000, floor_price=1_000)
    return owner.coordinator.gpu(gpu_id).model_dump(mode="json")


def test_another_gpu_for_the_id(
    token_market: LocalMarket, buyer: User, cheap: dict[str, Any]
) -> None:
    wanted = Provider(token_market).list_gpu()
    url, path = token_market.coordinator_url, f"/v1/gpus/{wanted}"
    money = token_market.money_of(buyer.address)
    with lying_coordinator(url, path, lambda gpu: gpu.update(cheap)) as liar:
        done = buyer.run(
            *("marketplace", "book", "--gpu-id", wanted, *DURATION), AITBC_COORDINATOR_URL=liar
        )
    assert done.returncode == 1
    assert f"asked for GPU {wanted}" in done.stderr
    assert token_market.money_of(buyer.address) == money


@pytest.mark.parametrize(
    ("claims", "says"),
    [({}, "is not memory>=20, which was asked for"), ({"memory_gib": 96}, "signer of the listing")],
)
def test_a_gpu_that_does_not_fit(
    token_market: LocalMarket,
    buyer: User,
    cheap: dict[str, Any],
    claims: dict[str, Any],
    says: str,
) -> None:
    Provider(token_market).list_gpu(memory_gib=24)
    sold = {"listing": {**cheap["listing"], **claims}, "signature": cheap["signature"]}

    def sell(answer: dict[str, Any]) -> None:
        answer["items"][0]["gpu"] = sold

    money = token_market.money_of(buyer.address)
    with lying_coordinator(token_market.coordinator_url, "/v1/quotes", sell) as liar:
        done = buyer.run(
            *("marketplace", "book", "--min-memory", "20", *DURATION), AITBC_COORDINATOR_URL=liar
        )
    assert done.returncode == 1
    assert says in done.stderr
    assert token_market.money_of(buyer.address) == money
