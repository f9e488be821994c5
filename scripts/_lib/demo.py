"""One booking from listing to payout, on a real node, by three users with the installed `aitbc`.

A provider lists a GPU; a buyer books it and locks the price in the escrow; the provider's machine
delivers, and goes away before the end; the coordinator attests what was delivered; the escrow
pays the provider and refunds the rest; an auditor rebuilds all of it from events. Nothing is
faked or fast-forwarded: the booking is simply a few seconds long.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aitbc.client import Coordinator
from aitbc.protocol.units import format_amount, parse_amount
from local_market import LocalMarket, LocalMarketError, Process, User, open_market

QUOTE_SECONDS = 10
BOOKED_SECONDS = 8
LEAVES_EARLY_SECONDS = 4
PRICE_PER_HOUR = "36"
COIN_PRICE = "1"
"""Of the chain's coin in test dollars, so that either money tells the same story."""
PURSE = "10"
GAS_MONEY = 10**18
SETTINGS = {
    "quote_seconds": str(QUOTE_SECONDS),
    "minimum_seconds": "5",
    "heartbeat_allowance": "4",
    "confirmations": "1",
    "poll_seconds": "0.5",
}
GPU_FLAGS = ("--memory", "24", "--cuda-version", "12.1")
SETTLE_SECONDS = 60


class Timeline:
    """The story, with seconds since its start; beside the data when that goes to stdout."""

    def __init__(self, *, to_stderr: bool) -> None:
        self.started = time.monotonic()
        self.stream = sys.stderr if to_stderr else sys.stdout

    def say(self, who: str, what: str) -> None:
        elapsed = time.monotonic() - self.started
        print(f"{elapsed:5.1f} s  {who:<12} {what}", file=self.stream, flush=True)

    def line(self, text: str = "") -> None:
        print(text, file=self.stream, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument("--native", action="store_true", help="use the chain's own coin as money")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    timeline = Timeline(to_stderr=options.json)
    try:
        with tempfile.TemporaryDirectory(prefix="aitbc-demo-") as folder:
            play(Path(folder), timeline, options)
    except KeyboardInterrupt:
        print("demo: interrupted; everything was stopped and removed", file=sys.stderr)
        return 130
    except LocalMarketError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def play(folder: Path, timeline: Timeline, options: argparse.Namespace) -> None:
    market = open_market(
        folder,
        native=options.native,
        settings=SETTINGS if options.native else {**SETTINGS, "coin_price": COIN_PRICE},
        say=lambda what: timeline.say("operator", what),
    )
    try:
        story = Story(market, timeline)
        story.open_wallets()
        gpu_id = story.list_gpu()
        booking_id = story.book(gpu_id)
        story.deliver(booking_id)
        result = story.audit(booking_id)
        story.print_ledger(result)
        if options.keep:
            result |= {
                "homes": {user.role: str(user.home) for user in story.users},
                "passphrase_file": str(market.passphrase_file),
            }
        if options.json:
            print(json.dumps(result), flush=True)
        if options.keep:
            story.keep()
    finally:
        market.close()


class Story:
    """The three users' part, each step with the command that they would type."""

    def __init__(self, market: LocalMarket, timeline: Timeline) -> None:
        self.market = market
        self.timeline = timeline
        self.provider, self.buyer, self.auditor = self.users = [
            market.user(role) for role in ("provider", "buyer", "auditor")
        ]
        self.addresses: dict[str, str] = {}
        self.symbol = "ETH" if market.token is None else "TUSD"

    def open_wallets(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._open_wallet, self.users))
        self.market.fund(self.addresses["buyer"], GAS_MONEY, self._units(PURSE))
        self.before = self._holdings()
        self.timeline.say("operator", f"gives the buyer {PURSE} {self.symbol} and coin for gas")

    def _open_wallet(self, user: User) -> None:
        address = str(user.json("init")["address"])
        self.addresses[user.role] = address
        self.timeline.say(user.role, f"aitbc init → wallet {address}")

    def list_gpu(self) -> str:
        register = ["marketplace", "gpu", "register", "--name", "My-GPU"]
        detected = self.provider.run("marketplace", "gpu", "detect").returncode == 0
        register += [] if detected else GPU_FLAGS
        register += ["--base-price", PRICE_PER_HOUR, "--region", "us-west"]
        gpu = self.provider.json(*register)
        self.timeline.say("provider", f"aitbc {' '.join(register)} → {gpu['id']}")
        self.provider.json("provider", "session", "create")
        self.serve = self.provider.start("provider", "serve", "--format", "json")
        self.timeline.say("provider", "aitbc provider serve (no wallet is unlocked there)")
        return str(gpu["id"])

    def book(self, gpu_id: str) -> str:
        self.buyer.json("marketplace", "gpu", "list", "--region", "us-west")
        least = self._worth_settling()
        self.timeline.say(
            "coordinator",
            f"takes bookings from {least} {self.symbol} on, whose fee covers the gas of settling",
        )
        command = ["marketplace", "book", "--gpu-id", gpu_id, "--duration", f"{BOOKED_SECONDS}s"]
        booked = self.buyer.json(*command, "--yes")
        self.timeline.say("buyer", f"aitbc {' '.join(command)}")
        self.timeline.say("escrow", f"locks {booked['amount']} {self.symbol}, tx {booked['tx']}")
        self.ends_at = int(booked["ends_at"])
        return str(booked["id"])

    def deliver(self, booking_id: str) -> None:
        self._wait_until(self.ends_at - BOOKED_SECONDS)
        self.timeline.say("provider", "the booking starts: its machine sends signed heartbeats")
        self._wait_until(self.ends_at - LEAVES_EARLY_SECONDS)
        self._stop(self.serve)
        self.timeline.say(
            "provider", f"its machine goes away {LEAVES_EARLY_SECONDS} s before the end"
        )
        watch = self.buyer.start("booking", "watch", booking_id)
        code = watch.wait(SETTLE_SECONDS)
        if code != 0:
            raise LocalMarketError(f"the booking was not settled:\n{watch.tail()}")
        self.timeline.say("coordinator", "attests what the heartbeats prove, and settles")

    def audit(self, booking_id: str) -> dict[str, Any]:
        with ThreadPoolExecutor() as pool:
            showing = pool.submit(self.auditor.json, "booking", "show", booking_id)
            report = self.auditor.json("audit", "reconcile")
            shown = showing.result()
        line = next(b for b in report["bookings"] if b["id"] == booking_id)
        paid, refunded, fee = (self._units(line[k]) for k in ("paid", "refunded", "fee"))
        self.timeline.say("escrow", f"paid {line['paid']}, refunded {line['refunded']}")
        self._check_conservation(paid, fee)
        self.timeline.say("auditor", "aitbc audit reconcile → every unit accounted for")
        market = self.market
        return {
            "rpc_url": market.node.rpc_url,
            "chain_id": market.node.chain_id,
            "escrow": market.escrow,
            "token": market.token,
            "decimals": market.decimals,
            "deploy_block": market.deploy_block,
            "coordinator_url": market.coordinator_url,
            "booking_id": booking_id,
            "buyer": self.addresses["buyer"],
            "provider": self.addresses["provider"],
            "amount": str(self._units(line["funded"])),
            "earned": str(paid + fee),
            "paid": str(paid),
            "refunded": str(refunded),
            "fee": str(fee),
            "fund_tx": shown["fund_tx"],
            "settle_tx": shown["settle_tx"],
            "reconciled": report["reconciled"],
        }

    def print_ledger(self, result: dict[str, Any]) -> None:
        say = self.timeline.line
        say()
        say(f"  ledger of booking {result['booking_id']}")
        for label, key in (
            ("locked by the buyer", "amount"),
            ("paid to the provider's wallet", "paid"),
            ("refunded to the buyer's wallet", "refunded"),
            ("fee", "fee"),
        ):
            amount = format_amount(int(result[key]), self.market.decimals)
            say(f"    {label:<32}{amount:>24} {self.symbol}")
        say(f"  funded in {result['fund_tx']}")
        say(f"  settled in {result['settle_tx']}")
        say("  reconciled from events: " + ("yes, to the unit" if result["reconciled"] else "NO"))

    def keep(self) -> None:
        self.timeline.line("\neverything stays up until Ctrl-C; to be one of the users, run:")
        for user in self.users:
            self.timeline.line(
                f"export AITBC_HOME={user.home} AITBC_PASSPHRASE_FILE={user.passphrase_file}"
                f"  # {user.role}"
            )
        self.provider.start("provider", "serve")
        while True:
            time.sleep(1)

    def _worth_settling(self) -> str:
        with Coordinator(self.market.coordinator_url) as coordinator:
            least = coordinator.minimum().minimum.amount
        if least == 0:
            raise LocalMarketError("the coordinator does not count what settling costs")
        return format_amount(least, self.market.decimals)

    def _check_conservation(self, paid: int, fee: int) -> None:
        """What the wallets hold must be what the events say. Raises LocalMarketError."""
        after = self._holdings()
        change = {name: after[name] - self.before[name] for name in after}
        expected = {"provider": paid, "buyer": -paid - fee, "escrow": fee}
        if change != expected:
            raise LocalMarketError(f"money was lost: wallets moved {change}, events say {expected}")

    def _holdings(self) -> dict[str, int]:
        money = self.market.money_of
        gas = self.market.gas_spent(self.addresses["buyer"]) if self.market.token is None else 0
        return {
            "provider": money(self.addresses["provider"]),
            "buyer": money(self.addresses["buyer"]) + gas,
            "escrow": money(self.market.escrow),
        }

    def _units(self, text: str) -> int:
        return parse_amount(text, self.market.decimals)

    def _wait_until(self, timestamp: int) -> None:
        while time.time() < timestamp:
            time.sleep(0.1)

    def _stop(self, process: Process) -> None:
        process.interrupt()
        if process.wait(30) != 0:
            raise LocalMarketError(f"provider serve failed:\n{process.tail()}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
