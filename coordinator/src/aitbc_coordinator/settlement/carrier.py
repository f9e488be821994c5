"""Carries persisted transactions to the chain, whoever signed them. It signs nothing itself.

A transaction is broadcast again, the same bytes, until it is mined. Every method looks at the
database and the chain, makes them agree a step further, and can be repeated or cut short anywhere.
"""

from collections.abc import Collection
from typing import NamedTuple

import structlog
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound, Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NodeFailed, ask, number
from aitbc.errors import ChainError
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import outbox, repository, transactions
from aitbc_coordinator.settlement.calls import says
from aitbc_coordinator.settlement.models import RelayState, RelayTransaction
from aitbc_coordinator.settlement.transactions import Group

MAX_REFUSALS = 10
"""After so many refusals in passes ever further apart, a transaction is given up."""

_TAKEN = ("already", "nonce too low", "underpriced", "less than block base fee")
"""Refusals that count as sent: the node has it, had it, or wants the better price that being stuck
brings."""
_PASSING = ("insufficient funds", "pool is full", "rate limit", "too many requests")
"""Refusals that are not about the transaction: the same one will be taken later."""

_log = structlog.get_logger(__name__)


class Refusal(NamedTuple):
    """Why a node does not take a transaction; `passes` where it may take the same one later."""

    error: ChainError
    passes: bool


class Mined(NamedTuple):
    """What of a transaction's receipt counts."""

    block: int
    succeeded: bool
    gas: int


class Carrier:
    """Needs no key: what a relayer signed is carried on when its key is gone."""

    def __init__(self, context: Context, escrow: Escrow) -> None:
        self._database = context.database
        self._web3 = escrow.web3
        self._eth = escrow.web3.eth
        self._metrics = context.metrics

    def observe(self) -> None:
        """Record which transactions were mined, which were un-mined, and which are final.

        Final means: in a block that the follower has indexed, so that the events of the bookings
        that it closed are in the database already.
        """
        with self._database.read() as session:
            cursor = repository.cursor(session)
            groups = transactions.live(session)
        followed = -1 if cursor is None else cursor.block_number
        for group in groups:
            self._observe(group, followed)

    def broadcast(self, but_of: Collection[str] = ()) -> dict[str, ChainError]:
        """Send what is signed and not in a block, again where the node has forgotten it.

        Nothing `but_of` some senders. Returns, by sender, what the node refused: it is kept, and
        sent again by the next pass, until it was refused too often.
        """
        with self._database.read() as session:
            groups = transactions.pending(session)
        refused: dict[str, ChainError] = {}
        for group in groups:
            newest = group[-1]
            if newest.sender in but_of:
                continue
            if newest.state == RelayState.SENT and self._is_known(newest):
                continue
            refusal = self._send(newest)
            if refusal is not None:
                refused.setdefault(newest.sender, refusal.error)
                # Where another one of its nonce was taken, that one may still be mined.
                if len(group) == 1 and not refusal.passes:
                    self._count_refusal(newest)
                continue
            reach(FaultPoint.BROADCAST_TAKEN)
            head = int(self._eth.block_number)
            with self._database.session() as session:
                transactions.mark_sent(session, newest, head)
            reach(FaultPoint.BROADCAST_WRITTEN)
        return refused

    def _observe(self, group: Group, followed: int) -> None:
        for transaction in group:
            receipt = self._receipt(transaction.tx_hash)
            if receipt is not None:
                self._record_mined(group, transaction, receipt, followed)
                return
        sender, nonce = group[0].sender, group[0].nonce
        if any(transaction.state == RelayState.MINED for transaction in group):
            with self._database.session() as session:
                transactions.unmine(session, group)
                reach(FaultPoint.UNMINED_WRITING)
            reach(FaultPoint.UNMINED_WRITTEN)
            _log.warning("settlement un-mined", sender=sender, nonce=nonce)
        elif followed >= 0 and self._confirmed_nonce(sender, followed) > nonce:
            with self._database.session() as session:
                transactions.set_state(session, group, RelayState.FAILED)
            _log.error("nonce used by another program", sender=sender, nonce=nonce)

    def _record_mined(
        self, group: Group, mined: RelayTransaction, receipt: Mined, followed: int
    ) -> None:
        block, state = receipt.block, RelayState.MINED
        if block <= followed:
            state = RelayState.FINAL if receipt.succeeded else RelayState.FAILED
        if mined.state == state and mined.mined_block == block:
            return
        reach(FaultPoint.MINED_SEEN)
        others = [other for other in group if other.id != mined.id]
        with self._database.session() as session:
            transactions.set_state(session, others, RelayState.REPLACED)
            transactions.set_state(session, [mined], state, mined_block=block)
            reach(FaultPoint.MINED_WRITING)
        reach(FaultPoint.MINED_WRITTEN)
        _log.info("settlement", state=state.value, tx_hash=mined.tx_hash, block=block)
        if state == RelayState.FINAL:
            self._measure(mined.batch_id, receipt.gas)

    def _measure(self, batch_id: str, gas: int) -> None:
        with self._database.read() as session:
            now = chain_time(session)
            ends = outbox.ends_of_batch(session, batch_id)
        self._metrics.settled([max(0, now - end) for end in ends], gas)

    def _count_refusal(self, transaction: RelayTransaction) -> None:
        with self._database.session() as session:
            transactions.count_refusal(session, transaction)
            if transaction.refusals + 1 < MAX_REFUSALS:
                return
            # What waits behind its nonce is freed by the next pass, and not for its own fault.
            outbox.give_up(session, transaction.batch_id)
            transactions.give_up(session, transaction)
        _log.error("settlement given up", tx_hash=transaction.tx_hash, nonce=transaction.nonce)

    def _send(self, transaction: RelayTransaction) -> Refusal | None:
        """Broadcast; return why the node refuses it, or None when it has it (or had it)."""
        try:
            self._eth.send_raw_transaction(HexBytes(transaction.raw))
        except Web3RPCError as error:
            if says(error, _TAKEN):
                return None
            refused = ChainError(
                f"the node refuses transaction {transaction.tx_hash}: {error.message}"
            )
            if says(error, ("insufficient funds",)):
                refused = too_little_coin(transaction.sender)
            return Refusal(refused, passes=says(error, _PASSING))
        _log.info("settlement sent", tx_hash=transaction.tx_hash, nonce=transaction.nonce)
        return None

    def _receipt(self, tx_hash: str) -> Mined | None:
        answer = ask(self._web3, "eth_getTransactionReceipt", tx_hash)
        if not answer:
            return None
        if not isinstance(answer, dict):
            raise NodeFailed("its receipt is none")
        block, status, gas = (answer.get(name) for name in ("blockNumber", "status", "gasUsed"))
        return None if block is None else Mined(number(block), number(status) == 1, number(gas))

    def _is_known(self, transaction: RelayTransaction) -> bool:
        try:
            self._eth.get_transaction(HexBytes(transaction.tx_hash))
        except TransactionNotFound:
            return False
        return True

    def _confirmed_nonce(self, sender: str, block: int) -> int:
        return int(self._eth.get_transaction_count(Web3.to_checksum_address(sender), block))


def too_little_coin(relayer: str) -> ChainError:
    return ChainError(
        f"the relayer {relayer} has too little coin for gas",
        hint="send it some of the chain's coin",
    )
