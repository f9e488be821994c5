"""`ape run deploy` against a real node."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from web3 import Web3

from aitbc.protocol.artifacts import load_artifact, runtime_matches
from in_process import run_main
from local_market import Node

ROOT = Path(__file__).resolve().parents[2]
APE = ROOT / ".venv/bin/ape"
ATTESTER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
FEE_RECIPIENT = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
ZERO_ADDRESS = "0x" + "00" * 20

Command = Callable[..., list[str]]
Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a fresh node."""
    started = Node(tmp_path_factory.mktemp("node"), block_seconds=0)
    yield started.rpc_url
    started.stop()


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "deployments"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "APE_DATA_FOLDER": str(tmp_path_factory.mktemp("ape"))}


@pytest.fixture
def command(node: str, records: Path) -> Command:
    def make(*arguments: str, account: str = "TEST::0") -> list[str]:
        network = ("--network", f"ethereum:local:{node}", "--account", account)
        standard = ("--attester", ATTESTER, "--fee-recipient", FEE_RECIPIENT)
        return ["run", "deploy", *network, *standard, "--record", str(records), *arguments]

    return make


@pytest.fixture
def deploy(command: Command, env: dict[str, str]) -> Deploy:
    def run(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [APE, *command(*arguments, **options)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def deploy_here(command: Command, env: dict[str, str]) -> Deploy:
    """The same in this process. Once ape was connected here it is not again: for what is refused
    before that."""

    def ape() -> None:
        from ape._cli import cli

        cli(prog_name="ape")

    return lambda *arguments: run_main(ape, env, *command(*arguments))


def recorded(records: Path) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = json.loads((records / "31337.json").read_text())
    return entries


def test_deploys_and_records(deploy: Deploy, records: Path, node: str) -> None:
    first = deploy("--test-dollar")
    assert first.returncode == 0, first.stderr
    token = recorded(records)[0]["constructor"]["token"]  # type: ignore[index]  # plain JSON
    again = deploy("--token", token, "--fee-bps", "0", "--claim-window", "60")
    assert again.returncode == 0, again.stderr

    entry, other = recorded(records)
    web3 = Web3(Web3.HTTPProvider(node))
    receipt = web3.eth.get_transaction_receipt(entry["deploy_tx"])
    assert receipt["contractAddress"] == entry["address"]
    assert receipt["blockNumber"] == entry["deploy_block"]
    artifact = load_artifact("TokenEscrow")
    assert runtime_matches(artifact, bytes(web3.eth.get_code(entry["address"])))
    assert entry == {
        "contract": "TokenEscrow",
        "address": entry["address"],
        "chain_id": 31337,
        "deploy_block": entry["deploy_block"],
        "deploy_tx": entry["deploy_tx"],
        "constructor": {
            "token": token,
            "attester": ATTESTER,
            "arbiter": ZERO_ADDRESS,
            "feeBps": 100,
            "feeRecipient": FEE_RECIPIENT,
            "claimWindow": 86_400,
        },
        "sources_sha256": artifact.sources_sha256,
    }
    escrow = web3.eth.contract(other["address"], abi=artifact.abi).functions
    assert (escrow.token().call(), escrow.feeBps().call()) == (token, 0)
    assert (escrow.attester().call(), escrow.claimWindow().call()) == (ATTESTER, 60)


def test_two_at_once_lose_no_record(deploy: Deploy, records: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        accounts = ["TEST::3", "TEST::4"]
        results = list(pool.map(lambda account: deploy("--native", account=account), accounts))

    assert [result.returncode for result in results] == [0, 0], results
    assert [entry["contract"] for entry in recorded(records)] == ["NativeEscrow"] * 2


BAD_ARGUMENTS = [
    ([], "say what the escrow holds: --token ADDRESS, --native or --test-dollar"),
    (["--native", "--test-dollar"], "say what the escrow holds"),
    (["--native", "--attester", "0x12"], "'0x12' is not an address"),
    (["--native", "--attester", ZERO_ADDRESS], "--attester: must not be the zero address"),
    (["--native", "--arbiter", ATTESTER], "--arbiter: must not be the attester"),
    (["--native", "--fee-bps", "1001"], "1001 is not in the range 0<=x<=1000"),
    (["--native", "--network", "ethereum:local:http://127.0.0.1:1"], "No node found"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS, ids=str)
def test_bad_arguments_deploy_nothing(
    deploy_here: Deploy, records: Path, node: str, arguments: list[str], message: str
) -> None:
    with nothing_deployed(node, records):
        check_refused(deploy_here(*arguments), message)


def test_a_token_without_code_is_refused(deploy: Deploy, records: Path, node: str) -> None:
    with nothing_deployed(node, records):
        result = deploy("--token", FEE_RECIPIENT)
        check_refused(result, f"there is no contract at {FEE_RECIPIENT}")


@contextmanager
def nothing_deployed(node: str, records: Path) -> Iterator[None]:
    eth = Web3(Web3.HTTPProvider(node)).eth
    height = eth.block_number
    yield
    assert eth.block_number == height
    assert not (records / "31337.json").exists()


def check_refused(result: subprocess.CompletedProcess[str], message: str) -> None:
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
