"""What is asked often is answered as everything else is, with less work."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from signed import Wallet, listing, quote_request

from aitbc_coordinator.api.quick_route import QuickRoute
from aitbc_coordinator.market.endpoints import quick_router

JSON = "application/json"
GENERAL = "application/json; charset=utf-8"
"""What the quick way leaves to FastAPI."""


@pytest.fixture
def body(client: TestClient, wallet: type[Wallet]) -> bytes:
    registered = client.post("/v1/gpus", json=listing(wallet()).model_dump(mode="json"))
    request = quote_request(wallet(), registered.json()["id"])
    return request.model_dump_json().encode()


def test_quotes_take_the_quick_way() -> None:
    assert [route.path for route in quick_router.routes] == ["/v1/quotes"]
    assert all(isinstance(route, QuickRoute) for route in quick_router.routes)


@pytest.mark.parametrize("first", [JSON, GENERAL])
def test_both_ways_answer_alike(client: TestClient, body: bytes, first: str) -> None:
    def post(content_type: str) -> tuple[int, str | None, object]:
        answer = client.post("/v1/quotes", content=body, headers={"Content-Type": content_type})
        return answer.status_code, answer.headers["content-type"], answer.json()

    status, content_type, made = post(first)
    assert (status, content_type) == (201, JSON)
    assert post(JSON) == post(GENERAL) == (200, JSON, made)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"request": {}}', b"[" * 9999])
def test_both_ways_refuse_alike(client: TestClient, content: bytes) -> None:
    answers = [
        client.post("/v1/quotes", content=content, headers={"Content-Type": content_type})
        for content_type in (JSON, GENERAL)
    ]
    quick, general = ((answer.status_code, answer.json()) for answer in answers)
    assert quick == general
    assert quick[1]["code"] == "invalid"


def test_what_is_no_json_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/quotes", content=body, headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_a_refusal_of_the_market_is_a_problem(client: TestClient, wallet: type[Wallet]) -> None:
    request = quote_request(wallet(), "g-nobody").model_dump_json()
    answer = client.post("/v1/quotes", content=request, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-gpu")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_document_describes_it_as_any_other(client: TestClient) -> None:
    assert isinstance(client.app, FastAPI)
    operation = client.app.openapi()["paths"]["/v1/quotes"]["post"]
    assert operation["operationId"] == "make_quote"
    assert operation["requestBody"]["content"][JSON]["schema"]["$ref"].endswith(
        "SignedQuoteRequest"
    )
    assert {"200", "201", "409", "422"} <= set(operation["responses"])
