"""Refusals of the API: each has an HTTP status, a stable code, and words that say what to do."""

from collections.abc import Mapping
from http import HTTPStatus

from aitbc.protocol.wire import NoMatch, SignedMinimum


class Refusal(Exception):
    """A request that cannot be served as it is. Nothing was changed."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, code: str, detail: str, *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.headers: Mapping[str, str] = {}
        self.minimum: SignedMinimum | None = None
        self.no_match: NoMatch | None = None


class Invalid(Refusal):
    """The request is well-formed and its content cannot be accepted."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unauthorised(Refusal):
    """A signature is missing, malformed, stale, or of the wrong wallet."""

    status = HTTPStatus.FORBIDDEN


CHALLENGE = 'Bearer realm="aitbc"'


class NotSignedIn(Refusal):
    """The request has no token of a wallet that signed in, or none that is still good."""

    status = HTTPStatus.UNAUTHORIZED
    code = "not-signed-in"

    def __init__(self, detail: str) -> None:
        super().__init__(
            self.code, detail, hint="sign in: POST /v1/sign-in/nonces, then /v1/sign-in"
        )
        self.headers = {"WWW-Authenticate": CHALLENGE}


class Missing(Refusal):
    """There is no such thing here."""

    status = HTTPStatus.NOT_FOUND


class Unavailable(Refusal):
    """What the coordinator itself needs does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Conflict(Refusal):
    """The market has moved on: taken, expired, or changed by another request."""

    status = HTTPStatus.CONFLICT


class Contended(Conflict):
    """Others are being given the same things at this moment: worth another try."""

    def __init__(self) -> None:
        super().__init__(
            "taken", "others ask for the same at this moment", hint="ask again, or for less"
        )


class TooSmall(Conflict):
    """A booking whose fee cannot cover its settlement; `minimum` is the least that can."""

    def __init__(self, detail: str, *, hint: str, minimum: SignedMinimum) -> None:
        super().__init__("too-small", detail, hint=hint)
        self.minimum = minimum


class Unmatched(Conflict):
    """No GPU, or too few, that are wanted and free; `why` is what excludes the others."""

    def __init__(self, code: str, detail: str, *, hint: str, why: NoMatch) -> None:
        super().__init__(code, detail, hint=hint)
        self.no_match = why


class TooManyRequests(Refusal):
    """Whoever asks has asked too often; `retry_after` (seconds) is when they may again."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(
            "too-many-requests", detail, hint=f"ask again in {retry_after} s, and less often"
        )
        self.headers = {"Retry-After": str(retry_after)}
