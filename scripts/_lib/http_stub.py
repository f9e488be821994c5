"""An HTTP server whose answers are a function of what it is asked."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_seconds: float = 0.0
    """Before each byte of the body, which is sent byte by byte where there is any."""


Respond = Callable[[str, str, bytes], Answer | None]
"""From method, path with query, and body; None hangs up without an answer."""


@contextmanager
def serving(respond: Respond) -> Iterator[str]:
    """Serve on a free port; the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = respond(self.command, self.path, body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if not answer.pause_seconds:
                self.wfile.write(answer.body)
                return
            with suppress(OSError):  # Whoever asked has gone.
                for byte in answer.body:
                    time.sleep(answer.pause_seconds)
                    self.wfile.write(bytes([byte]))

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  (the names that http.server calls)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
