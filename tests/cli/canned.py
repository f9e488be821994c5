"""A coordinator whose answers are given beforehand: for what no honest coordinator says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from http_stub import Answer, serving


@dataclass
class Canned:
    """Answers each path with what `say` gave it, anything else with 404 and no body.

    A path with the beginning of a query goes before the path alone.
    """

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def say(
        self, path: str, body: str | bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.answers[path] = Answer(status, content, headers or {})

    def respond(self, _method: str, path: str, body: bytes) -> Answer:
        self.asked.append(path)
        if body:
            self.sent.append(body)
        queried = (said for said in self.answers if "?" in said and path.startswith(said))
        return self.answers.get(next(queried, path.partition("?")[0]), Answer(404))


@contextmanager
def canned_coordinator() -> Iterator[Canned]:
    canned = Canned()
    with serving(canned.respond) as canned.url:
        yield canned
