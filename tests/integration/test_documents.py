"""Every command that a document prints is run, page by page, as that page's reader."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from deploying import deploy
from in_process import json_here
from local_market import BIN, LocalMarket, Node, User, clean_environment, write_secret

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "contracts/README.md"]
RUN_ELSEWHERE = {
    "./scripts/bench gas": "tests/bench/test_gas.py",
    "./scripts/demo": "test_demo.py",
    "./scripts/faults": "test_kill_matrix.py",
    "./scripts/test": "this very run",
    "pip install -e ./cli\naitbc init": "test_guide.py",
}


def blocks(page: str) -> list[str]:
    found = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [block.strip() for block in found]


def run(block: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def confirmed_booking(buyer: User, gpu: str) -> str:
    """The booking of a GPU, once the coordinator has seen its funding confirmed."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [b["id"] for b in json_here(buyer, "booking", "list") if b["gpu_id"] == gpu]
        if found:
            return str(found[0])
        time.sleep(0.5)
    raise AssertionError("the coordinator never listed the booking")


def test_the_front_pages_print_nothing_that_is_not_run() -> None:
    printed = {block for page in PAGES for block in blocks(page)}
    for block in printed - set(RUN_ELSEWHERE):
        run(block, clean_environment())
    assert set(RUN_ELSEWHERE) <= printed


def test_every_page_is_run() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages == {
        *("provider.md", "buyer.md", "pricing.md", "auditor.md", "operator.md", "protocol.md"),
        "runbook.md",
    }
    assert blocks("docs/protocol.md") == blocks("docs/runbook.md") == []


@pytest.mark.timeout(900)
def test_provider_buyer_and_auditor(token_market: LocalMarket, provider: User, buyer: User) -> None:
    for block in blocks("docs/provider.md"):
        if "unregister" not in block:
            run(block, provider.env)
    gpu = provider.json("marketplace", "gpu", "show", "My-GPU")["id"]

    asked = ("quote", "--gpu-id", gpu, "--duration", "60s", "--start", "+2h")
    quote = buyer.json("marketplace", *asked)["id"]
    for block in blocks("docs/pricing.md"):
        run(block, {**buyer.env, "GPU": gpu, "QUOTE": quote})

    env = {**buyer.env, "GPU": gpu}
    for block in blocks("docs/buyer.md"):
        run(block, env)
        if "marketplace book" in block:
            env["BOOKING"] = confirmed_booking(buyer, gpu)

    auditor = token_market.user("the-auditor")
    auditor.json("init")
    env = {
        **auditor.env,
        "BOOKING": env["BOOKING"],
        "RPC_URL": token_market.node.rpc_url,
        "ESCROW": token_market.escrow,
        "DEPLOY_BLOCK": str(token_market.deploy_block),
    }
    for block in blocks("docs/auditor.md"):
        run(block, env)

    (leave,) = (b for b in blocks("docs/provider.md") if "unregister" in b)
    run(leave, provider.env)
    assert provider.json("marketplace", "gpu", "show", "My-GPU")["listed"] is False


@pytest.mark.timeout(900)
def test_operator(tmp_path: Path) -> None:
    node = Node(tmp_path)
    try:
        env = {
            **clean_environment(),
            "AITBC_COORDINATOR_HOME": str(tmp_path / "home"),
            "AITBC_COORDINATOR_PASSPHRASE_FILE": str(write_secret(tmp_path / "passphrase")),
            "SOLCX_BINARY_PATH": str(ROOT / ".venv/solcx"),
            "APE_DATA_FOLDER": str(tmp_path / "ape"),
            "RPC_URL": node.rpc_url,
            "TOKEN": deploy(node.web3, "TestDollar")[0],
            "FEE_RECIPIENT": str(list(node.web3.eth.accounts)[9]),
            "RECORDS": str(tmp_path / "records"),
        }
        for block in blocks("docs/operator.md"):
            printed = run(block, env)
            if match := re.search(r"attester\W+(0x[0-9a-fA-F]{40})", printed):
                env["ATTESTER"] = match[1]
            if match := re.search(r"relayer\W+(0x[0-9a-fA-F]{40})", printed):
                node.give_coin(match[1], 10**18)
        run(f"{BIN}/aitbc-coordinator migrate", env)
        assert (tmp_path / "home" / "config.toml").exists()
    finally:
        node.stop()
