"""What the program signs to read what is private, and what it does with the token."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from canned import Canned
from eth_account import Account
from homes import newly_arrived
from offers import Offer
from patient_market import SETTINGS
from siwe import SiweMessage

from aitbc.access import LONGEST_SECONDS, signed_in
from aitbc.client import Coordinator
from aitbc.errors import CoordinatorError
from aitbc.profile import Profile, save_profile
from aitbc.protocol.wire import SignInRequest
from checks import FAILED, NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from in_process import json_here, run_here
from local_market import LocalMarket, User, open_market
from wallets import give_operator_keys, give_wallet

OPERATOR = Account.from_key("0x" + "0e" * 32)
MARKET = Offer().market
NONCE = "b" * 32
TOKEN = "c" * 43
REGISTER = ["marketplace", "gpu", "register", "--name", "one", "--memory", "24"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    """A market that has an operator."""
    folder = tmp_path_factory.mktemp("operated-market")
    settings = {**SETTINGS, "operator_wallets": str(OPERATOR.address), "settle_gas": "0"}
    market = open_market(folder, native=True, settings=settings, give_keys=give_operator_keys)
    yield market
    market.close()


@pytest.fixture
def user(newcomer: User, canned: Canned) -> User:
    """Somebody with a wallet, whose coordinator's answers are given beforehand."""
    give_wallet(newcomer.home / "keystore", newcomer.passphrase_file)
    save_profile(newcomer.home, Profile(coordinator_url=canned.url, market=MARKET))
    canned.say("/v1/sign-in/nonces", nonce(NONCE), 201)
    canned.say("/v1/sign-in", token(TOKEN), 201)
    return newcomer


def nonce(text: str, session_seconds: int = 3_600) -> str:
    fields = {"nonce": text, "expires_at": 4_000_000_000, "session_seconds": session_seconds}
    return json.dumps(fields)


def token(text: str) -> str:
    fields = {"token": text, "address": MARKET.attester, "expires_at": 4_000_000_000}
    return json.dumps(fields)


def text_seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def quotes(user: User, canned: Canned) -> Any:
    return run_here(user, "marketplace", "quotes", AITBC_COORDINATOR_URL=canned.url)


def test_an_operator_sees_the_coordinator_at_work(live: LocalMarket) -> None:
    operator = live.user("the-operator")
    give_wallet(operator.home / "keystore", operator.passphrase_file, account=OPERATOR)
    operator.json("init")
    before = fingerprint(operator.home)
    deadline = time.monotonic() + 60
    while True:
        found = operator.json("operator", "status")
        if set(found["checks"].values()) == {"ok"}:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
    assert found["leads"] is True
    assert found["followed_block"] >= live.deploy_block
    assert [relayer["address"] for relayer in found["relayers"]] == [live.relayer]
    assert 0 < float(found["relayers"][0]["balance"]) <= 1
    assert (found["waiting"], found["stuck"], found["unclaimed"]) == (0, [], [])
    shown = run_here(operator, "operator", "status").stdout
    assert "followed block" in shown
    assert live.relayer in shown
    # The token is nowhere, and good no more.
    assert fingerprint(operator.home) == before


def test_nobody_else_sees_it(live: LocalMarket) -> None:
    stranger = newly_arrived(live, "stranger")
    assert_refused(run_here(stranger, "operator", "status"), NOT_AUTHORISED, stranger.address)


def test_a_buyer_sees_what_is_held_for_them(live: LocalMarket) -> None:
    buyer, other = newly_arrived(live, "buyer"), newly_arrived(live, "other")
    gpu = json_here(buyer, *REGISTER, "--base-price", "0.05", "--cuda-version", "12.1")["id"]
    quoted = ("marketplace", "quote", "--gpu-id", gpu, "--duration", "60s")
    quote = json_here(buyer, *quoted)["id"]
    assert [held["id"] for held in json_here(buyer, "marketplace", "quotes")] == [quote]
    assert quote in run_here(buyer, "marketplace", "quotes").stdout
    assert json_here(other, "marketplace", "quotes") == []


def test_another_name_of_the_same_place_is_another_place(live: LocalMarket) -> None:
    user = newly_arrived(live, "lost")
    renamed = live.coordinator_url.replace("127.0.0.1", "localhost")
    done = run_here(user, "marketplace", "quotes", AITBC_COORDINATOR_URL=renamed)
    assert_refused(done, NOT_AUTHORISED, f"this coordinator is {live.coordinator_url[7:]}")
    assert "public_url" in done.stderr


def test_what_is_signed_is_for_this_place_and_the_pinned_chain(user: User, canned: Canned) -> None:
    # Whatever the coordinator says of its chain, the pinned one counts.
    other = MARKET.model_copy(update={"chain_id": MARKET.chain_id + 1})
    canned.say("/v1/market", other.model_dump_json())
    canned.say("/v1/quotes", '{"items": []}')
    before = fingerprint(user.home)
    done = quotes(user, canned)
    assert done.returncode == 0, done.stderr
    (body,) = canned.sent
    sent = SignInRequest.model_validate_json(body)
    message = SiweMessage.from_message(sent.message)
    message.verify(sent.signature)
    assert message.domain == canned.url.removeprefix("http://")
    assert (message.uri, message.chain_id) == (canned.url, MARKET.chain_id)
    assert (message.address, message.nonce) == (user.address, NONCE)
    issued, expires = (text_seconds(t) for t in (message.issued_at, message.expiration_time))
    assert abs(issued - time.time()) < 60
    assert expires - issued == LONGEST_SECONDS
    # In, reading, and out again; nothing of it is kept.
    assert canned.asked == ["/v1/sign-in/nonces", "/v1/sign-in", "/v1/quotes", "/v1/sign-in"]
    assert fingerprint(user.home) == before
    assert TOKEN not in done.stdout + done.stderr


def test_no_longer_than_the_coordinator_allows(user: User, canned: Canned) -> None:
    canned.say("/v1/sign-in/nonces", nonce(NONCE, session_seconds=60), 201)
    quotes(user, canned)
    message = SiweMessage.from_message(SignInRequest.model_validate_json(canned.sent[0]).message)
    issued, expires = (text_seconds(t) for t in (message.issued_at, message.expiration_time))
    assert expires - issued == 60


@pytest.mark.parametrize("text", ["", "short", f"{NONCE}\nURI: https://bank.example", f"{NONCE}\n"])
def test_nothing_is_signed_with_what_is_no_nonce(user: User, canned: Canned, text: str) -> None:
    canned.say("/v1/sign-in/nonces", nonce(text), 201)
    assert_refused(quotes(user, canned), FAILED, "not a SignInNonce")
    assert canned.sent == []


@pytest.mark.parametrize("text", ["", "a", f"{TOKEN}\r\nX-More: 1", "é" * 40])
def test_what_is_no_token_is_not_sent(user: User, canned: Canned, text: str) -> None:
    canned.say("/v1/sign-in", token(text), 201)
    assert_refused(quotes(user, canned), FAILED, "not a AccessToken")
    assert canned.asked == ["/v1/sign-in/nonces", "/v1/sign-in"]


def test_a_url_that_no_message_can_name(user: User) -> None:
    done = run_here(user, "marketplace", "quotes", AITBC_COORDINATOR_URL="http://gr\u00fcn.example")
    assert_refused(done, USAGE, "cannot sign in")


def test_a_coordinator_without_operators_says_how_to_have_some(user: User, canned: Canned) -> None:
    problem = {"title": "x", "status": 404, "code": "no-such-path", "detail": "d"}
    canned.say("/v1/operator/status", json.dumps(problem), 404)
    done = run_here(user, "operator", "status", AITBC_COORDINATOR_URL=canned.url)
    assert_refused(done, FAILED, "lets no operator look")
    assert f"set operator_wallets to {user.address}" in done.stderr


def test_a_token_that_was_given_back_is_refused(live: LocalMarket) -> None:
    with Coordinator(live.coordinator_url) as coordinator:
        with signed_in(coordinator, OPERATOR, coordinator.market().chain_id) as given:
            assert coordinator.operator_status(given).leads
        with pytest.raises(CoordinatorError) as caught:
            coordinator.operator_status(given)
    assert (caught.value.status, caught.value.problem) == (401, "not-signed-in")
