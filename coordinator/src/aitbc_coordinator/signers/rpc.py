"""JSON-RPC over HTTP to a signer: bounded in time and in size, and never naming its URL."""

import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from aitbc.chain.node import reason
from aitbc_coordinator.signers.protocols import SignerError

TIMEOUT_SECONDS = 10.0
"""For a whole answer: whoever signs by hand is too late."""
MAX_ANSWER_BYTES = 1 << 20
MAX_SHOWN = 200
"""Characters of what a signer says that a person is shown."""
_PIECE_BYTES = 1 << 16


def secrets_of(url: str) -> list[str]:
    """What of a URL may be a key."""
    parts = urlsplit(url)
    found = [parts.path, parts.query, parts.username, parts.password]
    return [text for text in found if text and text != "/"]


class Rpc:
    """One signer. Connections are kept; any thread may call."""

    def __init__(self, name: str, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """`name` is what it is called in errors."""
        self._name = name
        self._url = url
        self._timeout = timeout_seconds
        self._local = threading.local()

    def call(self, method: str, *params: Any) -> Any:
        """The result that it answers with. Raises SignerError."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, body = self._post(json.dumps(request).encode())
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and answer.get("error") is not None:
            raise self._refused(method, answer["error"])
        if status != requests.codes.ok:
            raise self._failed(f"it answers with status {status}")
        if not isinstance(answer, dict) or "result" not in answer:
            raise self._failed("its answer is no JSON-RPC")
        return answer["result"]

    def _post(self, body: bytes) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._timeout
        try:
            with self._session().post(
                self._url, data=body, timeout=self._timeout, stream=True, allow_redirects=False
            ) as answer:
                return answer.status_code, self._read(answer, deadline)
        except requests.RequestException as error:
            # Not chained: what the library says holds the URL.
            raise self._failed(reason(error)) from None
        except (HTTPError, OSError, ValueError):
            raise self._failed("its answer breaks off") from None

    def _read(self, answer: requests.Response, deadline: float) -> bytes:
        found = bytearray()
        # `read1` returns with what has come: a slow trickle cannot outlast the deadline.
        while piece := answer.raw.read1(_PIECE_BYTES, decode_content=True):
            found += piece
            if time.monotonic() > deadline:
                raise self._failed("it takes too long")
            if len(found) > MAX_ANSWER_BYTES:
                raise self._failed("its answer is too large")
        return bytes(found)

    def _session(self) -> requests.Session:
        """One for each thread: they are not safe to share."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers["Content-Type"] = "application/json"
        return session

    def _failed(self, why: str) -> SignerError:
        return SignerError(
            f"{self._name} cannot be used: {why}",
            hint="check that it runs and is reachable from here; nothing was signed",
        )

    def _refused(self, method: str, error: object) -> SignerError:
        said = error.get("message") if isinstance(error, dict) else error
        return SignerError(
            f"{self._name} refuses {method}: {self._shown(str(said))}",
            hint="check that it has the key, and that its rules approve this without a person",
        )

    def _shown(self, text: str) -> str:
        for secret in secrets_of(self._url):
            text = text.replace(secret, "[redacted]")
        return "".join(char for char in text if char.isprintable())[:MAX_SHOWN]
