"""A dispute from beginning to end, on the installed programs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from brief_market import GAS_MONEY, SETTINGS
from eth_account import Account
from eth_account.signers.local import LocalAccount

from aitbc.protocol.states import ARBITER_WINDOW
from aitbc.protocol.units import parse_amount
from in_process import json_here
from local_market import LocalMarket, User, open_market
from wallets import give_operator_keys, give_wallet

CLAIM_WINDOW = 75
PRICE = "3600"
"""Per hour: a coin a second."""


@pytest.fixture(scope="module")
def arbiter_account() -> LocalAccount:
    made: LocalAccount = Account.create()
    return made


@pytest.fixture(scope="module")
def market(
    tmp_path_factory: pytest.TempPathFactory, arbiter_account: LocalAccount
) -> Iterator[LocalMarket]:
    made = open_market(
        tmp_path_factory.mktemp("disputed-market"),
        settings=SETTINGS,
        escrow={"--arbiter": arbiter_account.address, "--claim-window": str(CLAIM_WINDOW)},
        give_keys=give_operator_keys,
    )
    yield made
    made.close()


def resident(market: LocalMarket, role: str, account: LocalAccount | None = None) -> User:
    user = market.user(role)
    give_wallet(user.home / "keystore", user.passphrase_file, account=account)
    user.json("init")
    return user


def wait_for(what: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.time() + seconds
    while not (found := what()):
        assert time.time() < deadline, "it never came true"
        time.sleep(0.5)
    return found


@pytest.mark.timeout(900)
def test_a_dispute_from_beginning_to_end(
    market: LocalMarket, arbiter_account: LocalAccount
) -> None:
    provider, buyer = resident(market, "provider"), resident(market, "buyer")
    arbiter = resident(market, "arbiter", arbiter_account)
    market.fund(buyer.address, GAS_MONEY, 100 * 10**6)
    market.fund(arbiter.address, GAS_MONEY, 0)
    gpu = provider.json(
        *("marketplace", "gpu", "register", "--name", "My-GPU", "--memory", "24"),
        *("--cuda-version", "12.1", "--base-price", PRICE),
    )
    provider.json("provider", "session", "create")
    serving = provider.start("provider", "serve", "--interval", "1", "--format", "json")
    booked = buyer.json(
        *("marketplace", "book", "--gpu-id", gpu["id"], "--duration", "60s", "--yes")
    )
    booking, amount = booked["id"], parse_amount(booked["amount"], 6)
    serving.wait_for('"heartbeat"')
    wait_for(lambda: len([line for line in serving.lines if '"heartbeat"' in line]) > 3)

    disputed = buyer.json("booking", "dispute", booking, "--yes")
    stopped = disputed["disputed_at"]
    assert disputed["arbiter"] == arbiter.address
    serving.wait_for("its buyer has disputed it")
    (listed,) = wait_for(lambda: json_here(arbiter, "booking", "list", "--as", "arbiter"))
    assert (listed["id"], listed["status"]) == (booking, "disputed")

    # The coordinator carries the provider's claim: the provider has no coin for gas.
    cap = amount * (stopped - booked["starts_at"]) // 60
    paid = wait_for(lambda: market.money_of(provider.address))
    assert cap // 2 < paid <= cap
    shown = buyer.json("booking", "show", booking)
    assert (shown["status"], shown["disputed_at"]) == ("disputed", stopped)
    assert shown["on_chain"]["reclaim_from"] == stopped + CLAIM_WINDOW + ARBITER_WINDOW
    early = arbiter.run("booking", "resolve", booking, "--percent", "50", "--yes")
    assert early.returncode == 1, "the test was too slow"
    assert "arbiter's time begins at" in early.stderr

    wait_for(lambda: time.time() > stopped + CLAIM_WINDOW + 1)
    resolved = arbiter.json("booking", "resolve", booking, "--percent", "75", "--yes")
    assert parse_amount(resolved["refunded"], 6) == amount // 4
    fee = amount * 3 // 4 // 100
    assert market.money_of(provider.address) == amount * 3 // 4 - fee
    assert market.money_of(buyer.address) == 100 * 10**6 - amount * 3 // 4
    wait_for(lambda: json_here(buyer, "booking", "show", booking)["status"] == "resolved")
    found = buyer.json("audit", "reconcile")
    assert found["reconciled"] is True
    assert [row["status"] for row in found["bookings"]] == ["resolved"]
    audited = buyer.json("audit", "booking", booking)
    assert audited["evidence_checked"] is True
    assert audited["problems"] == []
    assert [event["event"] for event in audited["events"]] == [
        "Funded",
        "Disputed",
        "Claimed",
        "Resolved",
    ]
