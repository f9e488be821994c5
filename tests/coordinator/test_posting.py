"""What is posted, and by which way. What fails is tested where posts are made: nodes, signers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier
from typing import NamedTuple

import pytest

from aitbc_coordinator.posting import KEPT_CONNECTIONS, Poster, PostFailed


class Seen(NamedTuple):
    port: int
    """Of the client's end of the connection."""
    target: str
    headers: dict[str, str]
    body: bytes


class Keeper(ThreadingHTTPServer):
    """Keeps connections, notes requests, and answers with what it was sent."""

    daemon_threads = True
    request_queue_size = 2 * KEPT_CONNECTIONS
    seen: list[Seen]
    status = 200
    together: Barrier | None = None
    """Where there is one, so many requests are answered at a time."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Keeper

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(
            Seen(self.client_address[1], self.path, dict(self.headers.items()), body)
        )
        if self.server.together is not None:
            self.server.together.wait(timeout=10)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    server = Keeper(("127.0.0.1", 0), Echo)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def poster(url: str, most_bytes: int = 100) -> Poster:
    return Poster(url, timeout_seconds=5, most_bytes=most_bytes)


def test_connections_are_kept(keeper: Keeper) -> None:
    to = poster(keeper.url + "/path?key=1")
    assert [to.post(b"{}") for _ in range(3)] == [(200, b"{}")] * 3
    assert len({seen.port for seen in keeper.seen}) == 1
    first = keeper.seen[0]
    assert (first.target, first.body) == ("/path?key=1", b"{}")
    assert first.headers["Content-Type"] == "application/json"


def test_what_is_not_read_to_its_end_spoils_no_later_answer(keeper: Keeper) -> None:
    to = poster(keeper.url, most_bytes=2)
    with pytest.raises(PostFailed, match="too large"):
        to.post(b"x" * 10**6)
    assert to.post(b"ok") == (200, b"ok")
    assert keeper.seen[0].port != keeper.seen[1].port


def test_threads_may_post_at_once(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    to = poster(keeper.url)
    keeper.together = Barrier(KEPT_CONNECTIONS)
    bodies = [str(number).encode() for number in range(2 * KEPT_CONNECTIONS)]
    with ThreadPoolExecutor(KEPT_CONNECTIONS) as pool:
        assert [body for _, body in pool.map(to.post, bodies)] == bodies
    assert len({seen.port for seen in keeper.seen}) == KEPT_CONNECTIONS
    assert caplog.records == []


def test_a_password_in_the_url_is_sent_as_one(keeper: Keeper) -> None:
    poster(keeper.url.replace("//", "//user:hunter2@")).post(b"{}")
    (seen,) = keeper.seen
    assert seen.headers["Authorization"] == "Basic dXNlcjpodW50ZXIy"
    assert "hunter2" not in seen.target + seen.headers["Host"]


def test_it_goes_by_the_environments_proxy(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", keeper.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert poster("http://node.invalid/path").post(b"{}") == (200, b"{}")
    poster(keeper.url + "/own").post(b"{}")
    assert [seen.target for seen in keeper.seen] == ["http://node.invalid/path", "/own"]


def test_a_status_is_the_callers_to_judge(keeper: Keeper) -> None:
    keeper.status = 503
    assert poster(keeper.url).post(b"no") == (503, b"no")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://host/", "http://127.0.0.1:1/"])
def test_where_nothing_can_be_reached(url: str) -> None:
    with pytest.raises(PostFailed, match="it cannot be reached"):
        poster(url).post(b"{}")
