"""What the documents print of webhooks is what is sent, and works."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from post_office import SECRET, Scene
from sqlalchemy import text

from aitbc.protocol.ids import short_booking_id
from aitbc_coordinator.webhooks.courier import KEPT_SECONDS
from aitbc_coordinator.webhooks.messages import Kind, Message
from webhook_receiver import status

DOCS = Path(__file__).resolve().parents[3] / "docs"
OPERATOR = (DOCS / "operator.md").read_text()


def printed(language: str, page: str = OPERATOR) -> str:
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(block)


def test_every_type_is_in_the_table() -> None:
    match = re.search(r"<!-- webhooks -->\n(.*?)<!-- /webhooks -->", OPERATOR, re.DOTALL)
    assert match is not None
    assert re.findall(r"^\| `(\w+)` \|", match[1], re.MULTILINE)[1:] == list(Kind)


def test_the_example_is_what_is_sent() -> None:
    example = json.loads(printed("json"))
    sent = Message.model_validate(example).model_dump_json()
    assert sent == json.dumps(example, separators=(",", ":"))
    data = example["data"]
    assert data["short_id"] == short_booking_id(data["booking_id"])
    assert sum(int(data[name]) for name in ("paid", "fee", "refunded")) == int(data["amount"])


@pytest.fixture
def read_message() -> Callable[..., Any]:
    """The receiver's function that is printed."""
    names: dict[str, Any] = {}
    exec(printed("python"), names)
    function: Callable[..., Any] = names["read_message"]
    return function


def test_the_printed_receiver_takes_what_is_sent_and_nothing_else(
    scene: Scene, read_message: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write("first")
    scene.messenger.step()
    [request] = scene.endpoint.requests
    assert read_message(SECRET, request.headers, request.body) == {"said": "first"}
    several = {**request.headers}
    several["webhook-signature"] = "v1a,abcd " + several["webhook-signature"]
    assert read_message(SECRET, several, request.body) == {"said": "first"}

    for forged in (
        replace(request, body=request.body + b" "),
        replace(request, headers={**request.headers, "webhook-id": "second"}),
        replace(request, headers={**request.headers, "webhook-signature": ""}),
    ):
        with pytest.raises(ValueError, match="is not signed"):
            read_message(SECRET, forged.headers, forged.body)
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(ValueError, match="too long ago"):
        read_message(SECRET, request.headers, request.body)


def test_what_was_given_up_is_posted_again_as_the_run_book_says(scene: Scene) -> None:
    scene.endpoint.usual = status(500)
    scene.write("first")
    scene.messenger.step()
    scene.clock.now += 86_400
    scene.messenger.step()
    assert scene.counts().given_up == 1
    scene.endpoint.usual = status(204)
    assert scene.steps(2) == [False, False]
    with scene.context.database.session() as session:
        session.execute(text(printed("sql", (DOCS / "runbook.md").read_text())))
    assert scene.steps(2) == [True, False]
    assert scene.counts() == (0, 0, None)


def test_the_page_states_how_long_a_message_is_kept() -> None:
    assert KEPT_SECONDS == 7 * 86_400
    assert "They are kept for a week" in (DOCS / "runbook.md").read_text()
