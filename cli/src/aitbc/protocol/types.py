"""Field types shared by signed messages and the wire, each with its Solidity type."""

import re
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from eth_utils.address import is_hex_address, to_checksum_address
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from aitbc.protocol.units import MAX_AMOUNT

ZERO_ADDRESS = "0x" + "00" * 20
"""Nobody: as a token the chain's own coin, as an arbiter none."""


class SolidityType(NamedTuple):
    """Marks a field with its type in EIP-712 and in the contract's ABI."""

    name: str


@lru_cache(maxsize=4096)
def parse_address(value: str) -> str:
    """An address in checksum form. Raises ValueError, with a message for people."""
    if not value.startswith("0x") or not is_hex_address(value):
        raise ValueError(f"'{value}' is not an address: expected 0x and 40 hex digits")
    return str(to_checksum_address(value))


def _bytes32(value: str) -> str:
    if re.fullmatch(r"0x[0-9a-fA-F]{64}", value) is None:
        raise ValueError("expected 0x and 64 hex digits")
    return value.lower()


def _signature(value: str) -> str:
    if re.fullmatch(r"0x([0-9a-fA-F]{2}){1,2048}", value) is None:
        raise ValueError("expected a signature: 0x and hex digits")
    return value.lower()


def _decimal_string(value: Any) -> Any:
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,78}", value) is None:
            raise ValueError("expected base units: decimal digits only")
        return int(value)
    return value


def _signed_decimal_string(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("-"):
        return -int(_decimal_string(value[1:]))
    return _decimal_string(value)


_AMOUNT_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,78}$"})
_ADDRESS_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"})
_BYTES32_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"})
_SIGNATURE_SCHEMA = WithJsonSchema({"type": "string", "pattern": "^0x([0-9a-fA-F]{2}){1,2048}$"})
_to_json_string = PlainSerializer(str, return_type=str, when_used="json")
_digits = BeforeValidator(_decimal_string)

Address = Annotated[str, AfterValidator(parse_address), _ADDRESS_SCHEMA, SolidityType("address")]
Bytes32 = Annotated[str, AfterValidator(_bytes32), _BYTES32_SCHEMA, SolidityType("bytes32")]
Signature = Annotated[str, AfterValidator(_signature), _SIGNATURE_SCHEMA]

Amount = Annotated[
    int,
    _digits,
    Field(ge=0, le=MAX_AMOUNT, strict=True),
    _to_json_string,
    _AMOUNT_SCHEMA,
    SolidityType("uint88"),
]
"""Money in base units: an int in Python, a decimal string in JSON."""

AmountChange = Annotated[
    int,
    BeforeValidator(_signed_decimal_string),
    Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT, strict=True),
    _to_json_string,
    WithJsonSchema({"type": "string", "pattern": "^-?[0-9]{1,78}$"}),
]
"""More or less money, in base units: an int in Python, a decimal string in JSON."""

Amount256 = Annotated[
    int,
    _digits,
    Field(ge=0, lt=2**256, strict=True),
    _to_json_string,
    _AMOUNT_SCHEMA,
    SolidityType("uint256"),
]

Salt = Annotated[
    int,
    _digits,
    Field(ge=0, lt=2**64, strict=True),
    _to_json_string,
    _AMOUNT_SCHEMA,
    SolidityType("uint64"),
]
"""A random number, in JSON a decimal string (JSON numbers lose precision above 2**53)."""

Timestamp = Annotated[int, Field(ge=0, lt=2**32, strict=True), SolidityType("uint32")]
"""UTC seconds."""

Uint256 = Annotated[int, Field(ge=0, lt=2**256, strict=True), SolidityType("uint256")]
"""A number that is no money, in a message that never travels as JSON."""

Uint32 = Annotated[int, Field(ge=0, lt=2**32, strict=True), SolidityType("uint32")]
Text = Annotated[str, SolidityType("string")]
