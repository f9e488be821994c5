"""`aitbc-coordinator init` deploys the escrow: once, whatever happens meanwhile."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from operators import Operator
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.files import write_private
from aitbc.protocol.messages import Domain
from aitbc_coordinator import deployment
from aitbc_coordinator.deployment import FILE, Wish
from deploying import deploy
from local_market import Node
from wallets import give_wallet

pytestmark = pytest.mark.usefixtures("own_log")

COIN = 10**18
RECIPIENT = "0x" + "0f" * 20
NATIVE = ("--native", "--fee-recipient", RECIPIENT)


@pytest.fixture(scope="module")
def token(node: Node) -> str:
    return deploy(node.web3, "TestDollar")[0]


@pytest.fixture
def relayer() -> LocalAccount:
    account: LocalAccount = Account.create()
    return account


@pytest.fixture
def operator(tmp_path: Path, node: Node, relayer: LocalAccount) -> Operator:
    """Somebody with keys, and coin for gas."""
    made = Operator(tmp_path / "home")
    passphrase = made.home / "passphrase"
    write_private(passphrase, "quick\n")
    give_wallet(made.home / "keys", passphrase, name="relayer", account=relayer)
    give_wallet(made.home / "keys", passphrase, name="attester")
    node.give_coin(str(relayer.address), COIN)
    return made


def init(operator: Operator, node: Node, *args: str) -> dict[str, Any]:
    done = operator.run_here("init", "--json", "--rpc", node.rpc_url, *args)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def nonce_of(node: Node, account: LocalAccount) -> int:
    return int(node.web3.eth.get_transaction_count(account.address))


def send_coin_to_oneself(node: Node, account: LocalAccount, nonce: int) -> None:
    transaction = {
        "to": account.address,
        "value": 0,
        "nonce": nonce,
        "gas": 21_000,
        "maxFeePerGas": 100 * 10**9,
        "maxPriorityFeePerGas": 10**9,
        "chainId": node.chain_id,
    }
    raw = account.sign_transaction(transaction).raw_transaction
    node.web3.eth.wait_for_transaction_receipt(node.web3.eth.send_raw_transaction(raw), 60)


def test_one_command_makes_a_market_that_can_be_served(
    operator: Operator, node: Node, token: str, relayer: LocalAccount
) -> None:
    arbiter = str(Account.create().address)
    wish = ("--token", token, "--fee-recipient", RECIPIENT, "--fee-bps", "250")
    more = ("--arbiter", arbiter, "--claim-window", "7200")
    found = init(operator, node, *wish, *more)
    config = (operator.home / "config.toml").read_text()
    begun = deployment.read(operator.home)
    assert begun is not None
    assert f'escrow = "{begun.escrow}"' in config
    domain = Domain(chain_id=node.chain_id, escrow=begun.escrow)
    parameters = Escrow(node.web3, domain, "TokenEscrow").parameters
    assert parameters.token == token
    assert (parameters.attester, parameters.arbiter) == (found["attester"], arbiter)
    assert (parameters.fee_bps, parameters.claim_window) == (250, 7200)
    assert parameters.fee_recipient == Web3.to_checksum_address(RECIPIENT)
    assert (operator.home / "coordinator.db").exists()
    assert stat.S_IMODE((operator.home / FILE).stat().st_mode) == 0o600
    doctor = json.loads(operator.run_here("doctor", "--json").stdout)["findings"]
    assert all(finding["state"] != "failed" for finding in doctor)

    assert init(operator, node, *wish, *more) == found
    assert (operator.home / "config.toml").read_text() == config
    assert nonce_of(node, relayer) == 1


def test_an_escrow_of_the_chains_coin(operator: Operator, node: Node) -> None:
    done = operator.run("init", "--rpc", node.rpc_url, *NATIVE)
    assert done.returncode == 0, done.stderr
    assert 'contract = "NativeEscrow"' in (operator.home / "config.toml").read_text()
    assert "deploying NativeEscrow in transaction 0x" in done.stderr
    assert "aitbc-coordinator serve" in done.stderr


def test_what_was_signed_and_never_sent_is_sent(
    operator: Operator, node: Node, relayer: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deployment, "_bring_into_chain", killed)
        operator.run_here("init", "--rpc", node.rpc_url, *NATIVE)
    begun = deployment.read(operator.home)
    assert begun is not None
    assert nonce_of(node, relayer) == 0
    assert (
        not (operator.home / "config.toml").exists()
        or "escrow" not in (operator.home / "config.toml").read_text()
    )
    init(operator, node, *NATIVE)
    assert deployment.read(operator.home) == begun
    assert nonce_of(node, relayer) == 1
    assert begun.escrow in (operator.home / "config.toml").read_text()


def test_another_market_is_not_made_in_the_same_home(
    operator: Operator, node: Node, token: str, relayer: LocalAccount
) -> None:
    init(operator, node, *NATIVE)
    other = ("--token", token, "--fee-recipient", RECIPIENT)
    said = operator.refused_here("init", "--rpc", node.rpc_url, *other, code=2)
    assert "another market was begun in this home: --native --fee-bps 100" in said
    (operator.home / FILE).unlink()
    said = operator.refused_here("init", "--rpc", node.rpc_url, *NATIVE, code=2)
    assert "this home has the escrow" in said
    assert nonce_of(node, relayer) == 1


def test_without_coin_nothing_is_signed(tmp_path: Path, node: Node) -> None:
    poor = Operator(tmp_path / "home")
    poor.give_keys()
    said = poor.refused_here("init", "--rpc", node.rpc_url, *NATIVE)
    address = json.loads(poor.run_here("init", "--json").stdout)["relayer"]
    assert f"the relayer {address} has 0 of the coin of chain {node.chain_id}" in said
    assert "send it coin for gas, and run the same command again" in said
    assert not (poor.home / FILE).exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--native",), "say who earns the fees: --fee-recipient ADDRESS"),
        (("--fee-recipient", RECIPIENT), "--token ADDRESS, or --native"),
        ((*NATIVE, "--token", RECIPIENT), "--token ADDRESS, or --native"),
        ((*NATIVE, "--fee-bps", "1001"), "fee_bps"),
        ((*NATIVE, "--claim-window", "0"), "claim_window"),
        (("--native", "--fee-recipient", "0x" + "00" * 20), "must not be the zero address"),
        (("--native", "--fee-recipient", "0x12"), "fee_recipient"),
        (("--token", RECIPIENT, "--fee-recipient", RECIPIENT), f"no contract at {RECIPIENT}"),
        ((*NATIVE, "--deployment", "records.json"), "either deployed, or named, or in a record"),
    ],
)
def test_a_market_that_cannot_be_is_refused(
    operator: Operator, node: Node, args: tuple[str, ...], message: str
) -> None:
    said = operator.refused_here("init", "--rpc", node.rpc_url, *args, code=2)
    assert message.lower() in said.lower()
    assert not (operator.home / FILE).exists()


def test_a_contract_that_is_no_token_is_refused(operator: Operator, node: Node) -> None:
    init(operator, node)
    escrow = deploy(node.web3, "NativeEscrow", *_parties(node))[0]
    args = ("--token", escrow, "--fee-recipient", RECIPIENT)
    said = operator.refused_here("init", "--rpc", node.rpc_url, *args, code=2)
    assert f"the contract at {escrow} is no ERC-20 token" in said
    assert not (operator.home / FILE).exists()


def test_a_nonce_that_another_transaction_took_is_said(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    attester = str(init(operator, node)["attester"])
    wish = Wish(token=None, fee_recipient=RECIPIENT)
    begun = deployment._sign(node.web3, wish, relayer, attester)
    write_private(operator.home / FILE, begun.model_dump_json())
    send_coin_to_oneself(node, relayer, begun.nonce)
    said = operator.refused_here("init", "--rpc", node.rpc_url, *NATIVE)
    assert f"took nonce {begun.nonce}" in said
    assert f"remove {operator.home / FILE} and run the same command again" in said
    (operator.home / FILE).unlink()
    init(operator, node, *NATIVE)
    assert nonce_of(node, relayer) == 2


def test_a_damaged_record_of_the_deployment_is_named(operator: Operator, node: Node) -> None:
    init(operator, node)
    write_private(operator.home / FILE, "{}")
    said = operator.refused_here("init", "--rpc", node.rpc_url, *NATIVE, code=2)
    assert f"{operator.home / FILE} is no deployment of this program" in said


def _parties(node: Node) -> tuple[Any, ...]:
    return (str(Account.create().address), "0x" + "00" * 20, 100, node.faucet, 86_400)
