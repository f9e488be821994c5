"""Every signed message of the market: the one definition of its EIP-712 types.

All of them are signed in the domain of the market's escrow, so that a signature made for
another chain or another market is refused; what tokens check themselves is in `funding`.
Times are UTC seconds, money is base units.
"""

from collections.abc import Hashable
from functools import cache, lru_cache
from typing import Annotated, Any, ClassVar, Protocol, Self, get_args, get_origin

from eth_abi import abi as eth_abi
from eth_account.messages import SignableMessage
from eth_hash.auto import keccak
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from aitbc.protocol import availability, typed_data
from aitbc.protocol.ids import GPU_ID_PATTERN
from aitbc.protocol.typed_data import Struct
from aitbc.protocol.types import (
    Address,
    Amount,
    Amount256,
    Bytes32,
    Salt,
    SolidityType,
    Text,
    Timestamp,
    Uint32,
)
from aitbc.protocol.where import MAX_CHARS

_DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


class SigningDomain(Hashable, Protocol):
    """What a message is signed in: the contract that checks it, on one chain."""

    def as_dict(self) -> dict[str, Any]:
        """The EIP-712 domain's own fields; one that it does not have is left out."""


def domain_type(domain: SigningDomain) -> list[dict[str, str]]:
    """The EIP-712 type of a domain: the fields that it has, in the standard's order."""
    fields = domain.as_dict()
    return [field for field in _DOMAIN_TYPE if field["name"] in fields]


@lru_cache(maxsize=64)
def domain_separator(domain: SigningDomain) -> bytes:
    """The 32 bytes by which a contract binds signatures to itself."""
    fields = domain.as_dict()
    own = domain_type(domain)
    struct = Struct.read("EIP712Domain", {"EIP712Domain": own})
    return struct.hash([fields[field["name"]] for field in own])


class Domain(BaseModel):
    """The EIP-712 domain of one escrow on one chain."""

    model_config = ConfigDict(frozen=True)

    name: ClassVar[str] = "aitbc"
    version: ClassVar[str] = "1"
    chain_id: int
    escrow: Address

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "chainId": self.chain_id,
            "verifyingContract": self.escrow,
        }


class Message(BaseModel):
    """A signed struct. Its Solidity field names are the Python ones in camelCase."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    @cache
    def types(cls) -> dict[str, list[dict[str, str]]]:
        """The EIP-712 types of this message and of the structs inside it."""
        fields: list[dict[str, str]] = []
        nested: dict[str, list[dict[str, str]]] = {}
        for name, info in cls.model_fields.items():
            solidity, struct = _solidity_type(info)
            fields.append({"name": _solidity_name(name), "type": solidity})
            if struct is not None:
                nested |= struct.types()
        return {cls.__name__: fields, **nested}

    def signable(self, domain: SigningDomain) -> SignableMessage:
        """What is signed, in eth_account's form."""
        return SignableMessage(b"\x01", domain_separator(domain), self.struct_hash())

    def digest(self, domain: SigningDomain) -> bytes:
        """The 32 bytes that are signed."""
        return keccak(b"\x19\x01" + domain_separator(domain) + self.struct_hash())

    def struct_hash(self) -> bytes:
        """The EIP-712 hash of the fields, which no domain is part of."""
        return self._struct().hash(self._values())

    def signer(
        self, domain: SigningDomain, signature: str, *, on_chain: bool = False
    ) -> str | None:
        """The address whose key signed this message, or None where the signature is malformed.

        Of what a contract is to be shown, `on_chain` asks what the contract will find.
        """
        raw = bytes.fromhex(signature.removeprefix("0x"))
        return typed_data.recover(self.digest(domain), raw, on_chain=on_chain)

    def by_field(self) -> dict[str, Any]:
        """The values by the names of their Solidity fields."""
        return {_solidity_name(name): getattr(self, name) for name in type(self).model_fields}

    def _values(self) -> list[Any]:
        return [getattr(self, name) for name in type(self).model_fields]

    @classmethod
    @cache
    def _struct(cls) -> Struct:
        return Struct.read(cls.__name__, cls.types(), Message.struct_hash)


def _solidity_name(name: str) -> str:
    """In camelCase, without the `_` that keeps a name apart from a word of Python's."""
    return to_camel(name).rstrip("_")


def _solidity_type(info: FieldInfo) -> tuple[str, type[Message] | None]:
    for mark in info.metadata:
        if isinstance(mark, SolidityType):
            return mark.name, None
    if isinstance(info.annotation, type) and issubclass(info.annotation, Message):
        return info.annotation.__name__, info.annotation
    if get_origin(info.annotation) is tuple:
        item = get_args(info.annotation)[0]
        if isinstance(item, type) and issubclass(item, Message):
            return f"{item.__name__}[]", item
        return f"{_mark(item)}[]", None
    raise TypeError(f"{info} has no Solidity type")


def _mark(annotated: Any) -> str:
    return next(m.name for m in get_args(annotated) if isinstance(m, SolidityType))


class Terms(Message):
    """What buyer and provider agreed on; the contract's struct of the same name."""

    buyer: Address
    provider: Address
    amount: Amount
    fund_by: Timestamp
    starts_at: Timestamp
    ends_at: Timestamp
    listing: Bytes32
    salt: Salt

    @classmethod
    @cache
    def abi_type(cls) -> str:
        return "(" + ",".join(f["type"] for f in cls.types()["Terms"]) + ")"

    def abi_values(self) -> tuple[Any, ...]:
        """The fields in order, as the contract's ABI takes them."""
        values = [getattr(self, name) for name in type(self).model_fields]
        values[6] = bytes.fromhex(self.listing[2:])
        return tuple(values)

    def abi_words(self) -> bytes:
        """The fields as the contract's ABI encodes them: a word of 32 bytes each."""
        return self._struct().words(self._values())

    def booking_id(self, domain: Domain) -> str:
        """The id of these terms in an escrow, as 0x-hex of 32 bytes."""
        encoded = escrow_seed(domain) + self.abi_words()
        return "0x" + (keccak(encoded)[:28] + self.ends_at.to_bytes(4, "big")).hex()


def escrow_constants(domain: Domain) -> dict[str, bytes]:
    """What the shipped constructor leaves in its code besides a market's parameters, by name."""
    name, version = domain.name.encode(), domain.version.encode()
    address = bytes.fromhex(domain.escrow[2:]).rjust(32, b"\0")
    chain_id = domain.chain_id.to_bytes(32, "big")
    return {
        "seed": escrow_seed(domain),
        "_cachedThis": address,
        "_cachedChainId": chain_id,
        "_cachedDomainSeparator": domain_separator(domain),
        "_hashedName": keccak(name),
        "_hashedVersion": keccak(version),
        "_name": name.ljust(31, b"\0") + bytes([len(name)]),
        "_version": version.ljust(31, b"\0") + bytes([len(version)]),
    }


@lru_cache(maxsize=64)
def escrow_seed(domain: Domain) -> bytes:
    """What binds booking ids to one chain and contract."""
    return keccak(eth_abi.encode(["uint256", "address"], [domain.chain_id, domain.escrow]))


class Receipt(Message):
    """The attester (or the buyer) states what a booking earned so far, in all."""

    booking_id: Bytes32
    earned: Amount256


class Completion(Message):
    """The attester states what a booking earned in all, and the hash of its evidence."""

    booking_id: Bytes32
    earned: Amount256
    evidence: Bytes32


class SettleMany(Message):
    """The attester lets a batch of bookings be paid in full."""

    booking_ids: tuple[Bytes32, ...]


class SettleEach(Message):
    """The attester lets a batch of completions be settled."""

    completions: tuple[Completion, ...]


GpuUuid = Annotated[Text, Field(max_length=64, pattern=r"^[A-Za-z0-9-]*$")]


class Listing(Message):
    """A provider offers one GPU. `version` grows by one with each change; prices are per hour.

    It may be booked within `available` (see `availability`; empty is always), and not from
    `maintenance_from` until `maintenance_until` (both 0 for none), which lies at most
    `MAINTENANCE_DAYS` after `signed_at`. What is booked already stays so.
    """

    provider: Address
    salt: Salt
    version: Uint32
    name: Annotated[Text, Field(min_length=1, max_length=64, pattern=r"^[\w .:+()#/-]+$")]
    model: Annotated[Text, Field(max_length=96, pattern=r"^[\w .:+()#/-]*$")]
    gpu_uuid: GpuUuid
    memory_gib: Annotated[Uint32, Field(ge=1, le=4096)]
    cuda_version: Annotated[Text, Field(pattern=r"^[1-9][0-9]?\.[0-9]{1,2}$")]
    region: Annotated[Text, Field(min_length=1, max_length=32)]
    base_price: Annotated[Amount, Field(gt=0)]
    floor_price: Annotated[Amount, Field(gt=0)]
    ceiling_price: Annotated[Amount, Field(gt=0)]
    strategy: Annotated[Text, Field(min_length=1, max_length=32)]
    available: Annotated[Text, Field(pattern=availability.PATTERN)] = ""
    maintenance_from: Timestamp = 0
    maintenance_until: Timestamp = 0
    signed_at: Timestamp

    @model_validator(mode="after")
    def _says_when_in_one_form_only(self) -> Self:
        if self.available != availability.canonical([self.available] if self.available else []):
            raise ValueError("available: order the windows, and join those that touch or overlap")
        none = self.maintenance_from == self.maintenance_until == 0
        if not none and self.maintenance_from >= self.maintenance_until:
            raise ValueError("maintenance_until: it is to end after it begins")
        days = availability.MAINTENANCE_DAYS
        if self.maintenance_until > self.signed_at + days * 86_400:
            raise ValueError(f"maintenance_until: at most {days} days after signed_at")
        return self

    @property
    def prices_in_order(self) -> bool:
        """Whether floor ≤ base ≤ ceiling."""
        return self.floor_price <= self.base_price <= self.ceiling_price


class Unlisting(Message):
    """A provider takes a GPU off the market. `version` continues the listing's."""

    provider: Address
    salt: Salt
    version: Uint32
    signed_at: Timestamp


class SessionGrant(Message):
    """A provider's wallet lets a key on the GPU host speak for it until `expires_at`."""

    provider: Address
    session_key: Address
    expires_at: Timestamp


MAX_SIGHTINGS = 256
"""How many GPUs one message vouches for at most."""


class Sighting(Message):
    """A GPU that a machine serves, and the UUID that the driver there names; empty for none."""

    gpu_id: Annotated[Text, Field(pattern=GPU_ID_PATTERN)]
    gpu_uuid: GpuUuid


class Presence(Message):
    """A provider's machine is up at `signed_at`, and serves these GPUs."""

    provider: Address
    gpus: Annotated[tuple[Sighting, ...], Field(min_length=1, max_length=MAX_SIGHTINGS)]
    signed_at: Timestamp


MAX_COUNT = 64
"""How many GPUs one request asks for at most."""


class QuoteRequest(Message):
    """A buyer asks for one GPU by its id, or for `count` of those that an expression means.

    Without a `gpu_id`, an empty `where` means any GPU. Prices in it are decimals of the market's
    money, and are compared with the price that is quoted. `starts_at` 0 means as soon as
    possible; `max_price` is per hour and GPU.
    """

    buyer: Address
    gpu_id: Annotated[Text, Field(max_length=16)]
    where: Annotated[Text, Field(max_length=MAX_CHARS)] = ""
    count: Annotated[Uint32, Field(ge=1, le=MAX_COUNT)] = 1
    starts_at: Timestamp
    duration: Annotated[Uint32, Field(gt=0)]
    max_price: Amount
    salt: Salt
    signed_at: Timestamp

    @model_validator(mode="after")
    def _names_or_describes(self) -> Self:
        if self.gpu_id and (self.where or self.count > 1):
            raise ValueError("gpu_id names one GPU: leave where empty, and count 1")
        return self

    @property
    def salts(self) -> tuple[int, ...]:
        """What the terms of the quotes have as their salts, in the order of the quotes."""
        return tuple((self.salt + i) % 2**64 for i in range(self.count))


class Quote(Message):
    """The coordinator holds the GPU for these terms until `fund_by`, at an explained price.

    `minimum` is the least amount that was worth settling just then, 0 where that is not counted.
    """

    booking_id: Bytes32
    price: Amount
    pricing: Bytes32
    minimum: Amount


class Retirement(Message):
    """The attester says that nobody is to fund its escrow any more.

    `successor` is the escrow of the market that follows; the zero address where none is named.
    """

    retired_at: Timestamp
    successor: Address


class Minimum(Message):
    """The least `amount` that is worth settling, and what it follows from: see `worth`.

    `cost` is what settling costs. `gas_price` is wei; `coin_price` is what a whole coin of the
    chain costs, 0 where the coordinator does not know.
    """

    amount: Amount256
    cost: Amount256
    settle_gas: Uint32
    gas_price: Amount256
    coin_price: Amount256
    signed_at: Timestamp


class Heartbeat(Message):
    """A provider's machine served a booking in `[covers_from, covers_until)`.

    `telemetry` is a JSON object as text; it is kept as evidence and earns nothing.
    """

    booking_id: Bytes32
    sequence: Uint32
    covers_from: Timestamp
    covers_until: Timestamp
    telemetry: Annotated[Text, Field(max_length=2048)]
