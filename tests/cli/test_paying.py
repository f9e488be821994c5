"""`book` in every way of paying, and when the coordinator that should send it does not."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from homes import newly_arrived
from web3 import Web3

import permit2
from aitbc.protocol.artifacts import load_artifact
from aitbc.records import Records
from checks import CANCELLED, FAILED, USAGE, assert_refused
from http_stub import Answer, serving
from in_process import json_here, run_here
from local_market import LocalMarket, User, open_market
from wallets import give_operator_keys

COIN = 10**17
MONEY = 10**6
SETTINGS = {
    "quote_seconds": "10",
    "minimum_seconds": "2",
    "confirmations": "1",
    "poll_seconds": "0.3",
}
JSON_TYPE = {"Content-Type": "application/json"}
Reply = Callable[[Callable[[], Answer]], Answer | None]
"""Given what asks the real coordinator, the answer to pass on; None hangs up."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    """A whole market in a token, with Permit2 on its chain."""
    folder = tmp_path_factory.mktemp("paying")
    made = open_market(folder, settings=SETTINGS, give_keys=give_operator_keys)
    made.coordinator.stop()
    permit2.deploy(made.node.web3, made.node.faucet)
    made.start_coordinator()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gpu_id(market: LocalMarket) -> str:
    provider = funded(market, "provider", coin=0, money=0)
    gpu = json_here(
        provider,
        *("marketplace", "gpu", "register", "--name", "Paid", "--memory", "24"),
        *("--cuda-version", "12.1", "--base-price", "3.6"),
    )
    return str(gpu["id"])


def funded(market: LocalMarket, role: str, *, coin: int = COIN, money: int = MONEY) -> User:
    user = newly_arrived(market, role)
    market.fund(user.address, coin, money)
    return user


starts = iter(range(1, 1_000))


def book(gpu_id: str, *more: str) -> tuple[str, ...]:
    """A booking of two seconds, in minutes that nobody else books."""
    start = ("--start", f"+{next(starts)}m")
    wish = ("marketplace", "book", "--gpu-id", gpu_id, "--duration", "2s", *start)
    return (*wish, "--yes", *more)


def nonce(market: LocalMarket, user: User) -> int:
    return market.node.web3.eth.get_transaction_count(Web3.to_checksum_address(user.address))


def coin_of(market: LocalMarket, user: User) -> int:
    return market.node.web3.eth.get_balance(Web3.to_checksum_address(user.address))


def token(market: LocalMarket) -> Any:
    address = Web3.to_checksum_address(str(market.token))
    return market.node.web3.eth.contract(address, abi=load_artifact("TestDollar").abi)


def allow_permit2(market: LocalMarket, user: User) -> None:
    """As the wallet's owner would have done long ago."""
    web3, owner = market.node.web3, Web3.to_checksum_address(user.address)
    web3.provider.make_request("anvil_impersonateAccount", [owner])  # type: ignore[arg-type]
    before = coin_of(market, user)
    market.node.give_coin(owner, COIN)
    tx_hash = token(market).functions.approve(permit2.ADDRESS, MONEY).transact({"from": owner})
    web3.eth.wait_for_transaction_receipt(tx_hash, 30, 0.1)
    web3.provider.make_request("anvil_setBalance", [owner, hex(before)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pay_by", "transactions"),
    [("auto", 1), ("permit", 1), ("authorization", 1), ("allowance", 2), ("permit2", 2)],
)
def test_ones_own_transactions(
    market: LocalMarket, gpu_id: str, pay_by: str, transactions: int
) -> None:
    buyer = funded(market, f"own-{pay_by}")
    done = run_here(buyer, *book(gpu_id, "--pay-by", pay_by, "--format", "json"))
    assert done.returncode == 0, done.stderr
    booked = json.loads(done.stdout)
    assert booked["paid_by"] == ("permit" if pay_by == "auto" else pay_by)
    assert (booked["relayed"], booked["approve_tx"] is not None) == (False, transactions == 2)
    assert "gas paid by" in done.stderr
    assert nonce(market, buyer) == transactions
    shown = json_here(buyer, "booking", "show", booked["id"])
    assert shown["on_chain"]["state"] == "open"
    assert shown["on_chain"]["remaining"] == booked["amount"]
    functions = token(market).functions
    for spender in (market.escrow, permit2.ADDRESS):
        assert functions.allowance(buyer.address, Web3.to_checksum_address(spender)).call() == 0


@pytest.mark.parametrize("pay_by", ["auto", "authorization", "permit2"])
def test_a_wallet_without_coin(market: LocalMarket, gpu_id: str, pay_by: str) -> None:
    buyer = funded(market, f"broke-{pay_by}", coin=0)
    if pay_by == "permit2":
        allow_permit2(market, buyer)
    sent_before = nonce(market, buyer)
    done = run_here(buyer, *book(gpu_id, "--pay-by", pay_by, "--format", "json"))
    assert done.returncode == 0, done.stderr
    booked = json.loads(done.stdout)
    assert booked["paid_by"] == ("authorization" if pay_by == "auto" else pay_by)
    assert (booked["relayed"], booked["approve_tx"]) == (True, None)
    assert "the coordinator, with your signature for this booking only" in done.stderr
    assert (nonce(market, buyer), coin_of(market, buyer)) == (sent_before, 0)
    (kept,) = Records(buyer.home).bookings()
    assert (kept.booking_id, kept.fund_tx) == (booked["id"], booked["tx"])
    receipt = market.node.web3.eth.get_transaction_receipt(booked["tx"])
    assert receipt["from"] == market.relayer


def book_two(*more: str) -> tuple[str, ...]:
    wanted = ("--where", "name~Twin", "--count", "2", "--duration", "2s")
    return ("marketplace", "book", *wanted, "--start", f"+{next(starts)}m", *more)


@pytest.fixture(scope="module")
def twins(market: LocalMarket) -> None:
    provider = funded(market, "twins", money=0)
    for name in ("Twin 1", "Twin 2"):
        hardware = ("--memory", "24", "--cuda-version", "12.1", "--base-price", "36")
        json_here(provider, "marketplace", "gpu", "register", "--name", name, *hardware)


@pytest.mark.usefixtures("twins")
def test_several_are_paid_in_one_transaction(market: LocalMarket) -> None:
    buyer = funded(market, "two-at-once")
    done = run_here(buyer, *book_two("--yes", "--format", "json"))
    assert done.returncode == 0, done.stderr
    booked = json.loads(done.stdout)
    assert (booked["paid_by"], booked["approve_tx"] is not None) == ("allowance", True)
    assert nonce(market, buyer) == 2
    first, second = booked["bookings"]
    assert first["gpu_id"] != second["gpu_id"]
    assert done.stderr.count("You are about to book:") == 2
    assert f"Lock {booked['amount']} TUSD" not in done.stderr
    for one in (first, second):
        shown = json_here(buyer, "booking", "show", one["id"])
        assert shown["on_chain"]["state"] == "open"
        assert shown["on_chain"]["remaining"] == one["amount"]
    kept = {one.booking_id: one.fund_tx for one in Records(buyer.home).bookings()}
    assert kept == {first["id"]: booked["tx"], second["id"]: booked["tx"]}


@pytest.mark.usefixtures("twins")
def test_several_that_were_quoted_are_asked_about_once(market: LocalMarket) -> None:
    buyer = funded(market, "quoted-two")
    ask = ("marketplace", "quote", "--where", "name~Twin", "--count", "2", "--duration", "2s")
    quotes = json_here(buyer, *ask, "--start", f"+{next(starts)}m")
    ids = [part for quote in quotes for part in ("--quote", quote["id"])]
    done = buyer.run("marketplace", "book", *ids, stdin="n\n")
    assert (done.returncode, done.stderr.count("[y/N]")) == (CANCELLED, 1)
    assert all(quote["gpu_id"] in done.stderr for quote in quotes)


@pytest.mark.usefixtures("twins")
@pytest.mark.parametrize("wish", [["--relay"], ["--pay-by", "permit"]], ids=" ".join)
def test_several_are_never_paid_by_signature(market: LocalMarket, wish: list[str]) -> None:
    buyer = funded(market, "signs-" + "".join(wish))
    done = run_here(buyer, *book_two("--yes", *wish))
    assert_refused(done, USAGE, "is for one GPU")
    broke = funded(market, "broke-two-" + "".join(wish), coin=0)
    assert_refused(run_here(broke, *book_two("--yes")), FAILED, "no coin for gas")


def test_a_wallet_with_coin_is_sent_for_only_if_it_asks(market: LocalMarket, gpu_id: str) -> None:
    buyer = funded(market, "asks")
    assert json_here(buyer, *book(gpu_id, "--relay"))["relayed"] is True
    assert nonce(market, buyer) == 0
    assert json_here(buyer, *book(gpu_id))["relayed"] is False
    assert nonce(market, buyer) == 1


@pytest.mark.parametrize(("coin", "pays"), [(COIN, True), (1, False)])
def test_ones_own_transaction_needs_no_coordinator(
    market: LocalMarket, gpu_id: str, coin: int, pays: bool
) -> None:
    buyer = funded(market, f"alone-{coin}", coin=coin)
    wish = ("--gpu-id", gpu_id, "--duration", "2s", "--start", f"+{next(starts)}m")
    quote = json_here(buyer, "marketplace", "quote", *wish)
    command = ("marketplace", "book", "--quote", quote["id"], "--yes")
    done = run_here(buyer, *command, AITBC_COORDINATOR_URL="http://127.0.0.1:9")
    if pays:
        assert done.returncode == 0, done.stderr
    else:
        assert_refused(done, FAILED, "not enough coin")


def test_without_coin_and_without_relay_nothing_is_paid(market: LocalMarket, gpu_id: str) -> None:
    buyer = funded(market, "stubborn", coin=0)
    done = run_here(buyer, *book(gpu_id, "--no-relay"))
    assert_refused(done, FAILED, "not enough coin")
    assert market.money_of(buyer.address) == MONEY


def test_no_wallet_without_coin_is_quoted_where_nothing_is_relayed(
    market: LocalMarket, gpu_id: str
) -> None:
    buyer = funded(market, "unlucky", coin=0)
    quoted: list[bytes] = []

    def none(ask: Callable[[], Answer]) -> Answer:
        offer = json.loads(ask().body)
        return Answer(body=json.dumps({**offer, "relays": []}).encode())

    def quote(ask: Callable[[], Answer]) -> Answer:
        quoted.append(ask().body)
        return ask()

    with lying(market, {"/v1/market": none, "/v1/quotes": quote}) as url:
        done = run_here(buyer, *book(gpu_id), AITBC_COORDINATOR_URL=url)
    assert_refused(done, FAILED, "no coin for gas, and the coordinator sends no payments")
    assert quoted == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pay-by", "cash"], "--pay-by"),
        (["--pay-by", "permit", "--relay"], "a transaction of your own"),
        (["--relay", "--no-relay", "--pay-by", "none"], "--pay-by"),
    ],
    ids=" ".join,
)
def test_wishes_that_make_no_sense(
    market: LocalMarket, gpu_id: str, arguments: list[str], says: str
) -> None:
    buyer = funded(market, "confused-" + "".join(arguments), money=MONEY)
    done = run_here(buyer, *book(gpu_id, *arguments))
    assert done.returncode == USAGE, done.stderr
    assert says in done.stderr


@contextmanager
def lying(market: LocalMarket, lies: dict[str, Reply]) -> Iterator[str]:
    """A coordinator that forwards to the real one, but for the paths that it lies about."""

    def respond(method: str, path: str, body: bytes) -> Answer | None:
        def ask() -> Answer:
            url = market.coordinator_url + path
            answer = httpx.request(method, url, content=body, headers=JSON_TYPE, timeout=30)
            return Answer(answer.status_code, answer.content)

        lie = lies.get(path.partition("?")[0])
        return ask() if lie is None else lie(ask)

    with serving(respond) as url:
        yield url


def promise(_ask: Callable[[], Answer]) -> Answer:
    """Accepts the payment, and never sends it."""
    return Answer(202, json.dumps({"booking_id": "0x" + "00" * 32, "fund_by": 1}).encode())


def hang_up(_ask: Callable[[], Answer]) -> None:
    return None


def send_and_hang_up(ask: Callable[[], Answer]) -> None:
    ask()


@pytest.mark.parametrize("lie", [promise, hang_up])
def test_what_nobody_sends_is_never_paid(market: LocalMarket, gpu_id: str, lie: Reply) -> None:
    buyer = funded(market, f"dropped-{lie.__name__}", coin=0)
    with lying(market, {"/v1/fundings": lie}) as url:
        done = run_here(buyer, *book(gpu_id), AITBC_COORDINATOR_URL=url)
    assert_refused(done, FAILED, "nothing was paid, and nothing can be paid for it any more")
    assert "if this is interrupted, do not pay in another way before" in done.stderr
    (kept,) = Records(buyer.home).bookings()
    assert kept.fund_tx is None
    assert market.money_of(buyer.address) == MONEY


def test_what_was_sent_counts_whatever_the_coordinator_says(
    market: LocalMarket, gpu_id: str
) -> None:
    buyer = funded(market, "doubting", coin=0)
    with lying(market, {"/v1/fundings": send_and_hang_up}) as url:
        done = run_here(buyer, *book(gpu_id, "--format", "json"), AITBC_COORDINATOR_URL=url)
    assert done.returncode == 0, done.stderr
    assert "may have the payment all the same" in done.stderr
    assert market.money_of(buyer.address) < MONEY


def test_a_refusal_says_what_to_do_instead(market: LocalMarket, gpu_id: str) -> None:
    buyer = funded(market, "refused", coin=0)
    problem = {
        "title": "Conflict",
        "status": 409,
        "code": "relay-budget",
        "detail": "spent",
        "hint": "pay with a transaction of your own",
    }

    def refuse(_ask: Callable[[], Answer]) -> Answer:
        return Answer(409, json.dumps(problem).encode())

    with lying(market, {"/v1/fundings": refuse}) as url:
        done = run_here(buyer, *book(gpu_id), AITBC_COORDINATOR_URL=url)
    assert_refused(done, FAILED, "the coordinator does not send it, and nothing was paid: spent")
    assert "hint: pay with a transaction of your own" in done.stderr
