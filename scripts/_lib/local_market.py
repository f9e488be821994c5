"""A whole market on this machine: a node, an escrow, a coordinator, and users with wallets.

Used by the demo and by the tests. Every part is the real one, each on a free port and with its
files under one temporary folder, so that any number of markets run side by side.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import threading
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from web3 import HTTPProvider, Web3
from web3.types import TxData, Wei

from deploying import deploy

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
START_SECONDS = 60
COMMAND_SECONDS = 180

TEST_DOLLAR_ABI = [
    {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [{"name": f"_{i}", "type": kind} for i, kind in enumerate(inputs)],
        "outputs": [{"name": "", "type": output}] if output else [],
    }
    for name, mutability, inputs, output in (
        ("mint", "nonpayable", ("address", "uint256"), None),
        ("transfer", "nonpayable", ("address", "uint256"), "bool"),
        ("balanceOf", "view", ("address",), "uint256"),
        ("approve", "nonpayable", ("address", "uint256"), "bool"),
    )
]


class LocalMarketError(Exception):
    """A part did not start, or a command failed; the message carries its output."""


class Process:
    """A child process whose standard output is read line by line."""

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._log_file: IO[str] = open(log, "a")  # noqa: SIM115 closed in `stop`
        self.popen = subprocess.Popen(
            command,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout or ():
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        # Its output ends a moment before it has ended itself.
        self.popen.wait()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """The first line of standard output that matches. Raises LocalMarketError."""
        regex = re.compile(pattern)

        def found() -> re.Match[str] | None:
            return next((m for m in map(regex.search, self.lines) if m), None)

        with self._changed:
            self._changed.wait_for(
                lambda: found() is not None or self.popen.poll() is not None, seconds
            )
            match = found()
        if match is None:
            raise LocalMarketError(f"{self.popen.args!r} did not start:\n{self.tail()}")
        return match

    def tail(self) -> str:
        return "\n".join([*self.lines[-20:], *self.log.read_text().splitlines()[-20:]])

    def interrupt(self) -> None:
        """Ask it to stop, as Ctrl-C does."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGINT)

    def wait(self, seconds: float = START_SECONDS) -> int:
        code = self.popen.wait(seconds)
        self._reader.join(seconds)
        return code

    def stop(self) -> None:
        self.interrupt()
        try:
            self.wait(15)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.wait(15)
        self._log_file.close()


def anvil_binary() -> Path:
    """The node that `scripts/_lib/setup.py` put beside the Python tools."""
    return BIN / "anvil"


STATES_IN_MEMORY = ("--prune-history", "100000")
"""Options for a node that is to reorganize its chain.

By itself anvil keeps but its newest states in memory, and one that it read again from its disk has
no contracts any more: a reorg back to it would leave nothing deployed, without a word.
"""


class Node:
    """A real anvil that mines every `block_seconds`; with 0, as soon as it has a transaction."""

    def __init__(self, folder: Path, *options: str, block_seconds: int = 1) -> None:
        pace = ["--block-time", str(block_seconds)] if block_seconds else []
        command = [str(anvil_binary()), "--port", "0", *pace, *options]
        self.process = Process(command, folder / "anvil.log")
        match = self.process.wait_for(r"Listening on (127\.0\.0\.1:\d+)")
        self.rpc_url = f"http://{match[1]}"
        self.web3 = Web3(HTTPProvider(self.rpc_url, request_kwargs={"timeout": 30}))
        self.chain_id = self.web3.eth.chain_id
        self.faucet = self.web3.eth.accounts[0]

    def give_coin(self, account: str, amount: int) -> None:
        """Send `amount` wei from one of the node's own funded accounts."""
        self._wait(
            self.web3.eth.send_transaction(
                {"from": self.faucet, "to": Web3.to_checksum_address(account), "value": Wei(amount)}
            )
        )

    def give_token(self, token: str, account: str, amount: int) -> None:
        """Mint test dollars."""
        contract = self.web3.eth.contract(
            address=Web3.to_checksum_address(token), abi=TEST_DOLLAR_ABI
        )
        mint = contract.functions.mint(Web3.to_checksum_address(account), amount)
        self._wait(mint.transact({"from": self.faucet}))

    def _wait(self, tx_hash: Any) -> None:
        receipt = self.web3.eth.wait_for_transaction_receipt(tx_hash, 60, 0.1)
        if receipt["status"] != 1:
            raise LocalMarketError(f"transaction {tx_hash.hex()} reverted")

    def stop(self) -> None:
        self.process.stop()


@dataclass(frozen=True)
class User:
    """Somebody with a home, a keystore and the installed `aitbc`."""

    role: str
    home: Path
    passphrase_file: Path
    coordinator_url: str
    rpc_url: str
    background: list[Process] = field(repr=False)
    """What any user of the market runs; stopped with it."""

    @property
    def env(self) -> dict[str, str]:
        return {
            **clean_environment(),
            "AITBC_HOME": str(self.home),
            "AITBC_PASSPHRASE_FILE": str(self.passphrase_file),
            "AITBC_COORDINATOR_URL": self.coordinator_url,
            "AITBC_RPC_URL": self.rpc_url,
        }

    def run(
        self, *args: str, stdin: str | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `aitbc` to its end, whatever its exit code."""
        return subprocess.run(
            [str(BIN / "aitbc"), *args],
            env={**self.env, **env},
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def json(self, *args: str) -> Any:
        """Run `aitbc … --format json`; its parsed output. Raises LocalMarketError if it fails."""
        done = self.run(*args, "--format", "json")
        if done.returncode != 0:
            raise LocalMarketError(
                f"aitbc {' '.join(args)} exited {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return json.loads(done.stdout)

    def start(self, *args: str) -> Process:
        """Run `aitbc` in the background."""
        log = self.home.parent / f"{self.role}.log"
        process = Process([str(BIN / "aitbc"), *args], log, self.env)
        self.background.append(process)
        return process

    @property
    def address(self) -> str:
        """The address of this user's wallet; `aitbc init` must have made it."""
        wallet = json.loads((self.home / "keystore" / "default.json").read_text())
        return str(Web3.to_checksum_address("0x" + wallet["address"].removeprefix("0x")))


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of aitbc itself."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AITBC_", "APE_"))}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}


class OperatorKeys(NamedTuple):
    """The addresses of a coordinator's two keys."""

    attester: str
    relayer: str


@dataclass
class LocalMarket:
    """A running market. `close` ends every process of it."""

    folder: Path
    node: Node
    escrow: str
    deploy_block: int
    token: str | None
    keys: OperatorKeys
    coordinator_settings: dict[str, str]
    coordinator: Process = field(init=False)
    coordinator_url: str = field(init=False)
    _background: list[Process] = field(default_factory=list)
    _gas: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By sender, of all blocks before the next one that is to be read."""
    _next_block: int = field(init=False)

    def __post_init__(self) -> None:
        self._next_block = self.deploy_block

    @property
    def passphrase_file(self) -> Path:
        """One passphrase for the keystores of all users here."""
        path = self.folder / "users.passphrase"
        return path if path.exists() else write_secret(path)

    @property
    def attester(self) -> str:
        return self.keys.attester

    @property
    def relayer(self) -> str:
        return self.keys.relayer

    @property
    def decimals(self) -> int:
        return 18 if self.token is None else 6

    def money_of(self, account: str) -> int:
        """Balance in the market's money, in base units."""
        address = Web3.to_checksum_address(account)
        if self.token is None:
            return self.node.web3.eth.get_balance(address)
        token = Web3.to_checksum_address(self.token)
        contract = self.node.web3.eth.contract(address=token, abi=TEST_DOLLAR_ABI)
        return int(contract.functions.balanceOf(address).call())

    def gas_spent(self, sender: str) -> int:
        """Wei that an account's mined transactions cost in gas, since the deployment."""
        web3 = self.node.web3
        head = web3.eth.block_number
        for number in range(self._next_block, head + 1):
            block = web3.eth.get_block(number, full_transactions=True)
            for transaction in cast("Sequence[TxData]", block["transactions"]):
                receipt = web3.eth.get_transaction_receipt(transaction["hash"])
                self._gas[transaction["from"]] += receipt["gasUsed"] * receipt["effectiveGasPrice"]
        self._next_block = head + 1
        return self._gas[sender]

    def start_coordinator(self, port: int = 0) -> None:
        env = {**clean_environment(), **self.coordinator_settings}
        command = [str(BIN / "aitbc-coordinator"), "serve", "--port", str(port)]
        self.coordinator = Process(command, self.folder / "coordinator.log", env)
        self.coordinator_url = self.coordinator.wait_for(r"listening on (http://\S+)")[1]

    def user(self, role: str) -> User:
        """A new user with a home of their own; `aitbc init` makes their wallet."""
        return User(
            role=role,
            home=self.folder / role,
            passphrase_file=self.passphrase_file,
            coordinator_url=self.coordinator_url,
            rpc_url=self.node.rpc_url,
            background=self._background,
        )

    def fund(self, account: str, coin: int, money: int) -> None:
        """Give coin for gas (wei), and money of the market (base units)."""
        self.node.give_coin(account, coin + (money if self.token is None else 0))
        if self.token is not None and money:
            self.node.give_token(self.token, account, money)

    def close(self) -> None:
        """Stop what users run, then the coordinator, then the node."""
        for process in (*self._background, getattr(self, "coordinator", None), self.node.process):
            if process is not None:
                process.stop()


def write_secret(path: Path) -> Path:
    path.touch(mode=0o600, exist_ok=True)
    path.write_text(secrets.token_urlsafe(24) + "\n")
    return path


def open_market(
    folder: Path,
    *,
    native: bool = False,
    settings: Mapping[str, str] | None = None,
    escrow: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    give_keys: Callable[[Path, Path], OperatorKeys] | None = None,
) -> LocalMarket:
    """Start a node, make the operator's keys, deploy an escrow, and start a coordinator.

    `settings` are coordinator settings without their prefix, such as `quote_seconds`; `escrow`
    are options of `aitbc-coordinator init`, such as `--arbiter`, which by default is nobody.
    `give_keys` puts keys into the coordinator's home, given its passphrase; without it the
    coordinator makes them.
    """
    node = Node(folder)
    try:
        say(f"a node (anvil) runs at {node.rpc_url}, chain {node.chain_id}, a block a second")
        home = folder / "coordinator"
        passphrase_file = write_secret(folder / "operator.passphrase")
        configured = {
            "AITBC_COORDINATOR_HOME": str(home),
            "AITBC_COORDINATOR_PASSPHRASE_FILE": str(passphrase_file),
            **{f"AITBC_COORDINATOR_{k.upper()}": v for k, v in (settings or {}).items()},
        }
        if give_keys is None:
            made = json.loads(coordinator_command(configured, "init", "--json"))
            [relayer] = made["relayers"]
            keys = OperatorKeys(made["attester"], relayer)
        else:
            keys = give_keys(home, passphrase_file)
        node.give_coin(keys.relayer, 10**18)
        token = None if native else deploy(node.web3, "TestDollar")[0]
        options = {
            "--rpc": node.rpc_url,
            "--public-rpc": node.rpc_url,
            "--fee-recipient": str(list(node.web3.eth.accounts)[9]),
            **({} if token is None else {"--token": token}),
            **(escrow or {}),
        }
        flags = [part for option in options.items() for part in option]
        coordinator_command(configured, "init", *(["--native"] if native else []), *flags)
        config = tomllib.loads((home / "config.toml").read_text())
        market = LocalMarket(
            folder, node, config["escrow"], config["deploy_block"], token, keys, configured
        )
        say(f"an escrow is deployed at {market.escrow}, attester {market.attester}")
        market.start_coordinator()
    except BaseException:
        node.stop()
        raise
    say(f"a coordinator serves the market at {market.coordinator_url}")
    return market


def coordinator_command(env: Mapping[str, str], *args: str) -> str:
    return checked([str(BIN / "aitbc-coordinator"), *args], {**clean_environment(), **env})


def checked(command: Sequence[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise LocalMarketError(
            f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout
