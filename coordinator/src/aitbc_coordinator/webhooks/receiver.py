"""The way to the receiver: one POST, in bounded time, of whose answer only the status is read."""

import asyncio
import ssl
from urllib.parse import urlsplit

import httpx

from aitbc_coordinator.webhooks.secret import Secret

POST_SECONDS = 10
"""Of the whole exchange: looking up the name, connecting, sending, and the answer's status."""


class Receiver:
    """Posts messages to one URL."""

    def __init__(self, url: str, secret: Secret) -> None:
        self._url = url
        self._secret = secret
        self._tls = ssl.create_default_context()

    @property
    def shown(self) -> str:
        """Where it is, without what may be a key in its URL."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}"

    def post(self, message_id: str, body: bytes, now: int) -> str | None:
        """Post a message. None where it was taken (2xx); else why not, for people."""
        headers = {
            "content-type": "application/json",
            "connection": "close",
            "user-agent": "aitbc-coordinator",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": self._secret.sign(message_id, now, body),
        }
        try:
            status = asyncio.run(self._status(headers, body))
        except TimeoutError:
            return f"it gave no answer in {POST_SECONDS} seconds"
        except httpx.ConnectError as error:
            return f"it cannot be reached: {error}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"it cannot be used: {type(error).__name__}"
        if 200 <= status < 300:  # noqa: PLR2004  # what "taken" is
            return None
        return f"it answered with status {status}"

    async def _status(self, headers: dict[str, str], body: bytes) -> int:
        # httpx's own time-outs begin anew with every byte.
        async with asyncio.timeout(POST_SECONDS):
            client = httpx.AsyncClient(
                verify=self._tls, trust_env=False, follow_redirects=False, timeout=POST_SECONDS
            )
            async with (
                client,
                client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                return answer.status_code
