"""An escrow is retired: nothing new is funded, and what is booked goes on."""

import json
import subprocess
import time
import tomllib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from canned import Canned
from eth_account import Account
from homes import newly_arrived
from web3 import Web3

from aitbc.protocol.messages import Retirement
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.wire import Market, SignedRetirement
from aitbc.signing import sign
from checks import FAILED, USAGE, assert_refused
from in_process import json_here, run_here
from local_market import BIN, LocalMarket, User, clean_environment, open_market
from wallets import give_operator_keys

COIN = 10**18
SUCCESSOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SETTINGS = {
    "quote_seconds": "30",
    "minimum_seconds": "2",
    "heartbeat_allowance": "1",
    "confirmations": "1",
    "poll_seconds": "0.3",
    "settle_gas": "0",
}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    folder = tmp_path_factory.mktemp("retired")
    made = open_market(folder, native=True, settings=SETTINGS, give_keys=give_operator_keys)
    yield made
    made.close()


def retire(market: LocalMarket, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "aitbc-coordinator"), "retire", *options],
        env={**clean_environment(), **market.coordinator_settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def status_of(buyer: User, booking: str) -> str:
    return str(json_here(buyer, "booking", "show", booking)["status"])


def wait_until_settled(buyer: User, booking: str) -> None:
    deadline = time.monotonic() + 60
    while status_of(buyer, booking) != "settled":
        assert time.monotonic() < deadline
        time.sleep(0.3)


def told(market: LocalMarket) -> Any:
    return httpx.get(f"{market.coordinator_url}/v1/market").json()


def check_retired(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert_refused(done, FAILED, says)
    assert SUCCESSOR in done.stderr


@pytest.mark.timeout(600)
def test_a_retired_escrow_is_never_funded_again(market: LocalMarket, canned: Canned) -> None:
    provider, buyer = newly_arrived(market, "provider"), newly_arrived(market, "buyer")
    market.fund(buyer.address, COIN, COIN)
    register = ("marketplace", "gpu", "register", "--memory", "24", "--cuda-version", "12.1")
    gpu_id = json_here(provider, *register, "--name", "Last", "--base-price", "0.36")["id"]
    wish = ("--gpu-id", gpu_id, "--duration", "5s")
    booked = json_here(buyer, "marketplace", "book", *wish, "--yes")
    held = json_here(buyer, "marketplace", "quote", *wish, "--start", "+2m")
    assert told(market)["retirement"] is None

    assert retire(market).returncode == 1, "nobody said yes"
    assert_refused(retire(market, "--yes", "--successor", "me"), USAGE, "not an address")
    itself = retire(market, "--yes", "--successor", market.escrow)
    assert_refused(itself, USAGE, "which is to be retired")
    assert told(market)["retirement"] is None
    done = retire(market, "--yes", "--successor", SUCCESSOR, "--json")
    assert done.returncode == 0, done.stderr
    signed = SignedRetirement.model_validate_json(done.stdout)
    domain = Market.model_validate(told(market)).domain
    assert signed.retirement.signer(domain, signed.signature) == market.attester
    again = retire(market, "--yes")
    assert f"successor  {SUCCESSOR}" in again.stdout, "what was signed first stands"
    assert told(market)["retirement"] == json.loads(done.stdout)

    spent = market.node.web3.eth.get_transaction_count(Web3.to_checksum_address(buyer.address))
    book = ("marketplace", "book", "--quote", held["id"], "--yes")
    check_retired(run_here(buyer, *book), "is retired since")
    refused = run_here(buyer, "marketplace", "quote", *wish, "--start", "+4m")
    check_retired(refused, "escrow is retired")

    # Whatever the coordinator says from now on, and whether it says anything.
    pinned = tomllib.loads((buyer.home / "config.toml").read_text())["market"]
    assert pinned["retirement"]["signature"] == signed.signature
    canned.say("/v1/market", json.dumps({**told(market), "retirement": None}))
    for url in (canned.url, "http://127.0.0.1:9"):
        elsewhere = run_here(buyer, *book, AITBC_COORDINATOR_URL=url)
        check_retired(elsewhere, "is retired since")
    wallet = Web3.to_checksum_address(buyer.address)
    assert market.node.web3.eth.get_transaction_count(wallet) == spent

    newcomer = market.user("newcomer")
    check_retired(run_here(newcomer, "init"), "is retired since")
    assert not (newcomer.home / "config.toml").exists()
    wait_until_settled(buyer, booked["id"])


def test_what_the_attester_did_not_sign_retires_nothing(
    market: LocalMarket, canned: Canned
) -> None:
    message = Retirement(retired_at=1, successor=ZERO_ADDRESS)
    offered = Market.model_validate(told(market) | {"retirement": None})
    forged = SignedRetirement(
        retirement=message, signature=sign(Account.create(), message, offered.domain)
    )
    lie = offered.model_copy(update={"retirement": forged})
    canned.say("/v1/market", lie.model_dump_json())
    newcomer = market.user("deceived")
    refused = run_here(newcomer, "init", "--coordinator", canned.url)
    assert_refused(refused, FAILED, "its attester did not sign that")
