"""Whether a node left out logs of the escrow without a word, as one that has not indexed them.

Each block's header has a Bloom filter of all its logs: what is in a block is in its filter, always.
Where the filter has the escrow, the block's receipts say which logs of it there are; that none was
left out of these is seen by making the filter from them again. So no log is missed in a block that
was looked at, if its header is the chain's. On a chain whose filters are empty, whatever is in its
blocks, nothing is found this way.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3.exceptions import BlockNotFound, Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.protocol.events import EscrowEvent
from aitbc_coordinator.nodes import Unsuited

BLOOM_BITS = 2048
_WAY_OUT = "name another node in rpc_url; if none tells receipts, set check_logs to false"


class Witness:
    def __init__(self, escrow: Escrow) -> None:
        self._escrow = escrow
        self._eth = escrow.web3.eth
        self._own = bloom([HexBytes(escrow.contract.address)])

    def check(self, first: int, last: int, events: Sequence[EscrowEvent]) -> None:
        """Raises Unsuited unless `events` are all that the blocks of a range have of the escrow."""
        given = {(event.block_number, event.log_index) for event in events}
        for number in range(first, last + 1):
            block = self._eth.get_block(number)
            header = int.from_bytes(HexBytes(block["logsBloom"]), "big")
            if header & self._own != self._own:
                continue
            actual = self._logs(block["hash"], header)
            if actual != {place for place in given if place[0] == number}:
                raise Unsuited(
                    f"the node left out logs of block {number}, which its receipts have",
                    hint="name another node in rpc_url: the follower waits until one gives them",
                )

    def _logs(self, block_hash: Any, header: int) -> set[tuple[int, int]]:
        """Block and index of each log of the escrow in a block, by its receipts."""
        try:
            receipts = self._eth.get_block_receipts(block_hash)
        except (BlockNotFound, Web3RPCError) as error:
            raise Unsuited(
                "the node does not tell the receipts of a block that may have logs of the escrow",
                hint=_WAY_OUT,
            ) from error
        logs = [log for receipt in receipts for log in receipt["logs"]]
        if bloom(_topics(logs)) != header:
            raise Unsuited("the node left logs out of a block's receipts", hint=_WAY_OUT)
        return {
            (log["blockNumber"], log["logIndex"])
            for log in logs
            if log["address"] == self._escrow.contract.address
        }


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
        yield bytes(HexBytes(log["address"]))
        yield from (bytes(topic) for topic in log["topics"])
