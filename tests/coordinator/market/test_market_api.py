"""What every endpoint shares: problems, limits, health, the OpenAPI document, and the log."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from signed import Wallet, listing, quote_request
from sqlalchemy import text

from aitbc.protocol import wire
from aitbc_coordinator import logs
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context

broken = APIRouter()


@broken.get("/broken")
def break_down() -> None:
    raise RuntimeError("secret-detail of http://user:hunter2@node/")


@pytest.fixture
def fresh_log() -> Iterator[io.StringIO]:
    """The log of one test."""
    handlers = logging.getLogger().handlers
    stream = io.StringIO()
    logs.configure(["api-key-123"], stream=stream)
    yield stream
    logging.getLogger().handlers = handlers


def entries(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def problem_of(answer: Any, status: int) -> wire.Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = wire.Problem.model_validate(answer.json())
    assert problem.status == status
    assert "\n" not in problem.detail
    return problem


def test_the_market_describes_itself(client: TestClient, market: wire.Market) -> None:
    assert wire.Market.model_validate(client.get("/v1/market").json()) == market


def test_paths_and_methods_that_do_not_exist(client: TestClient) -> None:
    for path in ("/v1/nothing", "/v1/no%0Athing", "/"):
        assert problem_of(client.get(path), 404).code == "no-such-path"
    refused = client.delete("/v1/market")
    assert problem_of(refused, 405).code == "method-not-allowed"
    assert refused.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"listing": {"memory_gib": 0}}, "listing.memory_gib: "),
        ({"listing": {"base_price": 0.5}}, "listing.base_price: "),
        ({"listing": {"base_price": "-1"}}, "listing.base_price: expected base units"),
        ({"listing": {"cuda_version": "twelve"}}, "listing.cuda_version: "),
        ({"listing": {"name": "a\nb"}}, "listing.name: "),
        ({"listing": {"surprise": 1}}, "listing.surprise: "),
        ({"signature": "nonsense"}, "signature: expected a signature"),
        ({"surprise": 1}, "surprise: "),
    ],
)
def test_a_body_that_makes_no_sense_names_the_field(
    client: TestClient, wallet: Callable[[], Wallet], change: dict[str, Any], detail: str
) -> None:
    body = listing(wallet()).model_dump(mode="json")
    body["listing"] |= change.get("listing", {})
    body |= {key: value for key, value in change.items() if key != "listing"}
    problem = problem_of(client.post("/v1/gpus", json=body), 422)
    assert problem.code == "invalid"
    assert problem.detail.startswith(detail)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_a_body_that_is_not_an_object(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/gpus", content=body, headers=headers)
    assert problem_of(answer, 422).code == "invalid"


def test_a_number_that_is_too_long_to_parse(client: TestClient) -> None:
    answer = client.post(
        "/v1/gpus", content=b"1" * 5000, headers={"content-type": "application/json"}
    )
    assert problem_of(answer, 400).code == "invalid"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(client: TestClient, chunked: bool) -> None:
    def post(size: int) -> Any:
        body = b" " * size
        return client.post("/v1/gpus", content=iter([body]) if chunked else body)

    assert problem_of(post(65_537), 413).code == "too-large"
    assert post(65_536).status_code == 422


def test_health_is_told_apart_from_readiness(context: Context) -> None:
    checks, alerts = {"node": "ok", "follower": "ok"}, ["booking b-1 needs a person"]
    client = TestClient(create_app(context, checks=lambda: checks, alerts=lambda: alerts))
    assert client.get("/healthz").json() == {"status": "ok", "checks": {}, "alerts": []}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ok",
        "checks": {"database": "ok", "node": "ok", "follower": "ok"},
        "alerts": alerts,
    }
    checks["follower"] = "12 blocks behind"
    behind = client.get("/readyz")
    assert (behind.status_code, behind.json()["status"]) == (503, "not ready")
    assert behind.json()["checks"]["follower"] == "12 blocks behind"
    assert client.get("/healthz").status_code == 200


def test_a_database_without_its_tables_is_not_ready(context: Context) -> None:
    with context.database.session() as session:
        session.execute(text("ALTER TABLE chain_cursor RENAME TO elsewhere"))
    answer = TestClient(create_app(context, checks=dict, alerts=list)).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] != "ok"


def test_a_defect_is_a_problem_and_its_traceback_is_in_the_log_alone(
    context: Context, fresh_log: io.StringIO
) -> None:
    app = create_app(context, checks=dict, alerts=list)
    app.include_router(broken)
    client = TestClient(app)
    answer = client.get("/broken")
    problem = problem_of(answer, 500)
    assert problem.code == "internal"
    assert "secret-detail" not in answer.text
    failed, request = entries(fresh_log)
    assert "RuntimeError: secret-detail" in failed["exception"]
    assert "hunter2" not in fresh_log.getvalue()
    assert failed["request_id"] == request["request_id"] == answer.headers["x-request-id"]
    assert request["status"] == 500


def test_every_request_is_logged_without_what_it_carries(
    client: TestClient, wallet: Callable[[], Wallet], fresh_log: io.StringIO
) -> None:
    signed = listing(wallet())
    gpu_id = client.post("/v1/gpus", json=signed.model_dump(mode="json")).json()["id"]
    request = quote_request(wallet(), gpu_id)
    client.post("/v1/quotes?passphrase=hunter2", json=request.model_dump(mode="json"))
    client.get(f"/v1/gpus/{gpu_id}")
    first, second, third = entries(fresh_log)
    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/gpus", 201)
    assert (second["route"], second["status"]) == ("/v1/quotes", 201)
    assert third["route"] == "/v1/gpus/{gpu_id}"
    assert all(isinstance(entry["ms"], int) for entry in (first, second, third))
    for secret in (signed.signature, request.signature, "hunter2"):
        assert secret[2:] not in fresh_log.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"passphrase": "hunter2"},
        {"private_key": "hunter2"},
        {"privateKey": "hunter2"},
        {"signature": "hunter2"},
        {"request_signature": "hunter2"},
        {"headers": {"Authorization": "hunter2"}},
        {"settings": [{"password": "hunter2"}]},
        {"url": "postgresql+psycopg://user:hunter2@host/name"},
        {"urls": ["https://hunter2@host"]},
        {"error": ValueError("cannot reach https://user:hunter2@host/path")},
        {"url": "https://node/v3/api-key-123"},
    ],
)
def test_secrets_never_reach_the_log(fresh_log: io.StringIO, fields: dict[str, Any]) -> None:
    logs.get_logger().warning("something happened", **fields)
    logging.getLogger("a library").warning("happened", extra=fields)
    written = fresh_log.getvalue()
    assert len(entries(fresh_log)) == 2
    assert "hunter2" not in written
    assert "api-key-123" not in written
    assert "[redacted]" in written


def test_what_is_no_secret_stays_in_the_log(fresh_log: io.StringIO) -> None:
    fields = {"url": "https://node/path", "count": 3, "ok": True, "names": ["a"]}
    logs.get_logger().info("something happened", **fields)
    entry = entries(fresh_log)[0]
    assert {key: entry[key] for key in fields} == fields
    assert entry["event"] == "something happened"
    assert entry["level"] == "info"


def test_a_client_can_be_written_from_the_openapi_document(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in schemas
    names = set()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names.add(operation["operationId"])
            assert operation["summary"], path
            assert operation["description"], path
            for status, answer in operation["responses"].items():
                if status == "204":
                    assert "content" not in answer, path
                    continue
                ((content_type, content),) = answer["content"].items()
                is_problem = status >= "400" and (path, status) != ("/readyz", "503")
                assert content_type == (
                    "application/problem+json" if is_problem else "application/json"
                ), (path, status)
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert name in schemas
                assert (name == "Problem") is is_problem, (path, status)
    assert {
        "health",
        "readiness",
        "get_market",
        "get_minimum",
        "list_hours",
        "register_gpu",
        "update_gpu",
        "unlist_gpu",
        "search_gpus",
        "get_gpu",
        "make_quote",
        "get_listing",
        "get_quote",
        "list_bookings",
        "get_booking",
        "get_evidence",
        "get_receipt",
        "grant_session",
        "post_heartbeat",
        "post_presence",
        "post_funding",
        "get_earnings",
        "get_status",
        "make_nonce",
        "sign_in",
        "sign_out",
        "list_quotes",
    } == names
    refusals = document["paths"]["/v1/quotes"]["post"]["responses"]["409"]["description"]
    for code in ("not-listed", "taken", "no-match", "too-few", "too-small", "salt-reused"):
        assert f"`{code}`" in refusals


def test_the_examples_are_bodies_that_the_endpoints_accept(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    seen = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "requestBody" not in operation:
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            for example in schema["examples"]:
                answer = client.request(method, path.replace("{gpu_id}", "g-000000"), json=example)
                # Well-formed: it gets as far as what is not here, or a signature that is nobody's.
                assert answer.json()["code"] in {
                    "wrong-signer",
                    "unknown-gpu",
                    "unknown-booking",
                    "relay-off",
                    "wrong-domain",
                }
                seen += 1
    assert seen == 9
