"""JSON posted over HTTP: bounded in time and size, and never naming the URL, which may hold a key.

requests says how a URL is reached, as the environment has it: proxies, certificates, passwords.
urllib3, which is below it, then posts in less than half the time.
"""

import time
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as TooLate

from aitbc.chain.node import REFUSED, TOO_LATE

KEPT_CONNECTIONS = 40
"""As many as the API has threads."""
_PIECE_BYTES = 1 << 16


class PostFailed(Exception):
    """There is no answer. Says why, and shows no URL."""


class Poster:
    """Posts to one URL. Connections are kept; any thread may post."""

    def __init__(self, url: str, *, timeout_seconds: float, most_bytes: int) -> None:
        """No answer takes longer as a whole, and none has more bytes."""
        self._url = url
        self._timeout = timeout_seconds
        self._most_bytes = most_bytes

    def post(self, body: bytes) -> tuple[int, bytes]:
        """The status and the answer; no redirection is followed. Raises PostFailed."""
        deadline = time.monotonic() + self._timeout
        answer = self._begin(body)
        try:
            return answer.status, self._read(answer, deadline)
        except (HTTPError, OSError, ValueError):
            # Not chained, as the library names the URL.
            raise PostFailed("its answer breaks off") from None
        finally:
            answer.close()

    def _begin(self, body: bytes) -> HTTPResponse:
        try:
            found = self._way.pool.urlopen(
                "POST",
                self._way.target,
                body,
                self._way.headers,
                retries=False,
                redirect=False,
                assert_same_host=False,  # To a proxy, another host is named.
                timeout=self._timeout,
                preload_content=False,
            )
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            late = isinstance(error, TooLate) and not isinstance(error, NewConnectionError)
            raise PostFailed(TOO_LATE if late else REFUSED) from None
        return cast("HTTPResponse", found)

    def _read(self, answer: HTTPResponse, deadline: float) -> bytes:
        found = bytearray()
        # `read1` returns with what has come: a slow trickle cannot outlast the deadline.
        while piece := answer.read1(_PIECE_BYTES, decode_content=True):
            found += piece
            if time.monotonic() > deadline:
                raise PostFailed(TOO_LATE)
            if len(found) > self._most_bytes:
                raise PostFailed("its answer is too large")
        return bytes(found)

    @cached_property
    def _way(self) -> "_Way":
        return _Ways(pool_maxsize=KEPT_CONNECTIONS).find(self._url)


class _Way(NamedTuple):
    """How to a URL: what is sent there, by which connections."""

    pool: HTTPConnectionPool
    target: str
    headers: Mapping[str, str]


class _Ways(HTTPAdapter):
    def find(self, url: str) -> _Way:
        """Raises RequestException where there is none."""
        with requests.Session() as session:
            json = {"Content-Type": "application/json"}
            request = session.prepare_request(requests.Request("POST", url, headers=json))
            # It is that of the body, which there is none of yet.
            del request.headers["Content-Length"]
            found = session.merge_environment_settings(url, {}, None, None, None)
        pool = self.get_connection_with_tls_context(
            request, found["verify"], proxies=found["proxies"], cert=found["cert"]
        )
        http = cast("HTTPConnectionPool", pool)
        return _Way(http, self.request_url(request, found["proxies"]), request.headers)
