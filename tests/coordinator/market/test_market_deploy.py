"""`aitbc-coordinator init` deploys the escrow: one command makes a market."""

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from founding import GWEI, NATIVE, RECIPIENT, config_of, init, kept, nonce_of
from hexbytes import HexBytes
from operators import PROGRAM, Operator
from web3 import Web3
from web3.types import RPCEndpoint

from aitbc.chain.escrow import Escrow
from aitbc.protocol import wire
from aitbc.protocol.messages import Domain
from aitbc_coordinator.deployment import FILE
from deploying import deploy
from local_market import Node, Process

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.fixture(scope="module")
def token(node: Node) -> str:
    return deploy(node.web3, "TestDollar")[0]


def test_one_command_makes_a_market_of_a_token(
    operator: Operator, node: Node, token: str, relayer: LocalAccount
) -> None:
    arbiter = str(Account.create().address)
    wish = ("--token", token, "--fee-recipient", RECIPIENT, "--fee-bps", "250")
    more = ("--arbiter", arbiter, "--claim-window", "7200")
    found = init(operator, node, *wish, *more)
    config, begun = config_of(operator), kept(operator)
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
    assert config_of(operator) == config
    assert nonce_of(node, relayer) == 1


def test_a_market_of_the_chains_coin_is_served_next(
    operator: Operator, node: Node, tmp_path: Path
) -> None:
    done = operator.run("init", "--rpc", node.rpc_url, *NATIVE)
    assert done.returncode == 0, done.stderr
    assert 'contract = "NativeEscrow"' in config_of(operator)
    assert "deploying NativeEscrow in transaction 0x" in done.stderr
    assert "aitbc-coordinator serve" in done.stderr
    process = Process([PROGRAM, "serve", "--port", "0"], tmp_path / "log", operator.env())
    try:
        url = process.wait_for(r"^listening on (http://127\.0\.0\.1:\d+)$")[1]
        market = wire.Market.model_validate(httpx.get(f"{url}/v1/market").json())
    finally:
        process.stop()
    assert (market.escrow, market.token) == (kept(operator).escrow, None)


@pytest.mark.parametrize(
    ("args", "settings", "says"),
    [
        (["--set", "coin_price=3000"], {}, "leave it out"),
        ([], {"coin_price": "3000"}, "correct the environment's AITBC_COORDINATOR_COIN_PRICE"),
    ],
)
def test_nothing_is_deployed_for_settings_that_cannot_be(
    operator: Operator, node: Node, args: list[str], settings: dict[str, str], says: str
) -> None:
    block = node.web3.eth.block_number
    rpc = ("--rpc", node.rpc_url)
    assert says in operator.refused_here("init", *rpc, *NATIVE, *args, code=2, **settings)
    assert not (operator.home / "config.toml").exists()
    assert not (operator.home / FILE).exists()
    assert node.web3.eth.block_number == block


def test_it_waits_for_as_many_blocks_as_the_environment_says(
    operator: Operator, node: Node
) -> None:
    init(operator, node, *NATIVE, "--set", "confirmations=0", confirmations="4")
    receipt = node.web3.eth.get_transaction_receipt(HexBytes(kept(operator).tx_hash))
    assert node.web3.eth.block_number >= receipt["blockNumber"] + 4
    assert f"deploy_block = {receipt['blockNumber']}" in config_of(operator)


def test_the_relayer_pays_no_more_for_gas_than_is_set(operator: Operator, node: Node) -> None:
    raise_price = RPCEndpoint("anvil_setNextBlockBaseFeePerGas")
    node.web3.provider.make_request(raise_price, [hex(20 * GWEI)])
    node.web3.provider.make_request(RPCEndpoint("evm_mine"), [])
    low = ("--set", "maximum_fee_gwei=1")
    said = operator.refused_here("init", "--rpc", node.rpc_url, *NATIVE, *low)
    assert "gwei for gas: more than this program pays" in said
    assert "raise maximum_fee_gwei" in said
    assert not (operator.home / FILE).exists()
    init(operator, node, *NATIVE, *low, maximum_fee_gwei="22")
    signed = TypedTransaction.from_bytes(HexBytes(kept(operator).raw)).as_dict()
    assert signed["maxFeePerGas"] <= 22 * GWEI


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
    address = json.loads(poor.run_here("init", "--json").stdout)["relayers"][0]
    assert f"the relayer {address} has 0 of the coin of chain {node.chain_id}" in said
    assert "send it coin for gas, and run the same command again" in said
    assert not (poor.home / FILE).exists()
    node.give_coin(address, 10**18)
    init(poor, node, *NATIVE)


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


def test_the_attester_cannot_be_the_arbiter(operator: Operator, node: Node) -> None:
    attester = str(init(operator, node)["attester"])
    args = (*NATIVE, "--arbiter", attester)
    said = operator.refused_here("init", "--rpc", node.rpc_url, *args, code=2)
    assert "--arbiter must not be this coordinator's attester" in said
    assert not (operator.home / FILE).exists()


def test_a_contract_that_is_no_token_is_refused(operator: Operator, node: Node) -> None:
    escrow = deploy(node.web3, "NativeEscrow", *_parties(node))[0]
    args = ("--token", escrow, "--fee-recipient", RECIPIENT)
    said = operator.refused_here("init", "--rpc", node.rpc_url, *args, code=2)
    assert f"the contract at {escrow} is no ERC-20 token" in said
    assert not (operator.home / FILE).exists()


def _parties(node: Node) -> tuple[Any, ...]:
    return (str(Account.create().address), "0x" + "00" * 20, 100, node.faucet, 86_400)
