"""`./scripts/demo`, as a stranger runs it: twice at once, and then checked against the chain."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from web3 import HTTPProvider, Web3

from aitbc.chain.escrow import Escrow
from aitbc.protocol.events import Funded, PayoutDeferred, Settled, SettledInFull
from aitbc.protocol.messages import Domain

ROOT = Path(__file__).resolve().parents[2]
FIELDS = [
    "rpc_url",
    "chain_id",
    "escrow",
    "token",
    "deploy_block",
    "coordinator_url",
    "booking_id",
    "buyer",
    "provider",
    "amount",
    "earned",
    "paid",
    "refunded",
    "fee",
    "fund_tx",
    "settle_tx",
    "reconciled",
    "homes",
    "passphrase_file",
]


@dataclass
class Demo:
    """What a demo said: its JSON at once, the story on standard error once it has ended."""

    result: dict[str, Any]
    story: str = ""


@contextmanager
def demo(*options: str) -> Iterator[Demo]:
    """A demo that is kept running inside the block."""
    process = subprocess.Popen(
        [str(ROOT / "scripts/demo"), "--json", "--keep", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        told = Demo(json.loads(line))
        yield told
    finally:
        # A test run in the background of a shell ignores SIGINT, and so does what it starts.
        process.send_signal(signal.SIGTERM)
        story = process.communicate(timeout=60)[1]
    told.story = story
    assert process.returncode == 130


def check(result: dict[str, Any]) -> None:
    assert set(FIELDS) <= set(result)
    web3 = Web3(HTTPProvider(result["rpc_url"]))
    assert web3.eth.chain_id == result["chain_id"]
    contract = "NativeEscrow" if result["token"] is None else "TokenEscrow"
    domain = Domain(chain_id=result["chain_id"], escrow=result["escrow"])
    escrow = Escrow(web3, domain, contract)
    funding = web3.eth.get_transaction_receipt(result["fund_tx"])
    (funded,) = escrow.events_of(list(funding["logs"]))
    assert isinstance(funded, Funded)
    assert funded.booking_id == result["booking_id"] == funded.terms.booking_id(domain)
    assert (funded.terms.buyer, funded.terms.provider) == (result["buyer"], result["provider"])
    settlement = web3.eth.get_transaction_receipt(result["settle_tx"])
    (settled,) = escrow.events_of(list(settlement["logs"]))
    assert not isinstance(settled, SettledInFull | PayoutDeferred)
    assert isinstance(settled, Settled)
    told = [int(result[key]) for key in ("amount", "paid", "fee", "refunded")]
    assert told == [funded.terms.amount, settled.paid, settled.fee, settled.refunded]
    assert int(result["earned"]) == settled.paid + settled.fee
    assert settled.refunded > 0
    assert settled.paid > 0
    assert result["reconciled"] is True


def use_as(role: str, result: dict[str, Any], *command: str) -> str:
    """Type a command in a kept demo, with nothing but what its `export` line gives."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("AITBC_")}
    env |= {
        "AITBC_HOME": result["homes"][role],
        "AITBC_PASSPHRASE_FILE": result["passphrase_file"],
    }
    program = str(ROOT / ".venv/bin/aitbc")
    done = subprocess.run(
        [program, *command], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def check_story(story: str) -> None:
    for phrase in (
        "marketplace gpu register",
        "fee covers the gas of settling",
        "locks",
        "heartbeats",
        "refunded",
        "reconciled",
    ):
        assert phrase in story
    assert "to the unit" in story


@pytest.mark.timeout(900)
def test_two_demos_at_once_end_as_the_chain_says_and_clean_up() -> None:
    with demo() as in_token, demo("--native") as in_coin:
        token, native = in_token.result, in_coin.result
        check(token)
        check(native)
        assert token["token"] is not None
        assert native["token"] is None
        assert token["rpc_url"] != native["rpc_url"]
        use_as("provider", token, "marketplace", "earnings", "--gpu-id", "My-GPU")
        use_as("buyer", native, "booking", "show", native["booking_id"])
        use_as("auditor", token, "audit", "reconcile")
        homes = [Path(home) for result in (token, native) for home in result["homes"].values()]
        assert all(home.is_dir() for home in homes)
    assert not any(home.exists() for home in homes)
    with pytest.raises(OSError, match="refused"):
        Web3(HTTPProvider(token["rpc_url"])).eth.get_block_number()
    for told in (in_token, in_coin):
        check_story(told.story)
