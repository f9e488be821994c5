"""The coordinator's client, against answers that no honest coordinator gives."""

import json

import pytest
from canned import Canned
from offers import Offer

from aitbc import client
from aitbc.client import Coordinator, check_url, shown_url
from aitbc.errors import CoordinatorError, InvalidInput

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
