"""The troubles of runs, each as it comes in life: on the chain, and at the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fault_proxy import Fault, FaultProxy

from faults import machine
from faults.chain import FEE, Chain
from faults.mischief import DEEP_CONFIRMATIONS, NODE_FAULTS, Mischief, Scene, Trouble

DEPTHS = (1, 3, 1, 3, 1, 3, 1, 3)
"""Of the reorgs, in order; only blocks deeper than the first were followed."""
DEEP_DEPTHS = (1, DEEP_CONFIRMATIONS - 1, 1, DEEP_CONFIRMATIONS - 1)
PAUSE_BLOCKS = 2
"""Between two reorgs, for the coordinator to see each."""
TIMES = 2
"""So often what has no other end comes."""
NODE_BLOCKS = 6
"""A node fails for so many blocks."""


class Quiet:
    """Nothing happens, as is to be."""

    happened = True

    def __call__(self) -> None: ...


class Reorgs:
    """Replaces the newest blocks where they settle something and hold nothing of people."""

    def __init__(self, chain: Chain, relayer: str, depths: Sequence[int]) -> None:
        self.happened = False
        self._chain = chain
        self._relayer = relayer.lower()
        self._depths = list(depths)
        self._quiet_until = 0

    def __call__(self) -> None:
        head = int(self._chain.web3.eth.block_number)
        if not self._depths or head < self._quiet_until:
            return
        depth = self._depths[0]
        senders = [self._senders(head - below) for below in range(depth)]
        if self._relayer in set().union(*senders) and not set().union(*senders) - {self._relayer}:
            self._chain.reorganise(depth)
            self._depths.pop(0)
            self._quiet_until = head + PAUSE_BLOCKS
            self.happened = True

    def _senders(self, number: int) -> set[str]:
        receipts = self._chain.call("eth_getBlockReceipts", hex(number))
        return {str(receipt["from"]).lower() for receipt in receipts}


class Stuck:
    """Asks for more than waiting settlements offer, until each was replaced."""

    def __init__(self, chain: Chain, relayer: str) -> None:
        self.happened = False
        self._chain = chain
        self._relayer = relayer
        self._times = TIMES
        self._waiting: dict[str, str] = {}
        """Hashes by nonce, of those that are to be replaced."""

    def __call__(self) -> None:
        pending = pending_of(self._chain, self._relayer)
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
            self.happened = True
        else:
            self._waiting = {}


class Dropped:
    """Takes waiting settlements out of the node's pool."""

    def __init__(self, chain: Chain, relayer: str) -> None:
        self.happened = False
        self._chain = chain
        self._relayer = relayer
        self._times = TIMES

    def __call__(self) -> None:
        pending = pending_of(self._chain, self._relayer)
        if not pending or not self._times:
            return
        for found in pending.values():
            self._chain.call("anvil_dropTransaction", found["hash"])
        self._times -= 1
        self.happened = True


class NonceTaken:
    """Sends a transaction of the relayer's, dearer than the settlement with the same nonce."""

    def __init__(self, scene: Scene) -> None:
        self.happened = False
        self._chain = scene.chain
        self._relayer = scene.relayer
        self._times = TIMES

    def __call__(self) -> None:
        pending = pending_of(self._chain, str(self._relayer.address))
        if not pending or not self._times:
            return
        transaction: dict[str, Any] = {
            **FEE,
            "maxPriorityFeePerGas": FEE["maxFeePerGas"],
            "to": self._relayer.address,
            "value": 0,
            "nonce": min(int(nonce) for nonce in pending),
            "chainId": self._chain.chain_id,
        }
        raw = self._relayer.sign_transaction(transaction).raw_transaction
        self._chain.call("eth_sendRawTransaction", "0x" + bytes(raw).hex())
        self._times -= 1
        self.happened = True


class NodeFails:
    """Every node that a coordinator has fails, for some blocks."""

    def __init__(self, proxies: Sequence[FaultProxy], fault: Fault) -> None:
        self._proxies = proxies
        self._fault = fault
        self._blocks = 0

    @property
    def happened(self) -> bool:
        return any(proxy.altered for proxy in self._proxies)

    def __call__(self) -> None:
        self._blocks += 1
        fails = self._blocks <= NODE_BLOCKS
        for proxy in self._proxies:
            proxy.fault = self._fault if fails else Fault.NONE
            if not fails:
                proxy.release()


class FirstNodeFails:
    """The first of several nodes fails as long as it is asked."""

    def __init__(self, proxies: Sequence[FaultProxy]) -> None:
        self._first = proxies[0]

    @property
    def happened(self) -> bool:
        return self._first.altered > 0

    def __call__(self) -> None: ...


def pending_of(chain: Chain, account: str) -> dict[str, Any]:
    """The transactions of an account that wait in the node, by their nonces."""
    pool = chain.call("txpool_content")["pending"]
    found: dict[str, Any] = {}
    for sender, transactions in pool.items():
        if sender.lower() == account.lower():
            found |= transactions
    return found


def prepare(mischief: Mischief, proxies: Sequence[FaultProxy]) -> None:
    """What is so from the beginning."""
    if mischief is Mischief.LOGS_MISSING:
        proxies[0].fault = NODE_FAULTS[mischief]


def begin(mischief: Mischief, scene: Scene) -> Trouble:
    """What comes from now on, before every block."""
    trouble = _trouble(mischief, scene)
    scene.chain.before_block = trouble
    return trouble


def _trouble(mischief: Mischief, scene: Scene) -> Trouble:  # noqa: PLR0911  # one for each
    chain, relayer = scene.chain, str(scene.relayer.address)
    match mischief:
        case Mischief.NONE:
            return Quiet()
        case Mischief.REORGS:
            return Reorgs(chain, relayer, DEPTHS)
        case Mischief.DEEP_REORGS:
            return Reorgs(chain, relayer, DEEP_DEPTHS)
        case Mischief.STUCK:
            return Stuck(chain, relayer)
        case Mischief.DROPPED:
            return Dropped(chain, relayer)
        case Mischief.NONCE_TAKEN:
            return NonceTaken(scene)
        case Mischief.LOGS_MISSING:
            return FirstNodeFails(scene.proxies)
    if mischief in NODE_FAULTS:
        return NodeFails(scene.proxies, NODE_FAULTS[mischief])
    return machine.trouble(mischief, scene)
