"""The coordinator's client, against answers that no honest coordinator gives."""

import json
import threading
import time

import pytest
from canned import Canned
from offers import Offer

from aitbc import client
from aitbc.client import Coordinator, check_url, shown_url
from aitbc.errors import CoordinatorError, InvalidInput
from aitbc.protocol.messages import SessionGrant
from aitbc.protocol.metering import SignedSessionGrant

MARKET = Offer().market


def refusal(server: Canned) -> CoordinatorError:
    with Coordinator(server.url) as coordinator, pytest.raises(CoordinatorError) as caught:
        coordinator.market()
    assert caught.value.hint
    return caught.value


def test_an_answer_is_a_model(canned: Canned) -> None:
    canned.say("/v1/market", MARKET.model_dump_json())
    with Coordinator(canned.url + "/") as coordinator:
        assert coordinator.market() == MARKET


def test_a_problem_keeps_its_words(canned: Canned) -> None:
    problem = {"title": "Conflict", "status": 409, "code": "taken", "detail": "d", "hint": "h"}
    canned.say("/v1/market", json.dumps(problem), 409)
    error = refusal(canned)
    assert (str(error), error.hint, error.status, error.problem) == ("d", "h", 409, "taken")


@pytest.mark.parametrize("status", [302, 404, 500, 502])
def test_any_other_failure_names_the_url(canned: Canned, status: int) -> None:
    canned.say("/v1/market", "<html>", status, {"Location": canned.url + "/elsewhere"})
    error = refusal(canned)
    assert canned.url in str(error)
    assert str(status) in str(error)
    assert "/elsewhere" not in canned.asked


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", MARKET.model_dump_json()[:-1]])
def test_nonsense_is_named_as_such(canned: Canned, body: bytes) -> None:
    canned.say("/v1/market", body)
    assert "not a Market" in str(refusal(canned))


def test_an_endless_answer_is_cut_off(canned: Canned) -> None:
    canned.say("/v1/market", b" " * (client.MAX_ANSWER_BYTES + 1))
    assert "longer than" in str(refusal(canned))


def test_nobody_there() -> None:
    with (
        Coordinator("http://127.0.0.1:9") as coordinator,
        pytest.raises(CoordinatorError) as caught,
    ):
        coordinator.market()
    assert "http://127.0.0.1:9" in str(caught.value)
    assert "config set coordinator_url" in str(caught.value.hint)


def test_secrets_in_a_url_are_not_shown() -> None:
    url = "http://me:secret@127.0.0.1:9"
    with Coordinator(url) as coordinator, pytest.raises(CoordinatorError) as caught:
        coordinator.market()
    assert "secret" not in str(caught.value)
    assert shown_url("http://me:secret@host/x?key=secret") == "http://host/x"
    assert shown_url("me:secret@host") == "host"


@pytest.mark.parametrize("url", ["", "localhost", "ftp://host", "http://", "http://[", "http:x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url)


def test_absent_filters_are_not_sent(canned: Canned) -> None:
    canned.say("/v1/gpus", '{"items": [], "next_cursor": null}')
    with Coordinator(canned.url) as coordinator:
        coordinator.gpus(region="us-west", model=None, limit=5)
    assert canned.asked == ["/v1/gpus?region=us-west&limit=5"]


def too_many(retry_after: str) -> tuple[str, int, dict[str, str]]:
    problem = {
        "title": "Too Many Requests",
        "status": 429,
        "code": "too-many-requests",
        "detail": "127.0.0.1 has made more than 3 requests in 60 s",
        "hint": "ask again later",
    }
    return json.dumps(problem), 429, {"Retry-After": retry_after}


def test_a_read_waits_as_long_as_it_is_told(canned: Canned) -> None:
    canned.say("/v1/market", *too_many("1"))
    now = threading.Timer(0.5, canned.say, ("/v1/market", MARKET.model_dump_json()))
    now.start()
    began = time.monotonic()
    with Coordinator(canned.url) as coordinator:
        assert coordinator.market() == MARKET
    assert 1 <= time.monotonic() - began < 5
    assert len(canned.asked) == 2


@pytest.mark.parametrize("wait", ["16", "99999999999", "Wed, 21 Oct 2037 07:28:00 GMT", ""])
def test_a_read_that_would_wait_too_long_says_what_happened(canned: Canned, wait: str) -> None:
    canned.say("/v1/market", *too_many(wait))
    began = time.monotonic()
    error = refusal(canned)
    assert (error.status, error.problem) == (429, "too-many-requests")
    assert "more than 3 requests" in str(error)
    assert len(canned.asked) == 1
    assert time.monotonic() - began < 5


def test_a_read_stops_waiting_when_its_time_is_over(
    canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 2.5)
    canned.say("/v1/market", *too_many("1"))
    assert refusal(canned).status == 429
    assert len(canned.asked) == 3


def test_what_is_signed_is_sent_once(canned: Canned) -> None:
    canned.say("/v1/sessions", *too_many("1"))
    message = SessionGrant(
        provider=MARKET.attester, session_key=MARKET.attester, expires_at=1_800_000_000
    )
    signed = SignedSessionGrant(grant=message, signature="0xff")
    with Coordinator(canned.url) as coordinator, pytest.raises(CoordinatorError) as caught:
        coordinator.grant_session(signed)
    assert caught.value.status == 429
    assert canned.asked == ["/v1/sessions"]


def test_a_proxys_429_has_a_hint_of_its_own(canned: Canned) -> None:
    canned.say("/v1/market", "<html>slow down</html>", 429)
    assert "too often" in str(refusal(canned).hint)
