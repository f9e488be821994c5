"""What a chain does to settlements now and then: it takes blocks back, or leaves payers waiting."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from faults.chain import Chain


class Mischief(StrEnum):
    """What the chain of a run does besides mining."""

    NONE = "none"
    REORGS = "reorgs"
    """Blocks with settlements are replaced, some of them confirmed already."""
    STUCK = "stuck"
    """Settlements wait until they offer more."""


DEPTHS = (1, 3, 1, 3, 1, 3, 1, 3)
"""Of the reorgs, in order; only blocks deeper than the first were followed."""
PAUSE_BLOCKS = 2
"""Between two reorgs, for the coordinator to see each."""
STUCK_TIMES = 2


class Reorgs:
    """Replaces the newest blocks where they settle something and hold nothing of people."""

    def __init__(self, chain: Chain, relayer: str) -> None:
        self._chain = chain
        self._relayer = relayer.lower()
        self._depths = list(DEPTHS)
        self._quiet_until = 0

    def __call__(self) -> None:
        head = int(self._chain.web3.eth.block_number)
        if not self._depths or head < self._quiet_until:
            return
        depth = self._depths[0]
        senders = [self._senders(head - below) for below in range(depth)]
        if self._relayer in senders[0] and not set().union(*senders) - {self._relayer}:
            self._chain.reorganise(depth)
            self._depths.pop(0)
            self._quiet_until = head + PAUSE_BLOCKS

    def _senders(self, number: int) -> set[str]:
        receipts = self._chain.call("eth_getBlockReceipts", hex(number))
        return {str(receipt["from"]).lower() for receipt in receipts}


class Stuck:
    """Asks for more than waiting settlements offer, until each was replaced."""

    def __init__(self, chain: Chain, relayer: str) -> None:
        self._chain = chain
        self._relayer = relayer.lower()
        self._times = STUCK_TIMES
        self._waiting: dict[str, str] = {}
        """Hashes by nonce, of those that are to be replaced."""

    def __call__(self) -> None:
        pending = self._pending()
        if not self._waiting and self._times:
            self._waiting = {nonce: found["hash"] for nonce, found in pending.items()}
            self._times -= bool(self._waiting)
        held = [
            int(pending[nonce]["maxFeePerGas"], 16)
            for nonce, tx_hash in self._waiting.items()
            if nonce in pending and pending[nonce]["hash"] == tx_hash
        ]
        if held:
            self._chain.call("anvil_setNextBlockBaseFeePerGas", hex(max(held) + 1))
        else:
            self._waiting = {}

    def _pending(self) -> dict[str, Any]:
        pool = self._chain.call("txpool_content")["pending"]
        found: dict[str, Any] = {}
        for sender, transactions in pool.items():
            if sender.lower() == self._relayer:
                found |= transactions
        return found


def begin(mischief: Mischief, chain: Chain, relayer: str) -> None:
    """From now on, before every block."""
    if mischief is Mischief.REORGS:
        chain.before_block = Reorgs(chain, relayer)
    elif mischief is Mischief.STUCK:
        chain.before_block = Stuck(chain, relayer)
