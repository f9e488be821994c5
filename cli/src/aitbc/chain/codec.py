"""Events read from a node's JSON, and batches written for the escrow, by hand.

web3 does both for any contract, and takes ten times as long. All types here are of fixed size: each
value is one word of 32 bytes. Tests compare both with web3, for every event and verb.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector
from pydantic import ValidationError

from aitbc.chain.node import NodeFailed
from aitbc.protocol import events as escrow_events
from aitbc.protocol.artifacts import EscrowName, load_artifact
from aitbc.protocol.events import EscrowEvent
from aitbc.protocol.messages import Completion, Terms
from aitbc.protocol.types import parse_address

_WORD = 64
"""Hex digits of a word."""
_ADDRESS_PADDING = "0" * 24
_SIGNATURE_BYTES = 65


class _Field(NamedTuple):
    name: str
    read: Callable[[str], Any]
    """From a word in hex."""


class _Layout(NamedTuple):
    """Where the values of an event are."""

    kind: type[EscrowEvent]
    topics: tuple[_Field, ...]
    """Behind the first, which says which event it is."""
    words: tuple[_Field, ...]
    """Of its data."""
    terms: bool
    """Whether the words are those of `Terms`."""


def read_event(contract: EscrowName, log: Mapping[str, Any], timestamp: int) -> EscrowEvent:
    """An event of the escrow, from a log as nodes write it. Raises NodeFailed for anything else."""
    try:
        return _read_event(_layouts(contract)[log["topics"][0]], log, timestamp)
    except (LookupError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise NodeFailed("it gives a log that is no event of the escrow") from error


def _read_event(layout: _Layout, log: Mapping[str, Any], timestamp: int) -> EscrowEvent:
    topics, data = log["topics"], log["data"]
    words = [data[at : at + _WORD] for at in range(2, len(data), _WORD)]
    values = {field.name: field.read(word) for field, word in zip(layout.words, words, strict=True)}
    if layout.terms:
        values = {"terms": Terms(**values)}
    for field, topic in zip(layout.topics, topics[1:], strict=True):
        values[field.name] = field.read(topic[2:])
    if layout.terms:
        # Indexed, they say again what stands in the terms.
        del values["buyer"], values["provider"]
    return layout.kind(
        block_number=int(log["blockNumber"], 16),
        block_hash=_bytes32(log["blockHash"][2:]),
        tx_hash=_bytes32(log["transactionHash"][2:]),
        log_index=int(log["logIndex"], 16),
        timestamp=timestamp,
        **values,
    )


def settle_many(ids: Sequence[str], signature: str) -> str:
    """Calldata of `settleMany`, as 0x-hex."""
    return _batch("settleMany", [booking_id[2:] for booking_id in ids], signature)


def settle_each(settled: Iterable[tuple[Terms, Completion]], signature: str) -> str:
    """Calldata of `settleEach`, as 0x-hex."""
    items = [
        terms.abi_words().hex() + _uint(completion.earned) + completion.evidence[2:]
        for terms, completion in settled
    ]
    return _batch("settleEach", items, signature)


def _batch(verb: str, items: Sequence[str], signature: str) -> str:
    """A call with an array of items, each of as many words, and a signature."""
    array = _uint(len(items)) + "".join(items)
    head = _uint(2 * 32) + _uint(2 * 32 + len(array) // 2)
    signed = _uint(_SIGNATURE_BYTES) + signature[2:].ljust(3 * _WORD, "0")
    return _selectors()[verb] + head + array + signed


def _uint(value: int) -> str:
    return value.to_bytes(32, "big").hex()


def _address(word: str) -> str:
    if not word.startswith(_ADDRESS_PADDING):
        raise ValueError("no address")
    return parse_address("0x" + word[len(_ADDRESS_PADDING) :])


def _bytes32(word: str) -> str:
    if len(word) != _WORD:
        raise ValueError("no word")
    return "0x" + bytes.fromhex(word).hex()


def _number(word: str) -> int:
    return int.from_bytes(bytes.fromhex(word), "big")


def _reader(solidity: str) -> Callable[[str], Any]:
    if solidity.startswith("uint"):
        return _number
    return {"address": _address, "bytes32": _bytes32}[solidity]


@cache
def _layouts(contract: EscrowName) -> dict[str, _Layout]:
    """By the topic that says which event it is."""
    found = {}
    for item in load_artifact(contract).abi:
        if item["type"] == "event" and hasattr(escrow_events, item["name"]):
            topic = "0x" + event_abi_to_log_topic(item).hex()  # type: ignore[arg-type]  # of JSON
            found[topic] = _layout(item)
    return found


def _layout(item: Mapping[str, Any]) -> _Layout:
    kind: type[EscrowEvent] = getattr(escrow_events, item["name"])
    indexed = [_field(field) for field in item["inputs"] if field["indexed"]]
    data = [field for field in item["inputs"] if not field["indexed"]]
    has_terms = kind is escrow_events.Funded
    if has_terms:
        names = list(Terms.model_fields)
        words = zip(names, Terms.types()["Terms"], strict=True)
        of_data = [_Field(name, _reader(field["type"])) for name, field in words]
    else:
        of_data = [_field(field) for field in data]
    return _Layout(kind, tuple(indexed), tuple(of_data), has_terms)


def _field(field: Mapping[str, Any]) -> _Field:
    name = "booking_id" if field["name"] == "id" else field["name"]
    return _Field(name, _reader(field["type"]))


@cache
def _selectors() -> dict[str, str]:
    """By verb, as 0x-hex."""
    return {
        item["name"]: "0x" + function_abi_to_4byte_selector(item).hex()  # type: ignore[arg-type]
        for item in load_artifact("NativeEscrow").abi
        if item["type"] == "function" and item["name"] in {"settleMany", "settleEach"}
    }
