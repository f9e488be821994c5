"""Every error as application/problem+json (RFC 9457), and its declaration in the OpenAPI."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aitbc.protocol.wire import NoMatch, Problem, SignedMinimum
from aitbc_coordinator import logs
from aitbc_coordinator.errors import Contended, Refusal
from aitbc_coordinator.group_commit import is_conflict
from aitbc_coordinator.signers.protocols import SignerError

PROBLEM_TYPE = "application/problem+json"

_CODES = {
    HTTPStatus.BAD_REQUEST: "invalid",
    HTTPStatus.NOT_FOUND: "no-such-path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str | None = None,
    minimum: SignedMinimum | None = None,
    no_match: NoMatch | None = None,
    headers: Any = None,
) -> Response:
    """An error as a response. `detail` and `hint` are one line each."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=" ".join(detail.split()),
        hint=hint,
        minimum=minimum,
        no_match=no_match,
    )
    content = body.model_dump_json(exclude_none=True)
    return Response(content, status_code=status, media_type=PROBLEM_TYPE, headers=headers)


def refusal(error: Refusal) -> Response:
    """A refusal as a response."""
    return problem(
        error.status,
        error.code,
        error.detail,
        hint=error.hint,
        minimum=error.minimum,
        no_match=error.no_match,
        headers=dict(error.headers),
    )


def unexpected() -> Response:
    """The answer to a request that met a defect; what happened is in the log alone."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "the coordinator failed while it served this request",
        hint="try again; if it stays, tell the operator the X-Request-Id of this answer",
    )


def declare(refusals: dict[int, Sequence[str]]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of an endpoint: the codes of its problems, by status."""
    declared: dict[int | str, dict[str, Any]] = {}
    for status, codes in refusals.items():
        words = " or ".join(f"`{code}`" for code in codes)
        declared[status] = {"model": Problem, "description": f"`code` is {words}"}
    return declared


def first_problem(error: RequestValidationError) -> str:
    """`field: reason` for the first thing that is wrong with a request."""
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"] if step not in {"body", "query", "path"})
    reason = str(first["msg"]).removeprefix("Value error, ")
    return f"{place or 'body'}: {reason}"


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem."""

    @app.exception_handler(Refusal)
    def _refusal(_request: Request, error: Refusal) -> Response:
        return refusal(error)

    @app.exception_handler(RequestValidationError)
    def _validation(_request: Request, error: RequestValidationError) -> Response:
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid",
            first_problem(error),
            hint="see this endpoint in /openapi.json",
        )

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(HTTPStatus(error.status_code), "http-error")
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return problem(error.status_code, code, detail, headers=error.headers)

    @app.exception_handler(SignerError)
    def _signer(_request: Request, error: SignerError) -> Response:
        logs.get_logger().error("signer failed", reason=str(error))
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "signer-unavailable",
            "the coordinator's signer does not sign now; nothing was changed",
            hint="try again in a few seconds",
        )

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeout)
    def _database(_request: Request, error: Exception) -> Response:
        if is_conflict(error):
            return refusal(Contended())
        logs.get_logger().error("database failed", exc_info=error)
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "database-unavailable",
            "the coordinator's database does not answer now; nothing was changed",
            hint="try again in a few seconds",
        )
