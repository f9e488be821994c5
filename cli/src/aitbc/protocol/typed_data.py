"""EIP-712 by hand: each type is read once, where eth_account's own reads it for every message.

Tests compare the two for every signed message. Values are those of `protocol.types`, which have
been checked already.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import coincurve
from eth_hash.auto import keccak

from aitbc.protocol.types import parse_address

Fields = Sequence[Mapping[str, str]]
"""Names and Solidity types, in order."""
Encoder = Callable[[Any], bytes]
"""The 32 bytes that stand for a value in the hash of its struct."""

_ADDRESS_BYTES = 20
_ECDSA_BYTES = 65
_FIRST_V = 27
_PARITY_OF_V = {0: 0, 1: 1, _FIRST_V: 0, _FIRST_V + 1: 1}
"""Some wallets leave out what Ethereum adds to a signature's last byte; no contract does."""
HALF_CURVE_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct's type, ready to hash its values."""

    type_hash: bytes
    encoders: tuple[Encoder, ...]

    @classmethod
    def read(
        cls, name: str, types: Mapping[str, Fields], nested: Encoder | None = None
    ) -> "Struct":
        """The struct `name` of `types`; `nested` hashes the structs inside it, if it has some."""
        others = sorted(other for other in types if other != name)
        text = "".join(_described(each, types[each]) for each in (name, *others))
        encoders = (_encoder(field["type"], nested) for field in types[name])
        return cls(keccak(text.encode()), tuple(encoders))

    def words(self, values: Sequence[Any]) -> bytes:
        """What stands for these values, which are in the order of the fields."""
        return b"".join(encode(value) for encode, value in zip(self.encoders, values, strict=True))

    def hash(self, values: Sequence[Any]) -> bytes:
        """The struct's hash, whatever the domain."""
        return keccak(self.type_hash + self.words(values))


def recover(digest: bytes, signature: bytes, *, on_chain: bool = False) -> str | None:
    """The address whose key signed a digest.

    None where the signature is malformed, or the twin that everybody can make of a good one.
    With `on_chain`, also where its form is none that contracts take.
    """
    if len(signature) != _ECDSA_BYTES:
        return None
    s, v = int.from_bytes(signature[32:64], "big"), signature[64]
    if s > HALF_CURVE_ORDER or v not in _PARITY_OF_V or (on_chain and v < _FIRST_V):
        return None
    compact = signature[:64] + bytes([_PARITY_OF_V[v]])
    try:
        key = coincurve.PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError:
        return None
    public = key.format(compressed=False)[1:]
    return parse_address("0x" + keccak(public)[-_ADDRESS_BYTES:].hex())


def sign(key: coincurve.PrivateKey, digest: bytes) -> bytes:
    """The key's signature over a digest: 65 bytes, as `recover` takes it."""
    compact = key.sign_recoverable(digest, hasher=None)
    return compact[:64] + bytes([compact[64] + _FIRST_V])


def _described(name: str, fields: Fields) -> str:
    members = ",".join(" ".join((field["type"], field["name"])) for field in fields)
    return f"{name}({members})"


def _encoder(solidity: str, nested: Encoder | None) -> Encoder:
    if solidity.endswith("[]"):
        item = _encoder(solidity.removesuffix("[]"), nested)
        return lambda values: keccak(b"".join(item(value) for value in values))
    if solidity.startswith("uint"):
        return lambda number: number.to_bytes(32, "big")
    found = _ENCODERS.get(solidity, nested)
    if found is None:
        raise TypeError(f"values of the type {solidity} cannot be encoded")
    return found


_ENCODERS: dict[str, Encoder] = {
    "address": lambda address: bytes.fromhex(address[2:]).rjust(32, b"\0"),
    "bytes32": lambda value: bytes.fromhex(value[2:]),
    "string": lambda value: keccak(value.encode()),
}
