"""What a buyer signs so that money moves without a transaction of their own.

Tokens and Permit2 check these messages, each in a domain of its own. Whatever is signed for a
booking is good for that booking only: it names the escrow, the exact amount and, but for `Permit`,
commits to all of its terms.
"""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from aitbc.protocol.messages import Domain, Message, Terms
from aitbc.protocol.types import Address, Amount256, Bytes32, Uint256

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
"""The same contract at the same address on every chain."""


class PayBy(StrEnum):
    """How a token's money gets into the escrow."""

    ALLOWANCE = "allowance"
    """An ERC-20 allowance, in a transaction of its own."""
    PERMIT = "permit"
    """An ERC-2612 permit."""
    AUTHORIZATION = "authorization"
    """An ERC-3009 authorization, which anyone may send."""
    PERMIT2 = "permit2"
    """A Permit2 transfer, which anyone may send."""


RelayMethod = Literal[PayBy.AUTHORIZATION, PayBy.PERMIT2]
RELAYABLE: tuple[RelayMethod, ...] = (PayBy.AUTHORIZATION, PayBy.PERMIT2)
"""What needs no transaction of the buyer: cheapest first."""


class TokenDomain(BaseModel):
    """The EIP-712 domain of a token, or of Permit2, which has no version."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str | None
    chain_id: int
    verifying_contract: Address

    def as_dict(self) -> dict[str, Any]:
        fields = {
            "name": self.name,
            "version": self.version,
            "chainId": self.chain_id,
            "verifyingContract": self.verifying_contract,
        }
        return {name: value for name, value in fields.items() if value is not None}


def permit2_domain(chain_id: int) -> TokenDomain:
    return TokenDomain(name="Permit2", version=None, chain_id=chain_id, verifying_contract=PERMIT2)


class Permit(Message):
    """ERC-2612: the owner lets a spender take `value` of a token."""

    owner: Address
    spender: Address
    value: Amount256
    nonce: Uint256
    deadline: Uint256


class ReceiveWithAuthorization(Message):
    """ERC-3009: `to`, and nobody else, may take `value` of a token within a time."""

    from_: Address
    to: Address
    value: Amount256
    valid_after: Uint256
    valid_before: Uint256
    nonce: Bytes32


class TokenPermissions(Message):
    """The part of a Permit2 message that says what may be taken."""

    token: Address
    amount: Amount256


class PermitWitnessTransferFrom(Message):
    """Permit2: the spender may take what is permitted, for the terms that it presents."""

    permitted: TokenPermissions
    spender: Address
    nonce: Uint256
    deadline: Uint256
    witness: Terms


def permit(terms: Terms, domain: Domain, nonce: int) -> Permit:
    """Lets the escrow of `domain` take a booking's amount. `nonce` is the buyer's next one."""
    return Permit(
        owner=terms.buyer,
        spender=domain.escrow,
        value=terms.amount,
        nonce=nonce,
        deadline=terms.fund_by,
    )


def authorization(terms: Terms, domain: Domain) -> ReceiveWithAuthorization:
    """Lets the escrow of `domain` take a booking's amount, for these very terms."""
    return ReceiveWithAuthorization(
        from_=terms.buyer,
        to=domain.escrow,
        value=terms.amount,
        valid_after=0,
        valid_before=terms.fund_by,
        nonce=terms.booking_id(domain),
    )


def permit2_transfer(
    terms: Terms, domain: Domain, token: str, nonce: int
) -> PermitWitnessTransferFrom:
    """Lets the escrow of `domain` take a booking's amount through Permit2, for these terms."""
    return PermitWitnessTransferFrom(
        permitted=TokenPermissions(token=token, amount=terms.amount),
        spender=domain.escrow,
        nonce=nonce,
        deadline=terms.fund_by,
        witness=terms,
    )
