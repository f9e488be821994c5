"""A real node on which the same steps cost the same gas every time.

Accounts come from labels, block times are set, and a block holds just what one step sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import solcx
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3.contract.contract import Contract, ContractFunction
from web3.types import TxParams, TxReceipt, Wei

import permit2
from aitbc.protocol.artifacts import Artifact
from local_market import ROOT, LocalMarketError, Node

GENESIS = 2_000_000_000
TRANSACTION_GAS = 16_777_216
"""The most that a transaction may use (EIP-7825)."""
SETUP_GAS = 250_000
SETUP_CALLS = 100
"""So many fit into a block when each may use `SETUP_GAS`."""
COIN = 10**18


@dataclass(frozen=True)
class Call:
    """A transaction to a contract."""

    sender: str
    function: ContractFunction
    value: int = 0


class Chain:
    """An anvil with its own defaults, which sends for anybody without a signature."""

    def __init__(self, folder: Path) -> None:
        options = ("--enable-tx-gas-limit", "--auto-impersonate", "--timestamp", str(GENESIS))
        self.node = Node(folder, *options, block_seconds=0)
        self.web3 = self.node.web3
        # Before each transaction they would ask the node for its chain and its fees.
        for middleware in ("validation", "gas_price_strategy"):
            self.web3.middleware_onion.remove(middleware)
        self.id = self.node.chain_id
        self.deployer = self.account("deployer").address
        permit2.deploy(self.web3, self.deployer)
        self._rpc("evm_setAutomine", False)  # noqa: FBT003 the node's argument
        self.now = GENESIS + 60
        self.measured: set[tuple[str, str]] = set()
        """Contract and function of what `gas` has sent."""

    def account(self, label: str) -> LocalAccount:
        """The account of a label, with coin."""
        account: LocalAccount = Account.from_key(keccak(text=f"aitbc gas {label}"))
        self._rpc("anvil_setBalance", account.address, hex(COIN))
        return account

    def deploy(self, abi: Sequence[Any], bytecode: bytes, *arguments: Any) -> Contract:
        contract: Any = self.web3.eth.contract(abi=abi, bytecode=bytecode)
        transaction = {"from": self.deployer, "gas": TRANSACTION_GAS}
        sent = contract.constructor(*arguments).transact(transaction)
        [receipt] = self._mine([("deployment", sent)])
        address = receipt["contractAddress"]
        if address is None:
            raise LocalMarketError("the node deployed no contract")
        return self.web3.eth.contract(address=address, abi=abi)

    def gas(self, call: Call) -> int:
        """Send one transaction alone in a block; the gas that its receipt reports."""
        [receipt] = self._mine([self._send(call, TRANSACTION_GAS)])
        self.measured.add((call.function.address, call.function.fn_name))
        return int(receipt["gasUsed"])

    def prepare(self, calls: Sequence[Call]) -> None:
        """Send transactions that do not depend on each other's effects, many in a block."""
        for first in range(0, len(calls), SETUP_CALLS):
            part = calls[first : first + SETUP_CALLS]
            self._mine([self._send(call, SETUP_GAS) for call in part])

    def wait_until(self, timestamp: int) -> None:
        """The next block is mined at that time."""
        self.now = timestamp - 1

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Forget at the end all that happens inside."""
        snapshot, now = self._rpc("evm_snapshot"), self.now
        yield
        self._rpc("evm_revert", snapshot)
        self.now = now

    def _send(self, call: Call, gas: int) -> tuple[str, HexBytes]:
        transaction: TxParams = {"from": call.sender, "gas": gas, "value": Wei(call.value)}
        return call.function.fn_name, call.function.transact(transaction)

    def _mine(self, sent: Sequence[tuple[str, HexBytes]]) -> list[TxReceipt]:
        self.now += 1
        self._rpc("evm_setNextBlockTimestamp", self.now)
        self._rpc("evm_mine")
        mined = {r["transactionHash"]: r for r in self.web3.eth.get_block_receipts("latest")}
        for name, tx_hash in sent:
            if tx_hash not in mined:
                raise LocalMarketError(f"{name} is not in the block")
            if mined[tx_hash]["status"] != 1:
                raise LocalMarketError(f"{name} reverted: {self._reason(tx_hash)}")
        return [mined[tx_hash] for _, tx_hash in sent]

    def _reason(self, tx_hash: HexBytes) -> str:
        tracer = {"tracer": "callTracer"}
        trace = self._rpc("debug_traceTransaction", tx_hash.to_0x_hex(), tracer)
        return str(trace.get("revertReason") or trace.get("output") or trace.get("error"))

    def _rpc(self, method: str, *arguments: object) -> Any:
        answer = self.web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]  # anvil's own
        if "error" in answer:
            raise LocalMarketError(f"{method}: {answer['error']}")
        return answer["result"]


def compile_like(artifact: Artifact, source: str, name: str) -> tuple[list[Any], bytes]:
    """ABI and creation code of another contract, compiled just as `artifact` was.

    Raises LocalMarketError if it does not compile.
    """
    settings = dict(artifact.compiler["settings"])
    settings["outputSelection"] = {source: {name: ["abi", "evm.bytecode.object"]}}
    version = str(artifact.compiler["version"]).split("+")[0]
    request = {"language": "Solidity", "sources": {source: _content(source)}, "settings": settings}
    try:
        output = solcx.compile_standard(request, base_path=ROOT, solc_version=version)
    except solcx.exceptions.SolcError as error:
        raise LocalMarketError(f"{source} does not compile: {error}") from error
    contract = output["contracts"][source][name]
    return contract["abi"], bytes.fromhex(contract["evm"]["bytecode"]["object"])


def _content(source: str) -> dict[str, str]:
    return {"content": (ROOT / source).read_text(encoding="utf-8")}
