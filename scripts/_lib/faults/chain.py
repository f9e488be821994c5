"""A node that mines a block a second as it is told to, and the escrow on it.

It knows which transactions are in a block, so that nobody has to ask the node again and again; and
it can do what a public chain does now and then: replace its newest blocks, or leave transactions
waiting that offer too little.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.types import RPCEndpoint

from aitbc.chain.escrow import Escrow
from aitbc.protocol.artifacts import ContractName, load_artifact
from aitbc.protocol.messages import Domain
from faults.plan import FEE_BPS
from local_market import STATES_IN_MEMORY, LocalMarketError, Node

COIN = 10**18
GWEI = 10**9
BLOCK_SECONDS = 1.0
GAS_LIMIT = 200_000_000
CLAIM_WINDOW = 86_400
PURSE = 10**12
"""Base units of the token that every buyer has."""
MINED_SECONDS = 60
CONNECTIONS = 4
"""To the node: web3 keeps one for each thread that asks, and people are many."""
Answer = TypeVar("Answer")
FEE = {"maxFeePerGas": 100_000 * GWEI, "maxPriorityFeePerGas": GWEI, "gas": 500_000}


@dataclass(frozen=True)
class Mined:
    block: int
    succeeded: bool


class Wallet:
    """Somebody who sends transactions, one nonce after the other."""

    def __init__(self, chain: Chain) -> None:
        self.account: LocalAccount = Account.create()
        self.address = str(self.account.address)
        self._chain = chain
        self._nonce = 0
        self._lock = threading.Lock()
        chain.call("anvil_setBalance", self.address, hex(1000 * COIN))

    def send(self, function: Any) -> str:
        """Sign and send a call without waiting; its hash."""
        with self._lock:
            transaction = function.build_transaction(
                {**FEE, "nonce": self._nonce, "chainId": self._chain.chain_id, "value": 0}
            )
            raw = self.account.sign_transaction(transaction).raw_transaction
            hexed = "0x" + bytes(raw).hex()
            sent = self._chain.ask(lambda: self._chain.call("eth_sendRawTransaction", hexed))
            self._nonce += 1
        return str(sent)

    def execute(self, function: Any) -> bool:
        """Send a call and wait until it is in a block. Returns whether it succeeded."""
        return self._chain.wait_for(self.send(function)).succeeded


class Chain:
    """A node of its own. `tick` of a mischief is called before every block that is due."""

    def __init__(self, folder: Path, attester: str) -> None:
        options = ("--no-mining", "--gas-limit", str(GAS_LIMIT), *STATES_IN_MEMORY)
        self.node = Node(folder, *options, block_seconds=0)
        self.web3 = self.node.web3
        self.chain_id = self.node.chain_id
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self.before_block: Callable[[], None] = lambda: None
        self.failure: Exception | None = None
        self._mined: dict[str, Mined] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="miner", daemon=True)
        try:
            self._deploy(attester)
        except BaseException:
            self.node.stop()
            raise
        self._thread.start()

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """For any of many threads: the answer of something that asks the node."""
        return self._pool.submit(question).result()

    def call(self, method: str, *params: Any) -> Any:
        """Any method of the node. Raises LocalMarketError where it refuses."""
        answer = self.web3.provider.make_request(RPCEndpoint(method), list(params))
        if "error" in answer:
            raise LocalMarketError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait_for(self, tx_hash: str) -> Mined:
        """Where a transaction was mined. Raises LocalMarketError when it is not, in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or tx_hash in self._mined, MINED_SECONDS)
            found = self._mined.get(tx_hash)
        if found is None:
            raise LocalMarketError(f"transaction {tx_hash} was not mined: {self.failure}")
        return found

    def mine(self) -> None:
        """One block, of now."""
        head = self.web3.eth.get_block("latest")["timestamp"]
        self.call("evm_setNextBlockTimestamp", max(head + 1, int(time.time())))
        self.call("evm_mine")
        number = int(self.web3.eth.block_number)
        receipts = self.call("eth_getBlockReceipts", hex(number))
        with self._changed:
            for receipt in receipts:
                succeeded = int(receipt["status"], 16) == 1
                self._mined[receipt["transactionHash"]] = Mined(number, succeeded)
            self._changed.notify_all()

    def reorganise(self, depth: int) -> None:
        """Replace the newest blocks by empty ones; their transactions are forgotten."""
        self.call("anvil_reorg", depth, [])
        above = int(self.web3.eth.block_number) - depth
        with self._changed:
            self._mined = {tx: at for tx, at in self._mined.items() if at.block <= above}

    def freeze(self) -> None:
        """Mine no more by itself."""
        self._stopping.set()
        self._thread.join(MINED_SECONDS)

    def stop(self) -> None:
        self.freeze()
        self._pool.shutdown()
        self.node.stop()

    def fund_buyer(self) -> Wallet:
        """A buyer with money, who lets the escrow take it."""
        buyer = Wallet(self)
        self.test_dollar.functions.mint(buyer.address, PURSE).transact({"from": self.node.faucet})
        buyer.send(self.test_dollar.functions.approve(self.escrow_address, PURSE))
        return buyer

    def money_of(self, account: str) -> int:
        """Balance of the token, in base units."""
        return int(self.test_dollar.functions.balanceOf(account).call())

    def _run(self) -> None:
        while not self._stopping.wait(BLOCK_SECONDS - time.time() % BLOCK_SECONDS):
            try:
                self.before_block()
                self.mine()
            except Exception as error:
                self.failure = error
                with self._changed:
                    self._changed.notify_all()
                return

    def _deploy(self, attester: str) -> None:
        accounts = list(self.web3.eth.accounts)
        token, _ = self._create("TestDollar")
        self.test_dollar: Any = self.web3.eth.contract(
            Web3.to_checksum_address(token), abi=load_artifact("TestDollar").abi
        )
        parties = (attester, accounts[8])
        self.fee_recipient = accounts[9]
        constructor = (token, *parties, FEE_BPS, self.fee_recipient, CLAIM_WINDOW)
        self.escrow_address, self.deploy_block = self._create("TokenEscrow", *constructor)
        domain = Domain(chain_id=self.chain_id, escrow=self.escrow_address)
        self.escrow = Escrow(self.web3, domain, "TokenEscrow")

    def _create(self, name: ContractName, *arguments: Any) -> tuple[str, int]:
        artifact = load_artifact(name)
        contract: Any = self.web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        tx_hash = contract.constructor(*arguments).transact({"from": self.node.faucet})
        self.mine()
        receipt = self.web3.eth.get_transaction_receipt(tx_hash)
        return str(receipt["contractAddress"]), int(receipt["blockNumber"])
