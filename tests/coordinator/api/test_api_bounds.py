"""Every part of a request has a bound, and the document says which."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from databases import sqlite
from fastapi.testclient import TestClient

from aitbc_coordinator.database import Database

UNBOUNDED_INSIDE = ("*", "+", ",}")


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """None of this is about databases: one kind is enough."""
    with sqlite(sqlite_template, tmp_path) as made:
        yield made


class Place(NamedTuple):
    """A part of a request, with what the document says of it."""

    method: str
    path: str
    where: str
    name: str
    schema: dict[str, Any]


def places(document: dict[str, Any]) -> Iterator[Place]:
    """Every parameter and every field of every body."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                for name, schema in inside(document, parameter["schema"], parameter["name"]):
                    yield Place(method, path, parameter["in"], name, schema)
            content = operation.get("requestBody", {}).get("content", {})
            for body in content.values():
                for name, schema in inside(document, body["schema"], ""):
                    yield Place(method, path, "body", name, schema)


def inside(
    document: dict[str, Any], schema: dict[str, Any], name: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and the schemas of its parts, references followed."""
    if "$ref" in schema:
        target = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        yield from inside(document, target, name)
        return
    yield name, schema
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from inside(document, part, name)
    for field, part in schema.get("properties", {}).items():
        yield from inside(document, part, f"{name}.{field}")
    if "items" in schema:
        yield from inside(document, schema["items"], f"{name}[]")


def is_bounded(schema: dict[str, Any]) -> bool:
    if "enum" in schema or "const" in schema:
        return True
    match schema.get("type"):
        case "string":
            pattern = schema.get("pattern", "*")
            anchored = pattern.startswith("^") and pattern.endswith("$")
            repeats = any(sign in pattern for sign in UNBOUNDED_INSIDE)
            return "maxLength" in schema or (anchored and not repeats)
        case "integer" | "number":
            lowest = "minimum" in schema or "exclusiveMinimum" in schema
            return lowest and ("maximum" in schema or "exclusiveMaximum" in schema)
        case "array":
            return "maxItems" in schema
        case "object":
            return schema.get("additionalProperties") is False
    return schema.get("type") in {"boolean", "null"} or "anyOf" in schema


def test_every_part_of_a_request_is_bounded(document: dict[str, Any]) -> None:
    found = list(places(document))
    assert len(found) > 60
    assert [place[:4] for place in found if not is_bounded(place.schema)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "string", "pattern": "^a{2,}$"},
        {"type": "string", "pattern": "a"},
        {"type": "integer", "minimum": 0},
        {"type": "integer", "maximum": 0},
        {"type": "array", "items": {"type": "boolean"}},
        {"type": "object"},
        {},
    ],
)
def test_what_has_no_bound_is_noticed(schema: dict[str, Any]) -> None:
    assert not is_bounded(schema)


def test_lengths_that_are_documented_are_kept(client: TestClient, document: dict[str, Any]) -> None:
    tried = 0
    for place in places(document):
        if place.where == "body" or "maxLength" not in place.schema:
            continue
        text = "g" * (place.schema["maxLength"] + 1)
        url = place.path.replace(f"{{{place.name}}}", text).replace("{gpu_id}", "g-000000")
        query = {place.name: text} if place.where == "query" else {}
        answer = client.request(place.method, url, params=query, json={})
        assert 400 <= answer.status_code < 500, (place, answer.text)
        tried += 1
    assert tried >= 10


def test_queries_take_no_other_names(client: TestClient, document: dict[str, Any]) -> None:
    asked = set()
    for path, methods in document["paths"].items():
        parameters = methods.get("get", {}).get("parameters", ())
        if any(parameter["in"] == "query" for parameter in parameters):
            answer = client.get(path, params={"surprise": "1"})
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
            asked.add(path)
    assert {"/v1/gpus", "/v1/bookings", "/v1/market/hours"} <= asked


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/gpus?where=" + "a" * 17_000, {}),
        ("/v1/quotes/" + "a" * 17_000, {}),
        ("/v1/market", {"X-Large": "a" * 17_000}),
        ("/v1/market", {f"X-{number}": "a" for number in range(5_000)}),
        ("/healthz", {"X-Large": "a" * 17_000}),
    ],
    ids=["query", "path", "header", "headers", "health"],
)
def test_a_large_head_is_refused(client: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = client.get(path, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (431, "too-large")
    assert client.get(path.partition("?")[0][:1_000], headers={"X": "a" * 14_000}).status_code in {
        200,
        404,
    }
