"""Contracts put on a node from the shipped artifacts, without the deploy script."""

from typing import Any

from web3 import Web3

from aitbc.protocol.artifacts import ContractName, load_artifact


def deploy(web3: Web3, name: ContractName, *arguments: Any) -> tuple[str, int]:
    """Deploy as the node's first account. Returns the address and the block."""
    artifact = load_artifact(name)
    contract: Any = web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    tx_hash = contract.constructor(*arguments).transact({"from": web3.eth.accounts[0]})
    receipt = web3.eth.wait_for_transaction_receipt(tx_hash, 60, 0.05)
    return str(receipt["contractAddress"]), receipt["blockNumber"]
