"""A coordinator that lies: forwards to the real one, and alters chosen answers."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx

from http_stub import Answer, serving

Alter = Callable[[dict[str, Any]], None]


def lying_coordinator(url: str, path: str, alter: Alter) -> AbstractContextManager[str]:
    """Serve `url` at another URL; what it answers on `path` is altered in place by `alter`."""

    def forward(method: str, asked: str, body: bytes) -> Answer:
        headers = {"Content-Type": "application/json"}
        answer = httpx.request(method, url + asked, content=body, headers=headers, timeout=30)
        content = answer.content
        if asked.partition("?")[0] == path and answer.is_success:
            parsed = answer.json()
            alter(parsed)
            content = json.dumps(parsed).encode()
        return Answer(answer.status_code, content, {"Content-Type": answer.headers["Content-Type"]})

    return serving(forward)
