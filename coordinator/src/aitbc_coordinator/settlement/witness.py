"""Whether a node left out logs of the escrow without a word, as one that has not indexed them.

Each block's header has a Bloom filter of all its logs: what is in a block is in its filter, always.
Where the filter has the escrow, the block's receipts say which logs of it there are; that none was
left out of these is seen by making the filter from them again. So no log is missed in a block that
was looked at, if its header is the chain's. On a chain whose filters are empty, whatever is in its
blocks, nothing is found this way.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from eth_hash.auto import keccak
from hexbytes import HexBytes
from web3.exceptions import Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NodeFailed, ask, number
from aitbc.protocol.events import EscrowEvent
from aitbc_coordinator.nodes import Unsuited

BLOOM_BITS = 2048
_NO_RECEIPTS = "the node does not tell the receipts of a block that may have logs of the escrow"
_WAY_OUT = "name another node in rpc_url; if none tells receipts, set check_logs to false"


class Witness:
    def __init__(self, escrow: Escrow) -> None:
        self._escrow = escrow
        self._eth = escrow.web3.eth
        self._address = escrow.contract.address.lower()
        self._own = bloom([HexBytes(escrow.contract.address)])

    def check(self, first: int, last: int, events: Sequence[EscrowEvent]) -> None:
        """Raises Unsuited unless `events` are all that the blocks of a range have of the escrow."""
        given = {(event.block_number, event.log_index) for event in events}
        for at in range(first, last + 1):
            block = self._eth.get_block(at)
            header = int.from_bytes(HexBytes(block["logsBloom"]), "big")
            if header & self._own != self._own:
                continue
            actual = self._logs(block["hash"], header)
            if actual != {place for place in given if place[0] == at}:
                raise Unsuited(
                    f"the node left out logs of block {at}, which its receipts have",
                    hint="name another node in rpc_url: the follower waits until one gives them",
                )

    def _logs(self, block_hash: Any, header: int) -> set[tuple[int, int]]:
        """Block and index of each log of the escrow in a block, by its receipts."""
        try:
            receipts = ask(
                self._escrow.web3, "eth_getBlockReceipts", HexBytes(block_hash).to_0x_hex()
            )
        except Web3RPCError as error:
            raise Unsuited(_NO_RECEIPTS, hint=_WAY_OUT) from error
        if receipts is None:
            raise Unsuited(_NO_RECEIPTS, hint=_WAY_OUT)
        try:
            logs = [log for receipt in receipts for log in receipt["logs"]]
            filtered = bloom(_topics(logs))
            own = [log for log in logs if log["address"].lower() == self._address]
            places = {(number(log["blockNumber"]), number(log["logIndex"])) for log in own}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise NodeFailed("its receipts are none") from error
        if filtered != header:
            raise Unsuited("the node left logs out of a block's receipts", hint=_WAY_OUT)
        return places


def bloom(values: Iterable[bytes]) -> int:
    """The filter of some addresses and topics, as the number that a header writes big-endian."""
    found = 0
    for value in set(values):
        digest = keccak(value)
        for i in (0, 2, 4):
            found |= 1 << (int.from_bytes(digest[i : i + 2], "big") % BLOOM_BITS)
    return found


def _topics(logs: Iterable[Any]) -> Iterator[bytes]:
    for log in logs:
        yield bytes.fromhex(log["address"][2:])
        yield from (bytes.fromhex(topic[2:]) for topic in log["topics"])
