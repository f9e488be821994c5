"""An escrow and the floor beside it, on one chain, with everything standing that stands in use.

Buyers keep money, providers have some, the escrow holds other bookings, fees are owed already.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3.contract.contract import Contract, ContractFunction

from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.funding import TokenDomain
from aitbc.protocol.messages import Completion, Domain, Message, Terms
from aitbc.signing import sign
from gas.chain import Call, Chain, compile_like
from local_market import LocalMarketError

FEE_BPS = 100
CLAIM_WINDOW = 86_400
ENDOWMENT = 10**12
FLOOR = "contracts/test/Floor.sol"
OPEN = 1


@dataclass(frozen=True)
class Token:
    """A deployed ERC-20 token with permit and ERC-3009, and who may mint it."""

    contract: Contract
    minter: str
    domain: TokenDomain

    @property
    def address(self) -> Any:
        return self.contract.address


def deploy_test_dollar(chain: Chain) -> Token:
    """The shipped token for local chains."""
    artifact = load_artifact("TestDollar")
    contract = chain.deploy(artifact.abi, artifact.bytecode)
    _, name, version, *_ = contract.functions.eip712Domain().call()
    domain = TokenDomain(
        name=name, version=version, chain_id=chain.id, verifying_contract=contract.address
    )
    return Token(contract, chain.deployer, domain)


@dataclass(frozen=True)
class Booked:
    """A booking's terms and parties, whether it is funded or not."""

    terms: Terms
    id: HexBytes
    buyer: LocalAccount
    evidence: HexBytes

    @property
    def values(self) -> tuple[Any, ...]:
        return self.terms.abi_values()

    def slot(self, payee: str | None = None) -> int:
        """The floor's slot, which pays the provider if nobody else is named."""
        return int(payee or self.terms.provider, 16) | self.terms.amount << 160 | OPEN << 248

    def completion(self, earned: int) -> Completion:
        return Completion(
            booking_id=self.id.to_0x_hex(), earned=earned, evidence=self.evidence.to_0x_hex()
        )


class Market:
    """The shipped escrow of a token, or of the native coin, and its floor."""

    def __init__(self, chain: Chain, token: Token | None) -> None:
        self.chain = chain
        self.token = token
        names = ("attester", "arbiter", "fee recipient", "relayer")
        accounts = [chain.account(name) for name in names]
        self.attester, self.arbiter, self.fee_recipient, self.relayer = accounts
        self._deploy()
        self._let_stand()

    @property
    def measured_verbs(self) -> list[str]:
        """Functions of the escrow whose gas was measured."""
        measured = self.chain.measured
        return sorted(name for address, name in measured if address == self.escrow.address)

    @property
    def money(self) -> Token:
        """The token. Raises LocalMarketError where money is the native coin."""
        if self.token is None:
            raise LocalMarketError("the native coin cannot be moved by signature")
        return self.token

    def book(
        self, label: str, *, buyer: LocalAccount | None = None, provider: str | None = None
    ) -> Booked:
        """A booking that starts in an hour and lasts one; new parties unless they are given."""
        random = Random(label)  # noqa: S311 the same numbers each time
        buyer = buyer or self.chain.account(f"buyer of {label}")
        now = self.chain.now
        terms = Terms(
            buyer=buyer.address,
            provider=provider or self.chain.account(f"provider of {label}").address,
            amount=random.randrange(10**6, 10**9),
            fund_by=now + 600,
            starts_at=now + 3_600,
            ends_at=now + 7_200,
            listing="0x" + random.randbytes(32).hex(),
            salt=random.getrandbits(64),
        )
        booking_id = HexBytes(terms.booking_id(self.domain))
        return Booked(terms, booking_id, buyer, HexBytes(random.randbytes(32)))

    def endow(self, *bookings: Booked) -> None:
        """Give parties money, and let the escrow and the floor take what buyers have."""
        if self.token is None:
            return
        buyers = sorted({b.terms.buyer for b in bookings})
        self._mint(*sorted({b.terms.provider for b in bookings} | set(buyers)))
        approve = self.token.contract.functions.approve
        spenders = (self.escrow.address, self.floor.address)
        self.chain.prepare([Call(b, approve(s, ENDOWMENT)) for b in buyers for s in spenders])

    def booked(self, label: str) -> Booked:
        """A new booking with endowed parties, not funded."""
        booked = self.book(label)
        self.endow(booked)
        return booked

    def funded(self, label: str) -> Booked:
        """A new booking, funded."""
        booked = self.booked(label)
        self.fund(booked)
        return booked

    def fund(self, *bookings: Booked) -> None:
        self.chain.prepare([self.fund_call(b) for b in bookings])

    def fund_floor(self, booked: Booked, payee: str | None = None) -> None:
        self.chain.prepare([self.fund_floor_call(booked, payee)])

    def fund_call(self, booked: Booked) -> Call:
        function = self.escrow.functions.fund(booked.values)
        return Call(booked.terms.buyer, function, self._value(booked))

    def fund_floor_call(self, booked: Booked, payee: str | None = None) -> Call:
        function = self.floor.functions.fund(booked.id, booked.slot(payee))
        return Call(booked.terms.buyer, function, self._value(booked))

    def settle_call(self, booked: Booked, *, by_attester: bool = False) -> Call:
        """In full, with evidence."""
        earned = booked.terms.amount
        settle = self.escrow.functions.settle
        return self.attested(
            lambda signature: settle(booked.values, earned, booked.evidence, signature),
            booked.completion(earned),
            by_attester=by_attester,
        )

    def settle_floor_call(self, booked: Booked) -> Call:
        return self.relayed(self.floor.functions.settle(booked.id))

    def relayed(self, function: ContractFunction) -> Call:
        """Sent by somebody who is no party."""
        return Call(self.relayer.address, function)

    def attested(
        self,
        function: Callable[[HexBytes], ContractFunction],
        message: Message,
        *,
        by_attester: bool = False,
    ) -> Call:
        """A verb with the attester's signature, sent by a relayer; or sent by the attester."""
        if by_attester:
            return Call(self.attester.address, function(HexBytes(b"")))
        return self.relayed(function(HexBytes(sign(self.attester, message, self.domain))))

    def _value(self, booked: Booked) -> int:
        return booked.terms.amount if self.token is None else 0

    def _deploy(self) -> None:
        chain, token = self.chain, [] if self.token is None else [self.token.address]
        escrow = load_artifact("TokenEscrow" if token else "NativeEscrow")
        parties = (self.attester.address, self.arbiter.address)
        terms = (FEE_BPS, self.fee_recipient.address, CLAIM_WINDOW)
        self.escrow = chain.deploy(escrow.abi, escrow.bytecode, *token, *parties, *terms)
        abi, bytecode = compile_like(escrow, FLOOR, "TokenFloor" if token else "NativeFloor")
        self.floor = chain.deploy(abi, bytecode, *token)
        self.domain = Domain(chain_id=chain.id, escrow=self.escrow.address)

    def _mint(self, *holders: str) -> None:
        mint = self.money.contract.functions.mint
        self.chain.prepare([Call(self.money.minter, mint(h, ENDOWMENT)) for h in holders])

    def _let_stand(self) -> None:
        """One booking stays open here and there, another was settled and its fee is owed."""
        stays, settled = self.book("standing"), self.book("settled")
        self.endow(stays, settled)
        if self.token is not None:
            self._mint(self.fee_recipient.address)
        self.fund(stays, settled)
        self.fund_floor(stays)
        self.chain.wait_until(settled.terms.ends_at)
        self.chain.gas(self.settle_call(settled))


@contextmanager
def open_markets() -> Iterator[tuple[Market, Market]]:
    """A token's market and the native coin's, always the same, on a chain that ends with it."""
    with tempfile.TemporaryDirectory(prefix="aitbc-bench-") as folder:
        chain = Chain(Path(folder))
        try:
            yield Market(chain, deploy_test_dollar(chain)), Market(chain, None)
        finally:
            chain.node.stop()
