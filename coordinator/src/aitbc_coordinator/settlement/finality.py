"""Up to which block the chain is followed, and which followed blocks may not change any more."""

from typing import Literal

from web3 import Web3
from web3.exceptions import BlockNotFound, Web3RPCError

from aitbc_coordinator.nodes import Unsuited
from aitbc_coordinator.settings import Settings

Tag = Literal["safe", "finalized"]


class Finality:
    """By the setting `finality`.

    With `confirmations`, a block is followed when so many are on top of it, and final when
    `finality_blocks` more are. With `safe` or `finalized`, blocks are followed up to the node's
    block of that tag, and final up to `finalized`.
    """

    def __init__(self, web3: Web3, settings: Settings) -> None:
        self._eth = web3.eth
        self._settings = settings

    def target(self) -> int:
        """The highest block to follow. Raises Unsuited where the node does not know its tag."""
        tag = self._settings.finality
        if tag == "confirmations":
            return int(self._eth.block_number) - self._settings.confirmations
        return self._tagged(tag)

    def final(self, followed: int) -> int:
        """The highest block that is final when one is followed up to `followed`."""
        if self._settings.finality == "confirmations":
            return followed - self._settings.finality_blocks
        return min(followed, self._tagged("finalized"))

    def _tagged(self, tag: Tag) -> int:
        try:
            return int(self._eth.get_block(tag)["number"])
        except (BlockNotFound, Web3RPCError) as error:
            raise Unsuited(
                f"the node does not say which block is {tag}",
                hint="follow through another node, or set finality to confirmations",
            ) from error
