"""The token's and Permit2's messages, beside the contract's own text and EIP-712 by hand."""

import re
from pathlib import Path

import pytest
from eth_abi import abi as eth_abi
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol import funding
from aitbc.protocol.funding import (
    PERMIT2,
    Permit,
    PermitWitnessTransferFrom,
    ReceiveWithAuthorization,
    TokenDomain,
    permit2_domain,
)
from aitbc.protocol.messages import Message, Terms, domain_separator
from strategies import DOMAIN, addresses, terms

ROOT = Path(__file__).resolve().parents[2]
TOKEN = TokenDomain(name="USD Coin", version="2", chain_id=1, verifying_contract="0x" + "A0" * 20)
uint256 = st.integers(0, 2**256 - 1)


def encode_type(message: type[Message]) -> str:
    """EIP-712's encodeType: the message, then what is in it, by name."""
    first, *nested = (
        name + "(" + ",".join(f["type"] + " " + f["name"] for f in fields) + ")"
        for name, fields in message.types().items()
    )
    return first + "".join(sorted(nested))


def test_permit2s_type_is_the_contracts() -> None:
    source = (ROOT / "contracts/libraries/Messages.sol").read_text()
    match = re.search(r'PERMIT2_WITNESS =\s*"([^"]+)"', source)
    assert match is not None
    stub = (
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,"
        "uint256 nonce,uint256 deadline,"
    )
    assert encode_type(PermitWitnessTransferFrom) == stub + match[1]


@pytest.mark.parametrize(
    ("message", "standard"),
    [
        (
            Permit,
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
        ),
        (
            ReceiveWithAuthorization,
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
            "uint256 validBefore,bytes32 nonce)",
        ),
    ],
)
def test_a_tokens_type_is_its_standards(message: type[Message], standard: str) -> None:
    assert encode_type(message) == standard


def separator(fields: str, *values: tuple[str, object]) -> bytes:
    kinds = ["bytes32", *(kind for kind, _ in values)]
    hashed = [keccak(text=f"EIP712Domain({fields})"), *(value for _, value in values)]
    return keccak(eth_abi.encode(kinds, hashed))


def test_domains_hash_by_hand() -> None:
    assert domain_separator(TOKEN) == separator(
        "string name,string version,uint256 chainId,address verifyingContract",
        ("bytes32", keccak(text="USD Coin")),
        ("bytes32", keccak(text="2")),
        ("uint256", 1),
        ("address", TOKEN.verifying_contract),
    )
    assert domain_separator(permit2_domain(10)) == separator(
        "string name,uint256 chainId,address verifyingContract",
        ("bytes32", keccak(text="Permit2")),
        ("uint256", 10),
        ("address", PERMIT2),
    )


def digest(domain: bytes, type_string: str, *fields: tuple[str, object]) -> bytes:
    kinds = ["bytes32", *(kind for kind, _ in fields)]
    struct = eth_abi.encode(kinds, [keccak(text=type_string), *(value for _, value in fields)])
    return keccak(b"\x19\x01" + domain + keccak(struct))


@given(terms=terms())
def test_an_authorization_is_for_one_booking(terms: Terms) -> None:
    message = funding.authorization(terms, DOMAIN)
    assert message.digest(TOKEN) == digest(
        domain_separator(TOKEN),
        encode_type(ReceiveWithAuthorization),
        ("address", terms.buyer),
        ("address", DOMAIN.escrow),
        ("uint256", terms.amount),
        ("uint256", 0),
        ("uint256", terms.fund_by),
        ("bytes32", bytes.fromhex(terms.booking_id(DOMAIN)[2:])),
    )


@given(terms=terms(), token=addresses, nonce=uint256)
def test_a_permit2_transfer_is_for_one_booking(terms: Terms, token: str, nonce: int) -> None:
    message = funding.permit2_transfer(terms, DOMAIN, token, nonce)
    permitted = keccak(
        keccak(text="TokenPermissions(address token,uint256 amount)")
        + eth_abi.encode(["address", "uint256"], [token, terms.amount])
    )
    kinds = [field["type"] for field in Terms.types()["Terms"]]
    witness = keccak(
        keccak(text=encode_type(Terms)) + eth_abi.encode(kinds, list(terms.abi_values()))
    )
    domain = permit2_domain(DOMAIN.chain_id)
    assert message.digest(domain) == digest(
        domain_separator(domain),
        encode_type(PermitWitnessTransferFrom),
        ("bytes32", permitted),
        ("address", DOMAIN.escrow),
        ("uint256", nonce),
        ("uint256", terms.fund_by),
        ("bytes32", witness),
    )


@given(terms=terms(), nonce=uint256)
def test_a_permit_is_for_the_amount_alone(terms: Terms, nonce: int) -> None:
    message = funding.permit(terms, DOMAIN, nonce)
    assert message.digest(TOKEN) == digest(
        domain_separator(TOKEN),
        encode_type(Permit),
        ("address", terms.buyer),
        ("address", DOMAIN.escrow),
        ("uint256", terms.amount),
        ("uint256", nonce),
        ("uint256", terms.fund_by),
    )
