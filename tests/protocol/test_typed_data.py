"""Typed data that is hashed and signed by hand, against eth_account's own."""

from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from aitbc.protocol import funding
from aitbc.protocol.messages import Domain, Message, Terms
from aitbc.protocol.typed_data import recover
from aitbc.signing import sign

ACCOUNT = Account.from_key("0x" + "11" * 32)
DOMAINS = (
    Domain(chain_id=31_337, escrow="0x" + "e5" * 20),
    funding.TokenDomain(
        name="Test €", version="2", chain_id=2**64, verifying_contract="0x" + "70" * 20
    ),
    funding.permit2_domain(1),
)
HEX_BYTES = {"address": 20, "bytes32": 32}


def kinds(base: type[Message] = Message) -> Iterator[type[Message]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


KINDS = {kind.__name__: kind for kind in kinds()}


def values(solidity: str) -> st.SearchStrategy[Any]:
    """Any values of a type, also such as no message accepts."""
    if solidity.endswith("[]"):
        return st.lists(values(solidity.removesuffix("[]")), max_size=3).map(tuple)
    if solidity.startswith("uint"):
        return st.integers(0, 2 ** int(solidity.removeprefix("uint")) - 1)
    if solidity == "string":
        return st.text(max_size=40)
    if solidity in HEX_BYTES:
        size = HEX_BYTES[solidity]
        return st.binary(min_size=size, max_size=size).map(lambda raw: "0x" + raw.hex())
    return messages(KINDS[solidity])


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    fields = zip(kind.model_fields, kind.types()[kind.__name__], strict=True)
    chosen = {name: values(field["type"]) for name, field in fields}
    return st.fixed_dictionaries(chosen).map(lambda made: kind.model_construct(**made))


def plain(value: Any) -> Any:
    """A message as eth_account takes it."""
    if isinstance(value, Message):
        fields = value.types()[type(value).__name__]
        names = zip(type(value).model_fields, fields, strict=True)
        return {field["name"]: plain(getattr(value, name)) for name, field in names}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_every_message_hashes_as_eth_accounts_typed_data(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(KINDS[name]))
    domain = data.draw(st.sampled_from(DOMAINS))
    types = {each: list(fields) for each, fields in message.types().items()}

    theirs = encode_typed_data(domain.as_dict(), types, plain(message))

    assert message.signable(domain) == theirs
    signed = ACCOUNT.sign_message(theirs)
    assert sign(ACCOUNT, message, domain) == "0x" + bytes(signed.signature).hex()
    assert message.digest(domain) == bytes(signed.message_hash)
    assert message.signer(domain, "0x" + bytes(signed.signature).hex()) == ACCOUNT.address


def test_messages_of_all_kinds_are_known() -> None:
    assert {"Terms", "Listing", "QuoteRequest", "PermitWitnessTransferFrom"} <= set(KINDS)
    assert KINDS["Terms"] is Terms


@given(digest=st.binary(min_size=32, max_size=32), v=st.integers(0, 255))
def test_the_last_byte_of_a_signature_is_one_of_four(digest: bytes, v: int) -> None:
    good = bytes(ACCOUNT.unsafe_sign_hash(digest).signature)
    signer = recover(digest, good[:64] + bytes([v]))
    assert (signer == ACCOUNT.address) is (v in {good[64], good[64] - 27})
    assert signer is None or v in {0, 1, 27, 28}
    on_chain = recover(digest, good[:64] + bytes([v]), on_chain=True)
    assert on_chain == (signer if v in {27, 28} else None)


@given(digest=st.binary(min_size=32, max_size=32), junk=st.binary(max_size=70))
def test_junk_has_no_signer_or_a_strangers(digest: bytes, junk: bytes) -> None:
    assert recover(digest, junk) != ACCOUNT.address
