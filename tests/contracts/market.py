"""One deployed escrow with its actors, as the tests see it."""

import ast
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import ape
import pytest
from ape.api import AccountAPI, ReceiptAPI
from ape.contracts import ContractInstance
from ape.exceptions import ContractLogicError, CustomError
from eth_abi import decode
from eth_account import Account
from eth_utils import to_checksum_address
from eth_utils.abi import function_abi_to_4byte_selector
from web3.contract.contract import ContractFunctions

from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.messages import Completion, Domain, Message, Receipt, Terms

NATIVE_TOKEN = "0x" + "00" * 20
FEE_BPS = 100
WINDOW = 86_400
AMOUNT = 1_000_003
DURATION = 1_000
EVIDENCE = "0x" + "e1" * 32
NO_SIGNATURE = b""

OUT = ("paid", "fee", "refunded")
"""The fields of events that say how money left a booking."""

NONE, OPEN, DISPUTED, CLOSED = range(4)

_AMOUNT_FIELD = list(Terms.model_fields).index("amount")
_salts = itertools.count(1)


class Mood(IntEnum):
    """`HostileWallet.Mood`."""

    ACCEPT = 0
    REJECT = 1
    BURN_GAS = 2
    RETURN_BOMB = 3
    REENTER = 4
    RECORD_GAS = 5


class Mode(IntEnum):
    """`HostileToken.Mode`."""

    HONEST = 0
    RETURNS_FALSE = 1
    RETURNS_NOTHING = 2
    RETURNS_NONSENSE = 3
    TAKES_FEE = 4
    CALLS_BACK = 5


@dataclass(frozen=True)
class Actors:
    deployer: AccountAPI
    attester: AccountAPI
    arbiter: AccountAPI
    fee_recipient: AccountAPI
    buyer: AccountAPI
    provider: AccountAPI
    other_buyer: AccountAPI
    other_provider: AccountAPI
    stranger: AccountAPI


def fee(amount: int) -> int:
    """F(amount)."""
    return amount * FEE_BPS // 10_000


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undoes on the chain what was done inside. (`ape.chain.isolate` swallows exceptions.)"""
    snapshot = ape.chain.snapshot()
    try:
        yield
    finally:
        ape.chain.restore(snapshot)


@contextmanager
def reverts(error: str, **values: Any) -> Iterator[None]:
    """Expects the custom error of that name with exactly these values.

    `ape.reverts` also takes a revert that carries no custom error, or one it does not know.
    """
    with pytest.raises(ContractLogicError) as caught:
        yield
    assert _custom_error(caught.value) == (error, values)


def _custom_error(raised: ContractLogicError) -> tuple[str, dict[str, Any]]:
    """The name and the values of a custom error."""
    if isinstance(raised, CustomError):
        return raised.name, raised.inputs
    data = _revert_data(raised.message)
    errors = (abi for abi in load_artifact("TokenEscrow").abi if abi["type"] == "error")
    error = next(abi for abi in errors if function_abi_to_4byte_selector(abi) == data[:4])
    types = [field["type"] for field in error["inputs"]]
    values = [
        to_checksum_address(value) if kind == "address" else value
        for kind, value in zip(types, decode(types, data[4:]), strict=True)
    ]
    return error["name"], dict(zip((f["name"] for f in error["inputs"]), values, strict=True))


def _revert_data(message: str) -> bytes:
    """What ape made a message of because it could not decode it.

    On anvil that is the hex of a constructor's revert; on py-evm the repr of bytes which contain
    an apostrophe.
    """
    if message.startswith("0x"):
        return bytes.fromhex(message[2:])
    assert message.startswith('b"'), f"not a custom error: {message}"
    return bytes(ast.literal_eval(message))


@dataclass
class Market:
    escrow: ContractInstance
    token: ContractInstance | None
    actors: Actors
    donated: int = 0
    """What was sent to the escrow outside its verbs."""
    bookings: list[Terms] = field(default_factory=list)

    def endow(self, account: AccountAPI, amount: int = AMOUNT) -> None:
        """Gives an account tokens, and the escrow its allowance."""
        if self.token is not None:
            self.token.mint(account, amount, sender=self.actors.deployer)
            self.token.approve(self.escrow, amount, sender=account)

    # What things are called

    @property
    def domain(self) -> Domain:
        return Domain(chain_id=ape.chain.chain_id, escrow=self.escrow.address)

    def id_of(self, terms: Terms) -> bytes:
        return bytes.fromhex(terms.booking_id(self.domain)[2:])

    def terms(self, **changes: Any) -> Terms:
        """Terms that can be funded now, start in 2000 seconds and take 1000."""
        now = self.now()
        standard = {
            "buyer": self.actors.buyer.address,
            "provider": self.actors.provider.address,
            "amount": AMOUNT,
            "fund_by": now + 1_000,
            "starts_at": now + 2_000,
            "ends_at": now + 2_000 + DURATION,
            "listing": "0x" + "11" * 32,
            "salt": next(_salts),
        }
        return Terms(**standard | changes)

    def sign(self, message: Message, signer: AccountAPI, domain: Domain | None = None) -> bytes:
        signable = message.signable(domain or self.domain)
        return bytes(Account.sign_message(signable, signer.private_key).signature)

    def receipt(self, terms: Terms, earned: int) -> Receipt:
        return Receipt(booking_id=terms.booking_id(self.domain), earned=earned)

    def completion(self, terms: Terms, earned: int, evidence: str = EVIDENCE) -> Completion:
        return Completion(
            booking_id=terms.booking_id(self.domain), earned=earned, evidence=evidence
        )

    # The clock

    def now(self) -> int:
        return int(ape.chain.blocks.head.timestamp)

    def at(self, time: int) -> None:
        """The next transaction is mined at `time`."""
        ape.chain.pending_timestamp = time

    # The verbs

    def value(self, amount: int) -> int:
        """What a funding transaction carries."""
        return amount if self.token is None else 0

    def fund(self, terms: Terms, **options: Any) -> ReceiptAPI:
        options = {"sender": self.actors.buyer, "value": self.value(terms.amount)} | options
        receipt = self.escrow.fund(terms.abi_values(), **options)
        self.bookings.append(terms)
        return receipt

    def fund_many(self, batch: list[Terms], **options: Any) -> ReceiptAPI:
        value = self.value(sum(terms.amount for terms in batch))
        options = {"sender": self.actors.buyer, "value": value} | options
        receipt = self.escrow.fundMany([terms.abi_values() for terms in batch], **options)
        self.bookings.extend(batch)
        return receipt

    def funded(self, **changes: Any) -> Terms:
        """The terms of a booking that was just funded."""
        terms = self.terms(**changes)
        senders = (self.actors.buyer, self.actors.other_buyer)
        self.fund(terms, sender=next(s for s in senders if s.address == terms.buyer))
        return terms

    def claim(self, terms: Terms, earned: int, signer: AccountAPI, **options: Any) -> ReceiptAPI:
        signature = self.sign(self.receipt(terms, earned), signer)
        options = {"sender": self.actors.stranger} | options
        return self.escrow.claim(terms.abi_values(), earned, signature, **options)

    def settle(self, terms: Terms, earned: int, **options: Any) -> ReceiptAPI:
        options = {"sender": self.actors.attester} | options
        return self.escrow.settle(
            terms.abi_values(), earned, bytes.fromhex(EVIDENCE[2:]), NO_SIGNATURE, **options
        )

    def settle_many(self, terms: Iterable[Terms], **options: Any) -> ReceiptAPI:
        options = {"sender": self.actors.attester} | options
        return self.escrow.settleMany([self.id_of(t) for t in terms], NO_SIGNATURE, **options)

    def settle_each(self, earned: Iterable[tuple[Terms, int]], **options: Any) -> ReceiptAPI:
        options = {"sender": self.actors.attester} | options
        evidence = bytes.fromhex(EVIDENCE[2:])
        completions = [(terms.abi_values(), amount, evidence) for terms, amount in earned]
        return self.escrow.settleEach(completions, NO_SIGNATURE, **options)

    def cancel(self, terms: Terms, sender: AccountAPI, **options: Any) -> ReceiptAPI:
        return self.escrow.cancel(terms.abi_values(), sender=sender, **options)

    def reclaim(self, terms: Terms, **options: Any) -> ReceiptAPI:
        return self.escrow.reclaim(terms.abi_values(), **{"sender": self.actors.stranger} | options)

    # Looking

    def balance(self, account: Any) -> int:
        address = getattr(account, "address", account)
        if self.token is not None:
            return int(self.token.balanceOf(address))
        return int(ape.chain.provider.get_balance(address))

    def slot(self, terms: Terms) -> tuple[str, int, int]:
        """Provider, remaining and state of a booking, as stored."""
        provider, remaining, state = self._views.booking(self.id_of(terms)).call()
        return provider, remaining, state

    def owed(self, account: Any) -> int:
        return int(self._views.owed(getattr(account, "address", account)).call())

    @cached_property
    def _views(self) -> ContractFunctions:
        """The escrow without the cost of ape's call traces: the books read it all the time."""
        abi = load_artifact("TokenEscrow").abi
        return ape.chain.provider.web3.eth.contract(self.escrow.address, abi=abi).functions

    def state(self, terms: Terms) -> int:
        return self.slot(terms)[2]

    def remaining(self, terms: Terms) -> int:
        return self.slot(terms)[1]

    def events(self, receipt: ReceiptAPI) -> list[tuple[str, dict[str, Any]]]:
        """The escrow's events of a transaction, in order."""
        return [
            (log.event_name, dict(log.event_arguments))
            for log in receipt.decode_logs(self._event_abis())
            if log.contract_address == self.escrow.address
        ]

    def names(self, receipt: ReceiptAPI) -> list[str]:
        return [name for name, _ in self.events(receipt)]

    def arguments(self, receipt: ReceiptAPI, event: str) -> dict[str, Any]:
        """What the only event of that name in a transaction carries."""
        [found] = [arguments for name, arguments in self.events(receipt) if name == event]
        return found

    # Expecting

    @contextmanager
    def moves(self, **changes: int) -> Iterator[None]:
        """Expects the balances of the named actors to change by so much, gas paid apart."""
        accounts = {name: getattr(self.actors, name) for name in changes}
        height = ape.chain.blocks.height
        before = {name: self.balance(account) for name, account in accounts.items()}
        yield
        gas = self._gas_paid_since(height) if self.token is None else Counter()
        assert changes == {
            name: self.balance(account) + gas[account.address] - before[name]
            for name, account in accounts.items()
        }

    def _gas_paid_since(self, height: int) -> Counter[str]:
        eth = ape.chain.provider.web3.eth
        paid: Counter[str] = Counter()
        for number in range(height + 1, eth.block_number + 1):
            for transaction in eth.get_block(number).transactions:
                receipt = eth.get_transaction_receipt(transaction)
                paid[receipt["from"]] += receipt.gasUsed * receipt.effectiveGasPrice
        return paid

    def outcomes(self) -> dict[bytes, Counter[str]]:
        """What left each booking, from events: `paid`, `fee` and `refunded`."""
        left: dict[bytes, Counter[str]] = {}
        for name, arguments in self._history():
            if name == "Funded":
                left[bytes(arguments["id"])] = Counter()
            elif "id" in arguments:
                left[bytes(arguments["id"])] += Counter(
                    {key: arguments[key] for key in OUT if key in arguments}
                )
        return left

    def check_books(self) -> None:
        """Conservation, from events, storage and balance, to the unit."""
        funded, left, owed = self._replay()
        accounts = {t.provider for t in self.bookings} | {t.buyer for t in self.bookings}
        accounts.add(self.actors.fee_recipient.address)
        open_total = 0
        for terms in self.bookings:
            booking_id = self.id_of(terms)
            _, remaining, state = self.slot(terms)
            assert funded[booking_id] == terms.amount
            assert (state == OPEN) == (remaining > 0)
            assert left[booking_id] == remaining
            open_total += remaining
        for account in accounts:
            assert self.owed(account) == owed[account]
        assert set(owed) <= accounts
        held = self.balance(self.escrow)
        assert held == open_total + sum(owed.values()) + self.donated

    def _replay(self) -> tuple[Counter[bytes], Counter[bytes], Counter[str]]:
        funded: Counter[bytes] = Counter()
        left: Counter[bytes] = Counter()
        owed: Counter[str] = Counter()
        fee_recipient = self.actors.fee_recipient.address
        for name, arguments in self._history():
            booking_id = bytes(arguments.get("id", b""))
            match name:
                case "Funded":
                    assert booking_id not in funded, "a booking was funded twice"
                    funded[booking_id] += arguments["terms"][_AMOUNT_FIELD]
                    left[booking_id] += arguments["terms"][_AMOUNT_FIELD]
                case "PayoutDeferred" | "RefundDeferred":
                    owed[arguments["account"]] += arguments["amount"]
                case "Withdrawn":
                    owed[arguments["account"]] -= arguments["amount"]
                case _:
                    left[booking_id] -= sum(arguments.get(key, 0) for key in OUT)
                    owed[fee_recipient] += arguments.get("fee", 0)
        return funded, left, owed

    def _history(self) -> Iterator[tuple[str, dict[str, Any]]]:
        logs = ape.chain.provider.web3.eth.get_logs(
            {"address": self.escrow.address, "fromBlock": 0, "toBlock": "latest"}
        )
        ecosystem = ape.chain.provider.network.ecosystem
        for log in ecosystem.decode_logs([dict(log) for log in logs], *self._event_abis()):
            yield log.event_name, dict(log.event_arguments)

    def _event_abis(self) -> list[Any]:
        return list(self.escrow.contract_type.events)
