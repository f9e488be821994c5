"""A buyer who never holds any coin, from a bare machine to a booking that was paid out."""

import time

import pytest
from web3 import Web3

from in_process import run_here
from local_market import LocalMarket, User

MONEY = 10**6


def wait_until_settled(buyer: User, booking: str) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        done = run_here(buyer, "booking", "show", booking, "--format", "json")
        if '"status": "settled"' in done.stdout:
            return done.stdout
        time.sleep(0.5)
    raise AssertionError(f"never settled: {done.stdout}{done.stderr}")


@pytest.mark.timeout(900)
def test_a_buyer_without_coin_books(token_market: LocalMarket, provider: User) -> None:
    gpu = provider.json(
        *("marketplace", "gpu", "register", "--name", "Gasless", "--memory", "24"),
        *("--cuda-version", "12.1", "--base-price", "3.6"),
    )
    buyer = token_market.user("gasless-buyer")
    address = buyer.json("init")["address"]
    token_market.fund(address, 0, MONEY)
    shown = buyer.run("wallet", "show")
    assert "without coin for gas" in shown.stderr

    booked = buyer.json("marketplace", "book", "--gpu-id", gpu["id"], "--duration", "3s", "--yes")
    assert (booked["paid_by"], booked["relayed"]) == ("authorization", True)
    eth = token_market.node.web3.eth
    receipt = eth.get_transaction_receipt(booked["tx"])
    assert (receipt["from"], receipt["status"]) == (token_market.relayer, 1)

    # Nothing was delivered: all of it comes back, and still the buyer has sent nothing.
    wait_until_settled(buyer, booked["id"])
    account = Web3.to_checksum_address(address)
    assert token_market.money_of(address) == MONEY
    assert (eth.get_balance(account), eth.get_transaction_count(account)) == (0, 0)
