"""A real node with an escrow, on which bookings are funded, and settled by a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from aitbc.chain.escrow import Escrow
from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.messages import Domain
from aitbc.protocol.types import ZERO_ADDRESS
from local_market import LocalMarketError, Node
from settlement_bench.bookings import COIN, Booked, booked

FEE_BPS = 100
CLAIM_WINDOW = 90 * 86_400
FUNDED_AT_ONCE = 100
LEAD_SECONDS = 3600
PURSE = 10**6 * COIN
NO_EVIDENCE = b"\x00" * 32


class Chain:
    """Mines every transaction at once, in a block of its own."""

    def __init__(self, folder: Path) -> None:
        self.node = Node(folder, block_seconds=0)
        self.web3 = self.node.web3
        self.attester = self.account()
        self.buyer = self.account()
        self.relayer = self.account()
        artifact = load_artifact("NativeEscrow")
        contract: Any = self.web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        parties = (self.attester.address, ZERO_ADDRESS, FEE_BPS, self.buyer.address, CLAIM_WINDOW)
        sent = contract.constructor(*parties).transact({"from": self.node.faucet})
        receipt = self.web3.eth.wait_for_transaction_receipt(sent)
        self.deploy_block = receipt["blockNumber"]
        domain = Domain(chain_id=self.node.chain_id, escrow=str(receipt["contractAddress"]))
        self.escrow = Escrow(self.web3, domain, "NativeEscrow")

    def account(self) -> LocalAccount:
        """A new account, with coin."""
        account: LocalAccount = Account.create()
        self.rpc("anvil_setBalance", account.address, hex(PURSE))
        return account

    @property
    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def book(self, providers: Sequence[str], count: int) -> list[Booked]:
        """Bookings that begin when all of them can have been funded."""
        return booked(self.buyer.address, providers, count, self.now + LEAD_SECONDS)

    def fund(self, bookings: Sequence[Booked]) -> None:
        for first in range(0, len(bookings), FUNDED_AT_ONCE):
            some = [each.terms for each in bookings[first : first + FUNDED_AT_ONCE]]
            function = self.escrow.functions.fundMany([terms.abi_values() for terms in some])
            self.wait(self.send(self.buyer, function, value=sum(terms.amount for terms in some)))

    def send(self, sender: LocalAccount, function: ContractFunction, **fields: Any) -> HexBytes:
        """As most programs send: web3 asks for gas, fees and, unless it is given, the nonce."""
        fields.setdefault("nonce", self.web3.eth.get_transaction_count(sender.address))
        given: Any = {"from": sender.address, **fields}
        transaction: Any = function.build_transaction(given)
        signed = sender.sign_transaction(transaction)
        return self.web3.eth.send_raw_transaction(signed.raw_transaction)

    def wait(self, sent: HexBytes) -> TxReceipt:
        """Raises LocalMarketError where the transaction reverted."""
        receipt = self.web3.eth.wait_for_transaction_receipt(sent)
        if receipt["status"] != 1:
            raise LocalMarketError(f"transaction {sent.to_0x_hex()} reverted")
        return receipt

    def settle_one_by_one(self, bookings: Sequence[Booked]) -> None:
        """The plain loop: estimate, sign, send, wait."""
        for each in bookings:
            self.wait(self.send(self.attester, self._settle(each)))

    def settle_pipelined(self, bookings: Sequence[Booked]) -> None:
        """The same, which waits only when all is sent."""
        nonce = self.web3.eth.get_transaction_count(self.attester.address)
        sent = [
            self.send(self.attester, self._settle(each), nonce=nonce + number)
            for number, each in enumerate(bookings)
        ]
        for tx_hash in sent:
            self.wait(tx_hash)

    def mine(self, blocks: int = 1, *, at: int | None = None) -> None:
        """Mine blocks, the first of them at a time (UTC seconds)."""
        if at is not None:
            self.rpc("evm_setNextBlockTimestamp", at)
        self.rpc("anvil_mine", hex(blocks))

    def rpc(self, method: Any, *parameters: Any) -> Any:
        answer: Any = self.web3.provider.make_request(method, list(parameters))
        if "error" in answer:
            raise LocalMarketError(f"{method}: {answer['error']}")
        return answer["result"]

    def stop(self) -> None:
        self.node.stop()

    def _settle(self, each: Booked) -> ContractFunction:
        # Sent by the attester itself: no signature needs to be made or checked.
        settle: ContractFunction = self.escrow.functions.settle(
            each.terms.abi_values(), each.earned, NO_EVIDENCE, b""
        )
        return settle
