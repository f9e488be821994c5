"""The OpenAPI document, in which errors are what this application really answers."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from aitbc.protocol.wire import Problem
from aitbc_coordinator.api.limits import EXEMPT
from aitbc_coordinator.api.problems import PROBLEM_TYPE

_REFERENCE = {"$ref": "#/components/schemas/Problem"}
_ALWAYS = {
    "431": "`code` is `too-large`",
    "500": "`code` is `internal`",
    "503": "`code` is `database-unavailable` or `signer-unavailable`",
}
_WITH_BODY = {
    "400": "`code` is `invalid`",
    "408": "`code` is `too-slow`",
    "413": "`code` is `too-large`",
}
_LIMITED = {"429": "`code` is `too-many-requests`"}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds until another request is taken",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}


def install(app: FastAPI) -> None:
    """Make `app` describe itself with problems in place of FastAPI's own errors."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schemas = schema["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= problem.pop("$defs") | {"Problem": problem}
            for path, methods in schema["paths"].items():
                limited = {} if path in EXEMPT else _LIMITED
                for operation in methods.values():
                    with_body = _WITH_BODY if "requestBody" in operation else {}
                    _use_problems(operation["responses"], _ALWAYS | limited | with_body)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _use_problems(responses: dict[str, Any], extra: dict[str, str]) -> None:
    for status, description in extra.items():
        responses.setdefault(status, {"description": description})
    for status, response in responses.items():
        if status < "400" or _describes_health(response):
            continue
        response["content"] = {PROBLEM_TYPE: {"schema": _REFERENCE}}
        if status in _LIMITED:
            response["headers"] = _RETRY_AFTER
    if "422" in responses:
        invalid = "`code` is `invalid`: `detail` names the field and the reason"
        described = responses["422"]["description"]
        special = described if described.startswith("`code`") else None
        responses["422"]["description"] = f"{invalid}; or {special}" if special else invalid


def _describes_health(response: dict[str, Any]) -> bool:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return bool(schema.get("$ref", "").endswith("/Health"))
