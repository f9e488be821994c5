"""`aitbc-coordinator init` as somebody runs it who founds a market."""

import json
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from operators import Operator

from aitbc.files import write_private
from aitbc_coordinator import deployment
from aitbc_coordinator.deployment import FILE, Begun
from aitbc_coordinator.wish import Wish
from local_market import Node

COIN = 10**18
GWEI = 10**9
RECIPIENT = "0x" + "0f" * 20
NATIVE = ("--native", "--fee-recipient", RECIPIENT)
WISH = Wish(token=None, fee_recipient=RECIPIENT)


def init(operator: Operator, node: Node, *args: str, **settings: str) -> dict[str, Any]:
    done = operator.run_here("init", "--json", "--rpc", node.rpc_url, *args, **settings)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sign(operator: Operator, node: Node, relayer: LocalAccount, wish: Wish = WISH) -> Begun:
    """What `init` signs for a market, and keeps."""
    attester = str(init(operator, node)["attester"])
    return deployment._sign(node.web3, wish, relayer, attester, 500 * GWEI)


def keep(operator: Operator, begun: Begun) -> Path:
    """Put it where `init` keeps it, in the place of what is there."""
    path = operator.home / FILE
    write_private(path, begun.model_dump_json())
    return path


def kept(operator: Operator) -> Begun:
    begun = deployment.read(operator.home)
    assert begun is not None
    return begun


def config_of(operator: Operator) -> str:
    return (operator.home / "config.toml").read_text()


def nonce_of(node: Node, account: LocalAccount) -> int:
    """How many transactions of an account were mined."""
    return int(node.web3.eth.get_transaction_count(account.address))


def mine(node: Node, account: LocalAccount, **fields: Any) -> int:
    """Have a transaction mined that the account signs, whether it fails or not; its block."""
    transaction = {
        "value": 0,
        "gas": 100_000,
        "maxFeePerGas": 100 * GWEI,
        "maxPriorityFeePerGas": GWEI,
        "chainId": node.chain_id,
        **fields,
    }
    raw = account.sign_transaction(transaction).raw_transaction
    receipt = node.web3.eth.wait_for_transaction_receipt(node.web3.eth.send_raw_transaction(raw))
    return int(receipt["blockNumber"])
