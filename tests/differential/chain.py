"""An escrow on a real node: takes the model's steps and reads what came of them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from model import Booking, Event, Rules, Step

import permit2
from aitbc.protocol.artifacts import EscrowName, load_artifact
from aitbc.protocol.funding import (
    TokenDomain,
    authorization,
    permit,
    permit2_domain,
    permit2_transfer,
)
from aitbc.protocol.messages import (
    Completion,
    Domain,
    Message,
    Receipt,
    SettleEach,
    SettleMany,
    SigningDomain,
    Terms,
)
from aitbc.signing import sign
from deploying import deploy
from local_market import Node

GAS = 5_000_000
RICH = 10**30
EVIDENCE = "0x" + "ee" * 32
REVERTS = "0x5f5ffd"
SIGNED_PAYABLE = {"fund", "fundMany"}


class Chain:
    """`accounts` by address; gas is free, so that balances tell of money alone."""

    def __init__(self, folder: Path) -> None:
        free = ("--gas-price", "0", "--block-base-fee-per-gas", "0")
        self.node = Node(folder, "--auto-impersonate", *free, block_seconds=0)
        self.http = httpx.Client(timeout=60)
        permit2.deploy(self.node.web3, self.node.faucet)

    def rpc(self, *requests: tuple[str, list[Any]]) -> list[Any]:
        """The results of some requests, in order, in one exchange."""
        body = [
            {"jsonrpc": "2.0", "id": i, "method": method, "params": params}
            for i, (method, params) in enumerate(requests)
        ]
        answers = sorted(self.http.post(self.node.rpc_url, json=body).json(), key=lambda a: a["id"])
        assert all("error" not in answer for answer in answers), answers
        return [answer["result"] for answer in answers]

    def receipt(self, tx_hash: str) -> dict[str, Any]:
        """Of a transaction that the node mines at once."""
        while True:
            [receipt] = self.rpc(("eth_getTransactionReceipt", [tx_hash]))
            if receipt is not None:
                return dict(receipt)

    def account(self, label: str) -> LocalAccount:
        made: LocalAccount = Account.from_key(keccak(text=f"aitbc differential {label}"))
        self.rpc(("anvil_setBalance", [made.address, hex(RICH)]))
        return made

    def stop(self) -> None:
        self.http.close()
        self.node.stop()


class EscrowOnChain:
    """One escrow. Everybody is rich, and lets the escrow and Permit2 take all."""

    def __init__(
        self, chain: Chain, name: EscrowName, rules: Rules, keys: dict[str, LocalAccount]
    ) -> None:
        self.chain, self.rules, self.keys = chain, rules, keys
        web3 = chain.node.web3
        parties = [rules.attester, rules.arbiter, rules.fee_bps, rules.fee_recipient]
        token = [deploy(web3, "TestDollar")[0]] if name == "TokenEscrow" else []
        address, _ = deploy(web3, name, *token, *parties, rules.claim_window)
        self.address = to_checksum_address(address)
        self.domain = Domain(chain_id=chain.node.chain_id, escrow=address)
        abi = load_artifact("TokenEscrow").abi
        self.contract: Any = web3.eth.contract(address=self.address, abi=abi)
        self.token: Any = None
        if token:
            abi = load_artifact("TestDollar").abi
            self.token = web3.eth.contract(address=to_checksum_address(token[0]), abi=abi)
            for account in keys:
                self.token.functions.mint(account, RICH).transact({"from": chain.node.faucet})
                self.approve(account, self.address)
                self.approve(account, permit2.ADDRESS)

    def approve(self, account: str, spender: str) -> None:
        self.token.functions.approve(spender, 2**256 - 1).transact({"from": account})

    # What is signed

    def id(self, terms: Terms) -> bytes:
        return bytes.fromhex(terms.booking_id(self.domain)[2:])

    def sign(self, message: Message, signer: str, domain: SigningDomain | None = None) -> bytes:
        return bytes(HexBytes(sign(self.keys[signer], message, domain or self.domain)))

    @cached_property
    def token_domain(self) -> TokenDomain:
        return TokenDomain(
            name="Test Dollar",
            version="1",
            chain_id=self.chain.node.chain_id,
            verifying_contract=self.token.address,
        )

    # What is sent

    def send(self, step: Step, bookings: Sequence[Booking]) -> list[Event] | None:
        """The escrow's events, as the model tells them, or None if it refused with a reason."""
        amount = sum(bookings[index].terms.amount for index, _ in step.items)
        paid = amount if step.verb in SIGNED_PAYABLE and self.token is None else 0
        data = self.contract.encode_abi(step.verb, self.arguments(step, bookings))
        transaction = {"from": step.sender, "to": self.address, "data": data}
        transaction |= {"value": hex(paid), "gas": hex(GAS), "gasPrice": "0x0"}
        self.chain.rpc(("evm_setNextBlockTimestamp", [step.at]))
        [tx_hash] = self.chain.rpc(("eth_sendTransaction", [transaction]))
        receipt = self.chain.receipt(tx_hash)
        if int(receipt["status"], 16) == 0:
            self.check_reason(tx_hash)
            return None
        if step.verb == "fundWithPermit" and step.signer == step.sender:
            self.approve(step.sender, self.address)
        return self.events(receipt["logs"], bookings)

    def arguments(self, step: Step, bookings: Sequence[Booking]) -> list[Any]:
        named = [(bookings[index].terms, earned) for index, earned in step.items]
        if step.verb == "withdraw":
            return [step.account, step.to]
        if step.verb == "fundMany":
            return [[terms.abi_values() for terms, _ in named]]
        if step.verb == "settleMany":
            ids = tuple(terms.booking_id(self.domain) for terms, _ in named)
            batch = SettleMany(booking_ids=ids)
            return [[HexBytes(i) for i in ids], self.sign(batch, step.signer)]
        if step.verb == "settleEach":
            said = tuple(self.completion(terms, earned) for terms, earned in named)
            items = [(t.abi_values(), earned, HexBytes(EVIDENCE)) for t, earned in named]
            return [items, self.sign(SettleEach(completions=said), step.signer)]
        [(terms, earned)] = named
        return [terms.abi_values(), *self.more_arguments(step, terms, earned)]

    def more_arguments(self, step: Step, terms: Terms, earned: int) -> list[Any]:
        """What a verb on one booking takes besides its terms."""
        if step.verb.startswith("fundWith"):
            return self.permission(step, terms)
        if step.verb == "claim":
            receipt = Receipt(booking_id=terms.booking_id(self.domain), earned=earned)
            return [earned, self.sign(receipt, step.signer)]
        if step.verb == "settle":
            said = self.completion(terms, earned)
            return [earned, HexBytes(EVIDENCE), self.sign(said, step.signer)]
        return [earned] if step.verb == "resolve" else []

    def permission(self, step: Step, terms: Terms) -> list[Any]:
        """What lets the escrow take the money, as the verb takes it."""
        if step.verb == "fundWithPermit":
            nonce = self.token.functions.nonces(terms.buyer).call()
            message = permit(terms, self.domain, nonce)
            raw = self.sign(message, step.signer, self.token_domain)
            return [terms.fund_by, raw[64], raw[:32], raw[32:64]]
        if step.verb == "fundWithAuthorization":
            return [self.sign(authorization(terms, self.domain), step.signer, self.token_domain)]
        nonce = step.at
        transfer = permit2_transfer(terms, self.domain, self.token.address, nonce)
        return [nonce, self.sign(transfer, step.signer, permit2_domain(self.domain.chain_id))]

    def completion(self, terms: Terms, earned: int) -> Completion:
        return Completion(
            booking_id=terms.booking_id(self.domain), earned=earned, evidence=EVIDENCE
        )

    def refuse_payments(self, account: str, *, refused: bool) -> None:
        self.chain.rpc(("anvil_setCode", [account, REVERTS if refused else "0x"]))

    # What is read

    def check_reason(self, tx_hash: str) -> None:
        """A refusal is an error with a name: no panic, no lack of gas."""
        [trace] = self.chain.rpc(("debug_traceTransaction", [tx_hash, {"tracer": "callTracer"}]))
        assert len(trace.get("output", "0x")) > 2, trace
        assert not trace["output"].startswith("0x4e487b71"), f"a panic: {trace}"

    def events(self, logs: Sequence[Any], bookings: Sequence[Booking]) -> list[Event]:
        index_of = {self.id(booking.terms): i for i, booking in enumerate(bookings)}
        told: list[Event] = []
        for log in logs:
            if to_checksum_address(log["address"]) != self.address:
                continue
            name = self.event_names[log["topics"][0]]
            raw = {
                **log,
                "topics": [HexBytes(t) for t in log["topics"]],
                "data": HexBytes(log["data"]),
            }
            for number in ("logIndex", "transactionIndex", "blockNumber"):
                raw[number] = int(raw[number], 16)
            said = dict(self.contract.events[name]().process_log(raw)["args"])
            told.append(_told(name, said, index_of))
        return told

    @cached_property
    def event_names(self) -> dict[str, str]:
        return {
            "0x" + bytes(HexBytes(event.topic)).hex(): event.abi["name"]
            for event in self.contract.events
        }

    def read(self, bookings: Sequence[Booking], accounts: Sequence[str]) -> dict[str, Any]:
        """Slots, times of disputes, what accounts have and are owed, and what the escrow holds."""
        ids = [self.id(booking.terms) for booking in bookings]
        calls = [self._call(self.contract, "booking", i) for i in ids]
        calls += [self._call(self.contract, "disputedAt", i) for i in ids]
        calls += [self._call(self.contract, "owed", account) for account in accounts]
        calls += [self._balance(account) for account in (*accounts, self.address)]
        words = [HexBytes(result) for result in self.chain.rpc(*calls)]
        slots = [_slot(word) for word in words[: len(ids)]]
        numbers = [int.from_bytes(word, "big") for word in words[len(ids) :]]
        disputed, rest = numbers[: len(ids)], numbers[len(ids) :]
        owed, balances = rest[: len(accounts)], rest[len(accounts) :]
        return {
            "slots": slots,
            "disputed": disputed,
            "owed": dict(zip(accounts, owed, strict=True)),
            "wealth": dict(zip(accounts, balances[:-1], strict=True)),
            "held": balances[-1],
        }

    def _call(self, contract: Any, name: str, argument: object) -> tuple[str, list[Any]]:
        data = contract.encode_abi(name, [argument])
        return "eth_call", [{"to": contract.address, "data": data}, "latest"]

    def _balance(self, account: str) -> tuple[str, list[Any]]:
        if self.token is None:
            return "eth_getBalance", [account, "latest"]
        return self._call(self.token, "balanceOf", account)


def _slot(words: bytes) -> tuple[str, int, int]:
    provider, remaining, state = (words[i : i + 32] for i in (0, 32, 64))
    address = "0x" + provider[12:].hex()
    return address, int.from_bytes(remaining, "big"), int.from_bytes(state, "big")


def _told(name: str, said: dict[str, Any], index_of: dict[bytes, int]) -> Event:
    """An event as the model tells it."""
    match name:
        case "Funded":
            return name, index_of[said["id"]], said["terms"]["amount"]
        case "PayoutDeferred" | "RefundDeferred":
            return name, said["account"], said["amount"]
        case "Withdrawn":
            return name, said["account"], said["to"], said["amount"]
    named = [said[key] for key in ("by", "paid", "fee", "refunded") if key in said]
    return name, index_of[said["id"]], *named
