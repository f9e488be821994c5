"""An escrow on a real node, deployed from the shipped artifact, on a clock that tests set."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.types import Wei

import samples
from aitbc.chain.escrow import Escrow, open_escrow
from aitbc.profile import Profile, save_profile
from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.messages import Completion, Domain, Message, Receipt, SettleMany, Terms
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.wire import Market, SignedReceipt
from aitbc.signing import sign
from deploying import deploy
from local_market import Node, User

COIN = 10**18
FEE_BPS = 100
CLAIM_WINDOW = 3_600
NOWHERE = "http://127.0.0.1:9"
EVIDENCE = "0x" + "ee" * 32


@dataclass
class EscrowLab:
    """Everybody but the attester, who only signs, has coin. Without an arbiter: no disputes."""

    node: Node
    native: bool = True
    attester: LocalAccount = field(default_factory=Account.create)
    buyer: LocalAccount = field(default_factory=Account.create)
    provider: LocalAccount = field(default_factory=Account.create)
    arbiter: LocalAccount | None = field(default_factory=Account.create)
    fee_recipient: LocalAccount = field(default_factory=Account.create)
    escrow: Escrow = field(init=False)
    deploy_block: int = field(init=False)
    token: Any = None

    def __post_init__(self) -> None:
        self.web3.provider.make_request("evm_setIntervalMining", [0])  # type: ignore[arg-type]  # anvil's own
        self.web3.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]  # anvil's own
        for account in filter(None, (self.buyer, self.provider, self.arbiter, self.fee_recipient)):
            self.node.give_coin(account.address, 10 * COIN)
        parties = [
            self.attester.address,
            self.arbiter_address,
            FEE_BPS,
            self.fee_recipient.address,
            CLAIM_WINDOW,
        ]
        if not self.native:
            address, _ = deploy(self.web3, "TestDollar")
            abi = load_artifact("TestDollar").abi
            self.token = self.web3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)
            parties.insert(0, address)
        name: Any = "NativeEscrow" if self.native else "TokenEscrow"
        address, self.deploy_block = deploy(self.web3, name, *parties)
        domain = Domain(chain_id=self.node.chain_id, escrow=address)
        self.escrow = open_escrow(self.node.rpc_url, domain, name)
        if self.token is not None:
            self.send(self.node.faucet, self.token.functions.mint(self.buyer.address, 10**12))
            approve = self.token.functions.approve(address, 10**12)
            self.send(self.buyer, approve)

    @property
    def web3(self) -> Web3:
        return self.node.web3

    @property
    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    @property
    def arbiter_address(self) -> str:
        return ZERO_ADDRESS if self.arbiter is None else str(self.arbiter.address)

    @property
    def market(self) -> Market:
        return samples.market(
            name="lab",
            chain_id=self.node.chain_id,
            contract=self.escrow.contract_name,
            escrow=self.escrow.domain.escrow,
            token=None if self.token is None else self.token.address,
            symbol="ETH" if self.native else "TUSD",
            decimals=18 if self.native else 6,
            attester=self.attester.address,
            arbiter=self.arbiter_address,
            fee_bps=FEE_BPS,
            fee_recipient=self.fee_recipient.address,
            claim_window=CLAIM_WINDOW,
            deploy_block=self.deploy_block,
            quote_seconds=10,
            heartbeat_allowance=20,
        )

    def profile(self, home: Path, **changes: object) -> None:
        """Give a home this lab as its pinned market, with a coordinator that is not there."""
        fields = {"coordinator_url": NOWHERE, "rpc_url": self.node.rpc_url}
        save_profile(home, Profile.model_validate({**fields, "market": self.market, **changes}))

    def terms(self, amount: int, **changes: object) -> Terms:
        """A booking of a minute that starts in twenty seconds."""
        now = self.now
        fields: dict[str, object] = {
            "buyer": self.buyer.address,
            "provider": self.provider.address,
            "amount": amount,
            "fund_by": now + 10,
            "starts_at": now + 20,
            "ends_at": now + 80,
            "listing": "0x" + "00" * 32,
            "salt": secrets.randbits(64),
        }
        return Terms.model_validate(fields | changes)

    def fund(self, amount: int, **changes: object) -> Terms:
        terms = self.terms(amount, **changes)
        value = amount if self.native else 0
        self.send(self.buyer, self.escrow.functions.fund(terms.abi_values()), value)
        return terms

    def fund_as_faucet(self, amount: int) -> Terms:
        """A booking whose buyer is the node's own account."""
        terms = self.terms(amount, buyer=self.node.faucet)
        self.send(self.node.faucet, self.escrow.functions.fund(terms.abi_values()), amount)
        return terms

    def id(self, terms: Terms) -> str:
        return terms.booking_id(self.escrow.domain)

    def receipt(self, terms: Terms, earned: int) -> SignedReceipt:
        receipt = Receipt(booking_id=self.id(terms), earned=earned)
        return SignedReceipt(receipt=receipt, signature=self.attest(receipt))

    def attest(self, message: Message) -> str:
        return sign(self.attester, message, self.escrow.domain)

    def claim(self, terms: Terms, earned: int) -> str:
        signature = HexBytes(self.receipt(terms, earned).signature)
        call = self.escrow.functions.claim(terms.abi_values(), earned, signature)
        return self.send(self.node.faucet, call)

    def settle(self, terms: Terms, earned: int, evidence: str = EVIDENCE) -> str:
        completion = Completion(booking_id=self.id(terms), earned=earned, evidence=evidence)
        call = self.escrow.functions.settle(
            terms.abi_values(), earned, HexBytes(evidence), HexBytes(self.attest(completion))
        )
        return self.send(self.node.faucet, call)

    def settle_many(self, *booked: Terms) -> str:
        ids = tuple(self.id(terms) for terms in booked)
        signature = HexBytes(self.attest(SettleMany(booking_ids=ids)))
        call = self.escrow.functions.settleMany([HexBytes(i) for i in ids], signature)
        return self.send(self.node.faucet, call)

    def cancel(self, account: LocalAccount, terms: Terms) -> str:
        return self.send(account, self.escrow.functions.cancel(terms.abi_values()))

    def dispute(self, terms: Terms, at: int | None = None) -> int:
        """Dispute now, or at a time more than a second ahead; when the meter stopped."""
        if at is not None:
            self.move_to(at - 1)
            self.rpc("evm_setNextBlockTimestamp", at)
        self.send(self.buyer, self.escrow.functions.dispute(terms.abi_values()))
        return self.now

    def resolve(self, terms: Terms, earned: int) -> str:
        assert self.arbiter is not None
        return self.send(self.arbiter, self.escrow.functions.resolve(terms.abi_values(), earned))

    def reclaim(self, terms: Terms) -> str:
        return self.send(self.node.faucet, self.escrow.functions.reclaim(terms.abi_values()))

    def withdraw(self, account: str) -> str:
        return self.send(self.node.faucet, self.escrow.functions.withdraw(account, account))

    def move_to(self, timestamp: int) -> None:
        """Mine a block at a time."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)
        self.rpc("evm_mine")

    def rpc(self, method: str, *arguments: object) -> Any:
        answer = self.web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]  # anvil's own
        assert "error" not in answer, answer
        return answer["result"]

    def refuse_payments(self, address: str) -> None:
        """Give an account code that reverts."""
        self.rpc("anvil_setCode", address, "0x60006000fd")

    def accept_payments(self, address: str) -> None:
        self.rpc("anvil_setCode", address, "0x")

    def send(self, sender: LocalAccount | str, call: Any, value: int = 0) -> str:
        if isinstance(sender, str):
            tx_hash = call.transact({"from": sender, "value": Wei(value)})
        else:
            account = sender.address
            nonce = self.web3.eth.get_transaction_count(account)
            built = call.build_transaction({"from": account, "value": Wei(value), "nonce": nonce})
            raw = sender.sign_transaction(built).raw_transaction
            tx_hash = self.web3.eth.send_raw_transaction(raw)
        receipt = self.web3.eth.wait_for_transaction_receipt(tx_hash, 60, 0.05)
        assert receipt["status"] == 1
        return "0x" + bytes(tx_hash).hex()


def user(home: Path, passphrase_file: Path, rpc_url: str, coordinator_url: str = NOWHERE) -> User:
    """Somebody with the installed `aitbc`; by default their coordinator does not answer."""
    return User(
        role="user",
        home=home,
        passphrase_file=passphrase_file,
        coordinator_url=coordinator_url,
        rpc_url=rpc_url,
        background=[],
    )
