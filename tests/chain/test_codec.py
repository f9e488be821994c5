"""What is read and written by hand, compared with what web3 makes of the same."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from eth_abi import abi as eth_abi
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st
from web3 import Web3
from web3.exceptions import Web3RPCError
from web3.providers import JSONBaseProvider
from web3.types import EventData, RPCResponse

from aitbc.chain import codec
from aitbc.chain.escrow import Escrow, event_of
from aitbc.chain.node import NodeFailed
from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.messages import Completion, Domain, Terms

ESCROW = "0x" + "e5" * 20
OTHER = "0x" + "d4" * 20
NEVER_EMITTED = {"EIP712DomainChanged"}
"""Comes with the library that the domain comes from; a domain here never changes."""
EVENTS = [
    item
    for item in load_artifact("TokenEscrow").abi
    if item["type"] == "event" and item["name"] not in NEVER_EMITTED
]
BYTES32 = st.binary(min_size=32, max_size=32)
ADDRESS = st.binary(min_size=20, max_size=20).map(Web3.to_checksum_address)
UINT32 = st.integers(0, 2**32 - 1)
SIGNATURE = st.binary(min_size=65, max_size=65).map(lambda raw: "0x" + raw.hex())
TERMS = st.builds(
    Terms,
    buyer=ADDRESS,
    provider=ADDRESS,
    amount=st.integers(0, 2**88 - 1),
    fund_by=UINT32,
    starts_at=UINT32,
    ends_at=UINT32,
    listing=BYTES32.map(lambda raw: "0x" + raw.hex()),
    salt=st.integers(0, 2**64 - 1),
)
VALUES = {
    "address": ADDRESS,
    "bytes32": BYTES32,
    "uint256": st.integers(0, 2**256 - 1),
    "tuple": TERMS.map(lambda terms: terms.abi_values()),
}
STAMP = 1_800_000_000


class Told(JSONBaseProvider):
    """A node that answers every question in the same way."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Any] = []

    def make_request(self, method: Any, params: Any) -> RPCResponse:
        self.asked.append((method, params))
        return cast("RPCResponse", self.answer)


def escrow_with(answer: dict[str, Any]) -> Escrow:
    return Escrow(Web3(Told(answer)), Domain(chain_id=1, escrow=ESCROW), "TokenEscrow")


CONTRACT = escrow_with({}).contract


def solidity(field: dict[str, Any]) -> str:
    return Terms.abi_type() if field["type"] == "tuple" else str(field["type"])


@st.composite
def logs(draw: Callable[[Any], Any], item: Any) -> dict[str, Any]:
    """A log of an event, as a node writes it."""
    values = [(field, draw(VALUES[field["type"]])) for field in item["inputs"]]
    indexed = [(field, value) for field, value in values if field["indexed"]]
    data = [(field, value) for field, value in values if not field["indexed"]]
    topics = [event_abi_to_log_topic(item)]
    topics += [eth_abi.encode([solidity(field)], [value]) for field, value in indexed]
    encoded = eth_abi.encode([solidity(f) for f, _ in data], [value for _, value in data])
    return {
        "address": ESCROW,
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + encoded.hex(),
        "blockNumber": hex(draw(UINT32)),
        "blockHash": "0x" + draw(BYTES32).hex(),
        "transactionHash": "0x" + draw(BYTES32).hex(),
        "transactionIndex": "0x0",
        "logIndex": hex(draw(st.integers(0, 10_000))),
        "blockTimestamp": hex(STAMP),
        "removed": False,
    }


def sample(name: str) -> dict[str, Any]:
    """A log of one event: every number in it is 1."""
    item = next(item for item in EVENTS if item["name"] == name)
    words = {"address": 1, "bytes32": 1, "uint256": 1, "tuple": 8}
    topics = ["0x" + event_abi_to_log_topic(item).hex()]  # type: ignore[arg-type]  # of JSON
    topics += ["0x" + "00" * 31 + "01" for field in item["inputs"] if field["indexed"]]
    size = sum(words[field["type"]] for field in item["inputs"] if not field["indexed"])
    return {
        "address": ESCROW,
        "topics": topics,
        "data": "0x" + ("00" * 31 + "01") * size,
        "blockNumber": "0x7",
        "blockHash": "0x" + "bb" * 32,
        "transactionHash": "0x" + "cc" * 32,
        "logIndex": "0x2",
        "blockTimestamp": hex(STAMP),
    }


@pytest.mark.parametrize("item", EVENTS, ids=lambda item: str(item["name"]))
@given(data=st.data())
def test_every_event_is_read_as_web3_reads_it(item: Any, data: st.DataObject) -> None:
    log = data.draw(logs(item))
    hashed = {"blockHash", "transactionHash", "data"}
    counted = {"blockNumber", "logIndex", "transactionIndex"}
    received = {
        key: HexBytes(value) if key in hashed else int(value, 16) if key in counted else value
        for key, value in log.items()
    } | {"topics": [HexBytes(topic) for topic in log["topics"]]}
    decoded: EventData = CONTRACT.events[item["name"]]().process_log(received)

    assert codec.read_event("TokenEscrow", log, STAMP) == event_of(decoded, STAMP)


@given(ids=st.lists(BYTES32, max_size=4), signature=SIGNATURE)
def test_full_payouts_are_written_as_web3_writes_them(ids: list[bytes], signature: str) -> None:
    expected = CONTRACT.encode_abi("settleMany", [ids, HexBytes(signature)])
    assert codec.settle_many(["0x" + raw.hex() for raw in ids], signature) == expected


@given(
    settled=st.lists(st.tuples(TERMS, st.integers(0, 2**88 - 1), BYTES32), max_size=4),
    signature=SIGNATURE,
)
def test_completions_are_written_as_web3_writes_them(
    settled: list[tuple[Terms, int, bytes]], signature: str
) -> None:
    values = [(terms.abi_values(), earned, evidence) for terms, earned, evidence in settled]
    arguments = [values, HexBytes(signature)]
    expected = CONTRACT.encode_abi("settleEach", arguments)
    written = [
        (terms, Completion(booking_id=_any_id(), earned=earned, evidence="0x" + evidence.hex()))
        for terms, earned, evidence in settled
    ]
    assert codec.settle_each(written, signature) == expected


def _any_id() -> str:
    return "0x" + "ab" * 32


def test_events_come_in_the_chains_order_and_each_with_its_blocks_time() -> None:
    late, early = sample("Disputed"), sample("Claimed") | {"logIndex": "0x1"}
    escrow = escrow_with({"result": [late, early]})

    assert [type(event).__name__ for event in escrow.events(5, 9)] == ["Claimed", "Disputed"]
    assert {event.timestamp for event in escrow.events(5, 9)} == {STAMP}
    provider = cast("Told", escrow.web3.provider)
    query = {"address": escrow.contract.address, "fromBlock": "0x5", "toBlock": "0x9"}
    assert provider.asked[0] == ("eth_getLogs", [query])


@pytest.mark.parametrize(
    "changes",
    [
        {"address": OTHER},
        {"address": None},
        {"blockNumber": "0x4"},
        {"blockNumber": "0xa"},
        {"blockNumber": None},
        {"blockNumber": "seven"},
        {"blockTimestamp": "noon"},
        {"blockHash": "0x12"},
        {"blockHash": None},
        {"transactionHash": "0x" + "zz" * 32},
        {"logIndex": "x"},
        {"data": "0x"},
        {"data": "0x12"},
        {"data": None},
        {"data": "0x" + "00" * 32 * 3},
        {"topics": []},
        {"topics": None},
        {"topics": ["0x" + "00" * 32, "0x" + "00" * 32]},
        {"topics": sample("Claimed")["topics"][:1]},
        {"topics": [*sample("Claimed")["topics"], "0x" + "00" * 32]},
        {"topics": [sample("Claimed")["topics"][0], "0x01"]},
    ],
    ids=str,
)
def test_a_log_that_is_none_of_those_asked_for_is_the_nodes_failure(
    changes: dict[str, Any],
) -> None:
    escrow = escrow_with({"result": [sample("Claimed") | changes]})
    with pytest.raises(NodeFailed):
        escrow.events(5, 9)


def test_an_address_with_more_than_its_bytes_is_refused() -> None:
    log = sample("PayoutDeferred")
    assert codec.read_event("TokenEscrow", log, STAMP)
    log["topics"][1] = "0x01" + log["topics"][1][4:]
    with pytest.raises(NodeFailed):
        codec.read_event("TokenEscrow", log, STAMP)


def test_terms_that_the_contract_cannot_have_are_refused() -> None:
    log = sample("Funded")
    assert codec.read_event("TokenEscrow", log, STAMP)
    log["data"] = "0x" + "00" * 64 + "ff" * 32 + log["data"][2 + 6 * 32 :]
    with pytest.raises(NodeFailed):
        codec.read_event("TokenEscrow", log, STAMP)


@pytest.mark.parametrize("logs", [None, {}, "0x", [1], [None]], ids=json.dumps)
def test_what_is_no_list_of_logs_is_the_nodes_failure(logs: Any) -> None:
    with pytest.raises(NodeFailed):
        escrow_with({"result": logs}).events(5, 9)


@pytest.mark.parametrize("answer", [{}, [], None], ids=json.dumps)
def test_what_is_no_json_rpc_is_the_nodes_failure(answer: Any) -> None:
    with pytest.raises(NodeFailed):
        escrow_with(answer).events(5, 9)


def test_an_error_is_raised_as_web3_raises_it() -> None:
    with pytest.raises(Web3RPCError, match="too many blocks"):
        escrow_with({"error": {"code": -32005, "message": "too many blocks"}}).events(5, 9)
