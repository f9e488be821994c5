"""JSON-RPC over HTTP to a signer: bounded in time and in size, and never naming its URL."""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aitbc_coordinator.posting import Poster, PostFailed
from aitbc_coordinator.signers.protocols import SignerError

TIMEOUT_SECONDS = 10.0
"""For a whole answer: whoever signs by hand is too late."""
MAX_ANSWER_BYTES = 1 << 20
MAX_SHOWN = 200
"""Characters of what a signer says that a person is shown."""


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
        self._poster = Poster(url, timeout_seconds=timeout_seconds, most_bytes=MAX_ANSWER_BYTES)

    def call(self, method: str, *params: Any) -> Any:
        """The result that it answers with. Raises SignerError."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            status, body = self._poster.post(json.dumps(request).encode())
        except PostFailed as error:
            raise self._failed(str(error)) from None
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict) and answer.get("error") is not None:
            raise self._refused(method, answer["error"])
        if status != HTTPStatus.OK:
            raise self._failed(f"it answers with status {status}")
        if not isinstance(answer, dict) or "result" not in answer:
            raise self._failed("its answer is no JSON-RPC")
        return answer["result"]

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
