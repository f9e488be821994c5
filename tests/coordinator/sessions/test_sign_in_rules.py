"""What is signed to sign in: what is good for a token, and every reason why something is not."""

import shutil
import string
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError
from signed import CHAIN_ID, NOW, Clock
from siwe import SiweMessage
from visitors import AUDIENCE, PRIVATE, URL, Visitor, assert_not_signed_in, refused

from aitbc.protocol import wire
from aitbc.protocol.sign_in import LONGEST_MESSAGE, STATEMENT, Audience, SignIn
from aitbc.signing import sign_text
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.settings import Settings


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """None of this is about databases: one kind is enough."""
    made = Database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}")
    yield made
    made.close()


def test_a_shorter_session_is_as_short_as_was_signed(visitor: Visitor, clock: Clock) -> None:
    token = visitor.token(expires_at=NOW + 60)
    clock.now += 60
    assert_not_signed_in(visitor.get(PRIVATE, token))


def test_a_message_from_a_fast_clock_gains_nothing(visitor: Visitor) -> None:
    ahead = {"issued_at": NOW + 200, "expires_at": NOW + 1_100}
    assert visitor.send(visitor.message(**ahead)).json()["expires_at"] == NOW + 900


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"audience": Audience("evil.example", URL)}, "wrong-domain", "evil.example"),
        ({"audience": Audience("market.example.com:81", URL)}, "wrong-domain", ":81"),
        ({"audience": Audience(AUDIENCE.domain, f"{URL}/x")}, "wrong-domain", "/x"),
        ({"audience": Audience(f"http://{AUDIENCE.domain}", URL)}, "wrong-domain", "is for"),
        ({"chain_id": CHAIN_ID + 1}, "wrong-chain", str(CHAIN_ID + 1)),
        ({"nonce": "a" * 32}, "unknown-nonce", "nonce"),
        ({"issued_at": NOW - 301, "expires_at": NOW + 100}, "stale-signature", "301 s ago"),
        ({"issued_at": NOW + 301}, "stale-signature", "301 s ahead"),
        ({"expires_at": NOW}, "message-expired", "until"),
        ({"expires_at": NOW + 901}, "message-expired", "at most 900 s"),
        ({"issued_at": NOW - 300, "expires_at": NOW + 601}, "message-expired", "at most 900 s"),
    ],
)
def test_a_message_that_is_not_for_here_and_now(
    visitor: Visitor, changes: dict[str, Any], code: str, says: str
) -> None:
    assert says in refused(visitor.send(visitor.message(**changes)), 403, code)


def test_the_same_with_the_scheme_is_good(visitor: Visitor) -> None:
    named = Audience(f"https://{AUDIENCE.domain}", URL)
    assert visitor.send(visitor.message(audience=named)).status_code == 201


def test_a_message_that_is_not_good_yet(visitor: Visitor) -> None:
    soon = "\nNot Before: 2027-01-15T08:00:01Z"
    assert NOW == 1_800_000_000  # 2027-01-15T08:00:00Z
    assert "good from" in refused(visitor.send(visitor.message() + soon), 403, "message-expired")
    now = soon.replace(":01Z", ":00Z")
    assert visitor.send(visitor.message() + now).status_code == 201


def test_a_message_that_never_expires(visitor: Visitor) -> None:
    endless = visitor.message().partition("\nExpiration")[0]
    assert "must say" in refused(visitor.send(endless), 403, "message-expired")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Version: 1", "Version: 2"),
        ("Nonce: ", "Nonce: -"),
        ("Z\nExpiration", "\nExpiration"),
        ("0x", "0X"),
        ("\n", "\r\n"),
        (STATEMENT, f"{STATEMENT}\nURI: https://evil.example"),
        (STATEMENT, "\u202e"),
        (f"Chain ID: {CHAIN_ID}", f"Chain ID: {'9' * 300}x"),
    ],
)
def test_what_is_no_such_message(visitor: Visitor, old: str, new: str) -> None:
    message = visitor.message().replace(old, new)
    refused(visitor.send(message), 422, "invalid-message")


def test_an_address_without_its_checksum(visitor: Visitor) -> None:
    address = str(visitor.account.address)
    for written in (address.lower(), "0x" + address[2:].upper()):
        message = visitor.message(address=written)
        assert "checksum" in refused(visitor.send(message), 422, "invalid-message")
    other_case = address[:-1] + address[-1].swapcase()
    if other_case != address:
        refused(visitor.send(visitor.message(address=other_case)), 422, "invalid-message")


@pytest.mark.parametrize("size", [0, LONGEST_MESSAGE + 1])
def test_a_message_of_no_size(visitor: Visitor, size: int) -> None:
    assert visitor.send("a" * size).json()["code"] == "invalid"


def test_another_wallet_and_an_altered_message(
    visitor: Visitor, stranger: Callable[[], Visitor]
) -> None:
    message = visitor.message()
    by_another = sign_text(stranger().account, message)
    refused(visitor.send(message, by_another), 403, "wrong-signer")
    good = sign_text(visitor.account, message)
    altered = message.replace("nothing and agrees", "nothing but agrees")
    refused(visitor.send(altered, good), 403, "wrong-signer")
    for signature in ("0x00", "0x" + "ff" * 65, "0x" + "00" * 2048, good[:-2] + "05"):
        refused(visitor.send(message, signature), 403, "wrong-signer")
    # None of that has used the nonce up.
    assert visitor.send(message, good).status_code == 201


def test_without_a_public_url_it_is_where_it_listens(context: Context, visitor: Visitor) -> None:
    nowhere = replace(context, settings=context.settings.model_copy(update={"public_url": ""}))
    app = create_app(nowhere, checks=dict, alerts=list, url="http://[::1]:8123")
    with TestClient(app) as client:
        there = Visitor(visitor.account, client)
        audience = Audience.of("http://[::1]:8123/")
        assert there.send(there.message(audience=audience)).status_code == 201


@given(st.text(string.ascii_letters + string.digits, min_size=8, max_size=64), st.booleans())
def test_the_message_is_the_standards_own(nonce: str, secure: bool) -> None:
    audience = Audience.of(f"http{'s' * secure}://[::1]:8700/deep/path/")
    address = str(Account.from_key("0x" + "07" * 32).address)
    mine = SignIn(audience, address, CHAIN_ID, nonce, NOW, NOW + 900)
    read = SiweMessage.from_message(mine.text())
    assert read.prepare_message() == mine.text()
    assert (read.domain, read.uri, read.nonce) == (audience.domain, audience.uri, nonce)
    assert (read.address, read.chain_id, read.statement) == (address, CHAIN_ID, STATEMENT)
    assert (read.issued_at, read.expiration_time) == (
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:15:00Z",
    )


PIECES = [
    "Z",
    "+24:00",
    "-23:59",
    "0000-",
    "9999-",
    "\x00",
    "\u0663",
    "[",
    "]",
    "%",
    ":",
    "@",
    "\n",
]


@examples(max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_sent_is_answered(data: st.DataObject, context: Context) -> None:
    unlimited = context.settings.model_copy(update={"address_requests_per_minute": 0})
    client = TestClient(create_app(replace(context, settings=unlimited), checks=dict, alerts=list))
    visitor = Visitor(Account.from_key("0x" + "07" * 32), client)
    good = visitor.message(nonce="a" * 32)
    place = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(place, min(len(good), place + 8)))
    odd = data.draw(st.sampled_from(PIECES) | st.text(max_size=4))
    message = good[:place] + odd + good[end:]
    try:
        answer = visitor.send(message)
    except UnicodeEncodeError:
        return
    assert 400 <= answer.status_code < 500, (message, answer.text)


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("http://127.0.0.1:8700", ("127.0.0.1:8700", "http://127.0.0.1:8700")),
        ("https://Me:Secret@Market.Example/a/?q#f", ("market.example", "https://market.example/a")),
        ("https://market.example:443", ("market.example", "https://market.example")),
        ("http://market.example:443", ("market.example:443", "http://market.example:443")),
        ("http://[::1]:80/", ("[::1]", "http://[::1]")),
    ],
)
def test_whom_a_url_stands_for(url: str, audience: tuple[str, str]) -> None:
    assert Audience.of(url) == audience


@pytest.mark.parametrize(
    "url", ["market.example", "ftp://market.example", "http://", "http://a:b", "http://gr\u00fcn/"]
)
def test_what_nobody_can_sign_in_for(url: str, settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"URL|port|Port"):
        Audience.of(url)
    with pytest.raises(ValidationError, match="public_url"):
        Settings(**(settings.model_dump() | {"public_url": url}))


def test_a_nonce_that_would_add_a_line_is_none() -> None:
    for nonce in ("short", "a" * 65, "abcdefgh\nChain ID: 1", "abcdefgh\n", "abcdefg-"):
        with pytest.raises(ValidationError):
            wire.SignInNonce(nonce=nonce, expires_at=NOW, session_seconds=900)
