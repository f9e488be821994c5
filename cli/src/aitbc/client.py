"""The coordinator's HTTP API as typed methods.

Nothing here judges whether an answer is true: whoever signs or pays on one verifies it first.
"""

import re
import time
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from aitbc import __version__
from aitbc.errors import CoordinatorError, InvalidInput
from aitbc.protocol import wire
from aitbc.protocol.metering import Evidence, SignedHeartbeat, SignedSessionGrant

TIMEOUT_SECONDS = 15
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_EVIDENCE_BYTES = 256 * 1024 * 1024
"""Evidence carries every heartbeat of a booking, which may have lasted for weeks."""

_Answer = TypeVar("_Answer", bound=BaseModel)


class TooSmall(CoordinatorError):
    """A booking would not be worth settling; `minimum` is what the coordinator says is."""

    def __init__(
        self, message: str, *, hint: str | None, status: int | None, minimum: wire.SignedMinimum
    ) -> None:
        super().__init__(message, hint=hint, status=status, problem="too-small")
        self.minimum = minimum
        self.details = {"minimum": minimum.model_dump(mode="json")}


class Unmatched(CoordinatorError):
    """No GPU, or too few, that are wanted and free; `why` is what the coordinator says of it."""

    def __init__(
        self, message: str, *, hint: str | None, status: int, problem: str, why: wire.NoMatch
    ) -> None:
        super().__init__(message, hint=hint, status=status, problem=problem)
        self.why = why


class Coordinator:
    """A connection to one coordinator. Methods raise CoordinatorError; see `errors`.

    A read that is refused because of too many requests is repeated when the coordinator says,
    within the usual time limit. What is signed is sent once: its sender decides.
    """

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for what is no http(s) URL."""
        self.url = check_url(url)
        self._http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT_SECONDS,
            headers={"User-Agent": f"aitbc/{__version__}", "Accept": "application/json"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def market(self) -> wire.Market:
        return self._get("market", wire.Market)

    def minimum(self) -> wire.SignedMinimum:
        """The least amount that is worth settling now."""
        return self._get("market/minimum", wire.SignedMinimum)

    def list_gpu(self, signed: wire.SignedListing) -> wire.Gpu:
        """Put a GPU on the market (version 1)."""
        return self._send("POST", "gpus", signed, wire.Gpu)

    def update_gpu(self, gpu_id: str, signed: wire.SignedListing) -> wire.Gpu:
        """Replace a listing by its next version."""
        return self._send("PUT", f"gpus/{gpu_id}", signed, wire.Gpu)

    def unlist_gpu(self, gpu_id: str, signed: wire.SignedUnlisting) -> wire.Gpu:
        return self._send("POST", f"gpus/{gpu_id}/unlist", signed, wire.Gpu)

    def gpus(self, **filters: str | int | None) -> wire.GpuPage:
        """Filters: where (an expression), provider (its own, also those not listed), limit,
        cursor."""
        return self._get("gpus", wire.GpuPage, filters)

    def gpu(self, gpu_id: str) -> wire.Gpu:
        return self._get(f"gpus/{gpu_id}", wire.Gpu)

    def listing(self, digest: str) -> wire.SignedListing:
        """Any version of any listing, by what terms name it by."""
        return self._get(f"listings/{digest}", wire.SignedListing)

    def hours(
        self, region: str, *, since: int = 0, until: int | None = None, limit: int
    ) -> wire.RegionHourPage:
        """A region's hours that start from `since` until `until` (UTC seconds), newest first."""
        query = {"region": region, "from": since, "until": until, "limit": limit}
        return self._get("market/hours", wire.RegionHourPage, query)

    def request_quotes(self, signed: wire.SignedQuoteRequest) -> wire.SignedQuotes:
        return self._send("POST", "quotes", signed, wire.SignedQuotes)

    def held_quotes(self, token: str) -> wire.SignedQuotes:
        """What is held for the wallet that signed in."""
        return self._exchange("GET", "quotes", wire.SignedQuotes, MAX_ANSWER_BYTES, **bearer(token))

    def quote(self, quote_id: str) -> wire.SignedQuote:
        return self._get(f"quotes/{quote_id}", wire.SignedQuote)

    def fund(self, request: wire.FundingRequest) -> wire.AcceptedFunding:
        """Have a quote's signed payment sent."""
        return self._send("POST", "fundings", request, wire.AcceptedFunding)

    def bookings(self, **filters: str | int | bool | None) -> wire.BookingPage:
        """Newest first. Filters: buyer, provider, gpu, status, open, limit, cursor."""
        return self._get("bookings", wire.BookingPage, filters)

    def booking(self, booking_id: str) -> wire.Booking:
        """By full id, short id, or a unique prefix of either."""
        return self._get(f"bookings/{booking_id}", wire.Booking)

    def evidence(self, booking_id: str) -> Evidence:
        return self._get(f"bookings/{booking_id}/evidence", Evidence, limit=MAX_EVIDENCE_BYTES)

    def receipt(self, booking_id: str) -> wire.SignedReceipt:
        return self._get(f"bookings/{booking_id}/receipt", wire.SignedReceipt)

    def grant_session(self, signed: SignedSessionGrant) -> SignedSessionGrant:
        return self._send("POST", "sessions", signed, SignedSessionGrant)

    def heartbeat(self, signed: SignedHeartbeat) -> wire.HeartbeatAnswer:
        return self._send("POST", "heartbeats", signed, wire.HeartbeatAnswer)

    def presence(self, signed: wire.SignedPresence) -> wire.PresenceAnswer:
        return self._send("POST", "presence", signed, wire.PresenceAnswer)

    def sign_in_nonce(self) -> wire.SignInNonce:
        return self._exchange("POST", "sign-in/nonces", wire.SignInNonce, MAX_ANSWER_BYTES)

    def sign_in(self, request: wire.SignInRequest) -> wire.AccessToken:
        return self._send("POST", "sign-in", request, wire.AccessToken)

    def sign_out(self, token: str) -> None:
        """Give a token back: nobody can use it any more."""
        response, body = self._ask("DELETE", "sign-in", MAX_ANSWER_BYTES, bearer(token))
        if not response.is_success:
            raise self._refusal(response.status_code, body)

    def operator_status(self, token: str) -> wire.OperatorStatus:
        """For operators' wallets alone."""
        return self._exchange(
            "GET", "operator/status", wire.OperatorStatus, MAX_ANSWER_BYTES, **bearer(token)
        )

    def earnings(self, gpu_id: str) -> wire.Earnings:
        return self._get(f"gpus/{gpu_id}/earnings", wire.Earnings)

    def gpu_status(self, gpu_id: str) -> wire.GpuStatus:
        return self._get(f"gpus/{gpu_id}/status", wire.GpuStatus)

    def _get(
        self,
        path: str,
        answer: type[_Answer],
        query: dict[str, Any] | None = None,
        *,
        limit: int = MAX_ANSWER_BYTES,
    ) -> _Answer:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        return self._exchange("GET", path, answer, limit, params=given)

    def _send(self, method: str, path: str, body: BaseModel, answer: type[_Answer]) -> _Answer:
        return self._exchange(
            method,
            path,
            answer,
            MAX_ANSWER_BYTES,
            content=body.model_dump_json().encode(),
            headers={"Content-Type": "application/json"},
        )

    def _exchange(
        self, method: str, path: str, answer: type[_Answer], limit: int, **request: Any
    ) -> _Answer:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        response, body = self._ask(method, path, limit, request)
        while method == "GET" and (wait := _retry_after(response)) is not None:
            if time.monotonic() + wait > deadline:
                break
            time.sleep(wait)
            response, body = self._ask(method, path, limit, request)
        if not response.is_success:
            raise self._refusal(response.status_code, body)
        try:
            return answer.model_validate_json(body)
        except ValidationError as error:
            raise self._nonsense(f"it is not a {answer.__name__}") from error

    def _ask(
        self, method: str, path: str, limit: int, request: dict[str, Any]
    ) -> tuple[httpx.Response, bytes]:
        try:
            with self._http.stream(method, f"{wire.API}/{path}", **request) as response:
                return response, self._read(response, limit)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _read(self, response: httpx.Response, limit: int) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limit:
                raise self._nonsense(f"it is longer than {limit} bytes")
        return bytes(body)

    def _refusal(self, status: int, body: bytes) -> CoordinatorError:
        try:
            problem = wire.Problem.model_validate_json(body)
        except ValidationError:
            too_often = status == httpx.codes.TOO_MANY_REQUESTS
            look = "check that the URL is a coordinator's: aitbc config show"
            return CoordinatorError(
                f"the coordinator at {shown_url(self.url)} answers with status {status}",
                hint="it is asked too often: try again later" if too_often else look,
                status=status,
            )
        words = problem.detail or problem.title
        if problem.minimum is not None:
            return TooSmall(words, hint=problem.hint, status=status, minimum=problem.minimum)
        if problem.no_match is not None:
            return Unmatched(
                words, hint=problem.hint, status=status, problem=problem.code, why=problem.no_match
            )
        return CoordinatorError(words, hint=problem.hint, status=status, problem=problem.code)

    def _unreachable(self, error: Exception) -> CoordinatorError:
        reason = "it took too long" if isinstance(error, httpx.TimeoutException) else str(error)
        return CoordinatorError(
            f"cannot reach the coordinator at {shown_url(self.url)}: {reason}",
            hint="check that it runs, or choose another: aitbc config set coordinator_url URL",
        )

    def _nonsense(self, reason: str) -> CoordinatorError:
        return CoordinatorError(
            f"cannot use the answer of the coordinator at {shown_url(self.url)}: {reason}",
            hint="check that the URL is a coordinator's, and that its version fits this one",
        )


def bearer(token: str) -> dict[str, Any]:
    """What a request has that speaks for the wallet that signed in."""
    return {"headers": {"Authorization": f"Bearer {token}"}}


def _retry_after(response: httpx.Response) -> int | None:
    """Seconds to wait before asking again; None where the answer says nothing of it.

    The header's other form, a date, rests on a clock that is not this machine's.
    """
    wait = response.headers.get("Retry-After", "")
    asked_too_often = response.status_code == httpx.codes.TOO_MANY_REQUESTS
    return int(wait) if asked_too_often and re.fullmatch("[0-9]{1,6}", wait) else None


def check_url(url: str) -> str:
    """The URL without a trailing slash. Raises InvalidInput for what is no http(s) URL."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"'{shown_url(url)}' is not a URL", hint="write one such as http://127.0.0.1:8700"
        )
    return url.rstrip("/")


def shown_url(url: str) -> str:
    """The URL without what may be a secret: user, password and query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.rsplit("@", 1)[-1]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rsplit('@', 1)[-1]}{slash}{path.split('?', 1)[0]}"
