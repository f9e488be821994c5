"""Field types: what they take, what they refuse, how they travel."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from aitbc.protocol.types import (
    Address,
    Amount,
    Amount256,
    AmountChange,
    Bytes32,
    Salt,
    Signature,
    Timestamp,
)

LOWER = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
CHECKSUMMED = "0x5FbDB2315678afecb367f032d93F642f64180aa3"


def test_addresses_become_checksummed() -> None:
    adapter: TypeAdapter[str] = TypeAdapter(Address)
    assert adapter.validate_python(LOWER) == CHECKSUMMED
    assert adapter.validate_python(CHECKSUMMED) == CHECKSUMMED


def test_hashes_become_lower_case() -> None:
    adapter: TypeAdapter[str] = TypeAdapter(Bytes32)
    assert adapter.validate_python("0x" + "AB" * 32) == "0x" + "ab" * 32


@pytest.mark.parametrize("kind", [Amount, Amount256, Salt])
def test_big_numbers_are_json_strings(kind: Any) -> None:
    adapter: TypeAdapter[int] = TypeAdapter(kind)
    assert adapter.dump_json(2**63) == b'"9223372036854775808"'
    assert adapter.validate_json(b'"9223372036854775808"') == 2**63
    assert adapter.validate_json(b"5") == 5


def test_changes_of_amounts_have_a_sign() -> None:
    adapter: TypeAdapter[int] = TypeAdapter(AmountChange)
    assert adapter.dump_json(-(2**63)) == b'"-9223372036854775808"'
    for text, value in (('"-5"', -5), ('"5"', 5), ("-5", -5)):
        assert adapter.validate_json(text) == value


@pytest.mark.parametrize(("kind", "bits"), [(Amount, 88), (Amount256, 256), (Salt, 64)])
def test_big_numbers_end_where_solidity_ends(kind: Any, bits: int) -> None:
    adapter: TypeAdapter[int] = TypeAdapter(kind)
    assert adapter.validate_python(2**bits - 1) == 2**bits - 1
    with pytest.raises(ValidationError):
        adapter.validate_python(2**bits)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Address, LOWER[2:]),
        (Address, LOWER + "0"),
        (Address, "0x" + "g" * 40),
        (Bytes32, "0x" + "ab" * 31),
        (Bytes32, "ab" * 32),
        (Signature, "0x"),
        (Signature, "0xabc"),
        (Signature, "0x" + "ab" * 2049),
        (Amount, "1.0"),
        (Amount, "-1"),
        (Amount, "0x10"),
        (Amount, " 1"),
        (Amount, "٣"),
        (Amount, 1.0),
        (Amount, True),
        (Amount, "1" * 79),
        (AmountChange, "--1"),
        (AmountChange, "-"),
        (AmountChange, 2**88),
        (AmountChange, -(2**88)),
        (Timestamp, "1"),
        (Timestamp, 1.0),
        (Timestamp, -1),
        (Timestamp, 2**32),
    ],
)
def test_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
