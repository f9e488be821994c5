"""Around every request: limits to its size, one log entry, and no exception that escapes."""

import asyncio
import secrets
import time
from http import HTTPStatus

import structlog
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aitbc_coordinator.api.problems import problem, unexpected
from aitbc_coordinator.logs import get_logger

MAX_HEAD_BYTES = 16 * 1024
"""Of path, query and headers; the server alone takes what comes with one read of its socket."""
MAX_BODY_BYTES = 64 * 1024
MAX_BODY_SECONDS = 10
"""A body takes one packet or two: whoever sends it drop by drop holds a connection open."""
REQUEST_ID_HEADER = "X-Request-Id"


class RequestLog:
    """Logs method, route, status, duration and id of each request; a defect becomes a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_marked)
            except Exception:
                get_logger().exception("request failed", method=scope["method"])
                if not status:
                    await unexpected()(scope, receive, send_marked)
            get_logger().info(
                "request",
                method=scope["method"],
                route=getattr(scope.get("route"), "path", None),
                status=status,
                ms=round((time.perf_counter() - began) * 1000),
            )


class SizeLimit:
    """Refuses a request with a large head, and one with a large body or a slow one.

    It reads the body before anything else does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            await _large_head()(scope, receive, send)
            return
        try:
            async with asyncio.timeout(MAX_BODY_SECONDS):
                body = await self._read(receive)
        except TimeoutError:
            await _slow_body()(scope, receive, send)
            return
        if body is None:
            return
        if len(body) > MAX_BODY_BYTES:
            await _large_body()(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)

    @staticmethod
    async def _read(receive: Receive) -> bytes | None:
        """The body, or as much of it as shows that it is too large; None if nobody sends it."""
        body = bytearray()
        more = True
        while more and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)


# The rest of a body that is refused is not waited for: the connection ends with the answer.
_LAST_ANSWER = {"Connection": "close"}


def _head_bytes(scope: Scope) -> int:
    parts = sum(len(name) + len(value) for name, value in scope["headers"])
    return parts + len(scope["query_string"]) + len(scope.get("raw_path") or b"")


def _too_large(status: HTTPStatus, words: str) -> Response:
    return problem(
        status,
        "too-large",
        words,
        hint="no request needs as much: see this endpoint in /openapi.json",
        headers=_LAST_ANSWER,
    )


def _large_head() -> Response:
    return _too_large(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the request's path, query and headers are larger than {MAX_HEAD_BYTES} bytes",
    )


def _large_body() -> Response:
    return _too_large(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes"
    )


def _slow_body() -> Response:
    return problem(
        HTTPStatus.REQUEST_TIMEOUT,
        "too-slow",
        f"the body did not arrive in {MAX_BODY_SECONDS} s",
        hint="check the connection, then send the same request again",
        headers=_LAST_ANSWER,
    )
