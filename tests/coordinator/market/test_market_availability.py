"""A GPU is quoted only when its provider offers it: weekly windows, and maintenance."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Clock, listing, quote_request

from aitbc.protocol import availability, wire

# NOW is Friday, 2027-01-15, 08:00 UTC: midnight of us-west.
HOUR = 3_600
MIDNIGHT = NOW


@pytest.fixture
def provider(wallet: Any) -> Any:
    return wallet()


@pytest.fixture
def buyer(wallet: Any) -> Any:
    return wallet()


def register(client: TestClient, provider: Any, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/gpus", json=listing(provider, **changes).model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def ask(client: TestClient, buyer: Any, gpu: str, starts_at: int, duration: int) -> Any:
    described = {"where": ""} if gpu else {"where": "memory>=1", "max_price": 2**80}
    fields = {"starts_at": starts_at, "duration": duration, "salt": starts_at + duration}
    body = quote_request(buyer, gpu, **(fields | described))
    return client.post("/v1/quotes", json=body.model_dump(mode="json"))


def test_a_quote_lies_within_the_windows_on_the_regions_clock(
    client: TestClient, provider: Any, buyer: Any
) -> None:
    gpu = register(client, provider, available="fri 02:00-fri 05:00")
    assert gpu["free_from"] == MIDNIGHT + 2 * HOUR
    inside, outside = MIDNIGHT + 2 * HOUR, MIDNIGHT + 2 * HOUR - 60
    for starts_at, duration in ((outside, 3 * HOUR), (inside, 3 * HOUR + 60)):
        refused = ask(client, buyer, gpu["id"], starts_at, duration)
        assert (refused.status_code, refused.json()["code"]) == (409, "unavailable")
        assert "on the clock of us-west: fri 02:00-fri 05:00" in refused.json()["detail"]
        unmatched = ask(client, buyer, "", starts_at, duration).json()
        assert unmatched["code"] == "no-match"
        assert unmatched["no_match"]["taken"] == 1
    assert f"from {inside} " in ask(client, buyer, gpu["id"], outside, HOUR).json()["detail"]
    for seconds, says in ((4 * HOUR, "not within 35 days of that"), (5 * HOUR, "never for so")):
        assert says in ask(client, buyer, gpu["id"], inside, seconds).json()["detail"]
    quoted = ask(client, buyer, "", inside, 3 * HOUR)
    assert quoted.status_code == 201
    assert (
        client.get(f"/v1/gpus/{gpu['id']}").json()["free_from"]
        == inside + 3 * HOUR + 6 * 86_400 + 21 * HOUR
    )


def test_maintenance_is_not_quoted(client: TestClient, provider: Any, buyer: Any) -> None:
    begins, ends = NOW + HOUR, NOW + 2 * HOUR
    gpu = register(client, provider, maintenance_from=begins, maintenance_until=ends)["id"]
    refused = ask(client, buyer, gpu, begins - 599, 600)
    assert refused.json()["code"] == "unavailable"
    assert f"from {ends} " in refused.json()["detail"]
    assert ask(client, buyer, gpu, begins - 600, 600).status_code == 201
    assert ask(client, buyer, gpu, ends, 600).status_code == 201


def test_the_match_takes_another_that_is_offered(
    client: TestClient, provider: Any, buyer: Any
) -> None:
    register(client, provider, base_price=20_000, available="mon 02:00-mon 05:00")
    other = register(client, provider, salt=2, name="other")["id"]
    (quote,) = ask(client, buyer, "", NOW + HOUR, HOUR).json()["items"]
    assert quote["gpu_id"] == other


def test_what_is_reserved_and_what_is_offered_count_together(
    client: TestClient, provider: Any, buyer: Any
) -> None:
    gpu = register(client, provider, available="fri 02:00-fri 05:00,sat 02:00-sat 05:00")["id"]
    assert ask(client, buyer, gpu, MIDNIGHT + 3 * HOUR, 2 * HOUR).status_code == 201
    taken = ask(client, buyer, gpu, MIDNIGHT + 2 * HOUR, 2 * HOUR).json()
    assert taken["code"] == "taken"
    assert f"from {MIDNIGHT + 26 * HOUR} " in taken["detail"]


def test_a_change_leaves_quotes_alone(
    client: TestClient, provider: Any, buyer: Any, clock: Clock
) -> None:
    gpu = register(client, provider)["id"]
    quoted = ask(client, buyer, gpu, NOW + HOUR, HOUR)
    changed = listing(provider, version=2, maintenance_from=NOW, maintenance_until=NOW + 9 * HOUR)
    answer = client.put(f"/v1/gpus/{gpu}", json=changed.model_dump(mode="json"))
    assert answer.json()["free_from"] == NOW + 9 * HOUR
    assert ask(client, buyer, gpu, NOW + HOUR, HOUR).json() == quoted.json()


@pytest.mark.parametrize(
    "changes",
    [
        {"available": "fri 05:00-fri 06:00,fri 02:00-fri 03:00"},
        {"available": "fri 02:00-fri 03:00,fri 03:00-fri 04:00"},
        {"available": "mon-fri 18:00-08:00"},
        {"available": "mon 00:00-mon 00:00"},
        {"maintenance_from": 5, "maintenance_until": 5},
        {"maintenance_from": 5, "maintenance_until": 4},
    ],
)
def test_it_is_said_in_one_form_only(
    client: TestClient, provider: Any, changes: dict[str, Any]
) -> None:
    body = listing(provider).model_dump(mode="json")
    refused = client.post("/v1/gpus", json=body | {"listing": body["listing"] | changes})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


def test_a_maintenance_ends_within_a_year_and_is_not_looked_past(
    client: TestClient, provider: Any, buyer: Any
) -> None:
    year = availability.MAINTENANCE_DAYS * 86_400
    never = {"maintenance_from": NOW, "maintenance_until": NOW + year + 1}
    body = listing(provider).model_dump(mode="json")
    refused = client.post("/v1/gpus", json=body | {"listing": body["listing"] | never})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert "at most 366 days after" in refused.json()["detail"]
    gpu = register(client, provider, maintenance_from=NOW, maintenance_until=NOW + year)
    assert gpu["free_from"] is None
    wire.Gpu.model_validate(gpu)
    refused = ask(client, buyer, gpu["id"], NOW + HOUR, HOUR)
    assert refused.json()["code"] == "unavailable"
    assert "not within 35 days of that start" in refused.json()["detail"]
