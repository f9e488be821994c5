"""A coordinator that lies: forwards to the real one, and alters chosen answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Alter = Callable[[dict[str, Any]], None]


@contextmanager
def lying_coordinator(url: str, path: str, alter: Alter) -> Iterator[str]:
    """Serve `url` at another URL; what it answers on `path` is altered in place by `alter`."""

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length) if length else None
            answer = httpx.request(
                self.command,
                url + self.path,
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=30,
            )
            content = answer.content
            if self.path.split("?")[0] == path and answer.is_success:
                parsed = answer.json()
                alter(parsed)
                content = json.dumps(parsed).encode()
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _forward  # noqa: N815 the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
