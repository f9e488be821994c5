"""Carries signed batches to the chain: one sender, each nonce owned by one batch.

A transaction is persisted before it is broadcast, and is broadcast again, the same bytes, until it
is mined. Every method looks at the database and the chain, makes them agree a step further, and
can be repeated or cut short anywhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

import structlog
from hexbytes import HexBytes
from sqlmodel import Session
from web3.exceptions import ContractCustomError, TransactionNotFound, Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NodeFailed, ask, number
from aitbc.chain.transactions import GAS_MARGIN_PERCENT, explain_revert
from aitbc.errors import ChainError
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import funding_rows, outbox, repository
from aitbc_coordinator.settlement.models import PENDING_STATES, RelayState, RelayTransaction
from aitbc_coordinator.signers.protocols import TransactionSigner

MAX_IN_FLIGHT = 4
MAX_REFUSALS = 10
"""After so many refusals in passes ever further apart, a transaction is given up."""
STUCK_AFTER_BLOCKS = 6
GAS_LIMIT = 16_000_000
"""Chains refuse a transaction above 16,777,216 gas (EIP-7825)."""
GWEI = 10**9

_TAKEN = ("already", "nonce too low", "underpriced", "less than block base fee")
"""Refusals that count as sent: the node has it, had it, or wants the better price that being stuck
brings."""
_PASSING = ("insufficient funds", "pool is full", "rate limit", "too many requests")
"""Refusals that are not about the transaction: the same one will be taken later."""
_TOO_MUCH_GAS = ("gas required exceeds", "out of gas", "gas limit")
"""How nodes refuse to estimate a call that does not fit into a block."""
_PUSH_LACKS_GAS = "Push_NotEnoughGas"
"""How the escrow itself refuses a call that it is not given enough gas for."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees in wei per unit of gas."""

    max_fee: int
    priority_fee: int

    def bumped(self) -> "Fees":
        """An eighth more of both, rounded up: nodes take no smaller replacement than a tenth.

        A fee of zero becomes one wei.
        """
        max_fee, priority_fee = (
            max(fee + 1, -(-fee * 9 // 8)) for fee in (self.max_fee, self.priority_fee)
        )
        return Fees(max_fee, priority_fee)

    def at_least(self, other: "Fees") -> "Fees":
        return Fees(max(self.max_fee, other.max_fee), max(self.priority_fee, other.priority_fee))


class Refusal(NamedTuple):
    """Why a node does not take a transaction; `passes` where it may take the same one later."""

    reason: str
    passes: bool


class Mined(NamedTuple):
    """What of a transaction's receipt counts."""

    block: int
    succeeded: bool
    gas: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the escrow that is ready to be signed."""

    calldata: str
    gas: int
    fees: Fees
    next_nonce: int
    """The sender's, according to the chain."""

    @property
    def cost_gwei(self) -> int:
        """What it costs at most."""
        return cost_gwei(self.gas, self.fees.max_fee)


def cost_gwei(gas: int, max_fee: int) -> int:
    """What gas costs at most, rounded up; `max_fee` is wei for a unit."""
    return -(-gas * max_fee // GWEI)


class Relayer:
    """Sends as one account. `escrow` is read and called; the account signs transactions only."""

    def __init__(self, context: Context, escrow: Escrow, account: TransactionSigner) -> None:
        self._database = context.database
        self._escrow = escrow
        self._eth = escrow.web3.eth
        self._account = account
        self._ceiling = context.settings.maximum_fee_gwei * GWEI
        self._metrics = context.metrics

    @property
    def address(self) -> str:
        return str(self._account.address)

    def in_flight(self) -> int:
        with self._database.read() as session:
            return len(outbox.live_transactions(session, self.address))

    def prepare(self, calldata: str, ceiling: int | None = None) -> Call | None:
        """Estimate a call of the escrow; None when it needs more gas than one transaction may have.

        Raises web3's ContractLogicError when the call would revert, ChainError when a unit of gas
        costs more than the ceiling (wei): the configured one, or a lower one of this call.
        """
        try:
            estimate = self._eth.estimate_gas(
                {
                    "from": self._account.address,
                    "to": self._escrow.contract.address,
                    "data": HexBytes(calldata),
                }
            )
        except Web3RPCError as error:
            if not _says(error, _TOO_MUCH_GAS):
                raise
            return None
        except ContractCustomError as error:
            if _PUSH_LACKS_GAS not in explain_revert(self._escrow.contract.abi, error):
                raise
            return None
        gas = estimate + estimate * GAS_MARGIN_PERCENT // 100
        if gas > min(GAS_LIMIT, int(self._eth.get_block("latest")["gasLimit"])):
            return None
        return Call(
            calldata=calldata,
            gas=gas,
            fees=self._current_fees(min(ceiling or self._ceiling, self._ceiling)),
            next_nonce=self._eth.get_transaction_count(self._account.address),
        )

    def enqueue(self, session: Session, call: Call) -> str:
        """Give a call the next nonce, sign it and persist it; return its new batch's id."""
        nonce, bump = outbox.free_nonce(session, self.address, call.next_nonce)
        batch_id = uuid4().hex
        row = RelayTransaction(
            batch_id=batch_id,
            sender=self.address,
            nonce=nonce,
            bump=bump,
            tx_hash="",
            raw="",
            calldata=call.calldata,
            state=RelayState.SIGNED,
            # Not the same bytes as one that failed with this nonce.
            gas=call.gas + bump,
            max_fee=call.fees.max_fee,
            priority_fee=call.fees.priority_fee,
        )
        outbox.add_transaction(session, self._signed(row))
        return batch_id

    def observe(self) -> None:
        """Record which transactions were mined, which were un-mined, and which are final.

        Final means: in a block that the follower has indexed, so that the events of the bookings
        that it closed are in the database already.
        """
        with self._database.read() as session:
            cursor = repository.cursor(session)
            groups = outbox.live_transactions(session, self.address)
        followed = -1 if cursor is None else cursor.block_number
        for group in groups:
            self._observe(group, followed)

    def broadcast(self) -> None:
        """Send what is signed and not in a block, again where the node has forgotten it.

        Raises ChainError, when all were tried, if the node refused one: it is kept, and sent
        again by the next pass, until it was refused too often.
        """
        refusals = []
        for group in self._pending():
            newest = group[-1]
            if newest.state == RelayState.SENT and self._is_known(newest):
                continue
            refusal = self._send(newest)
            if refusal is not None:
                refusals.append(refusal.reason)
                # Where another one of its nonce was taken, that one may still be mined.
                if len(group) == 1 and not refusal.passes:
                    self._count_refusal(newest)
                continue
            reach(FaultPoint.BROADCAST_TAKEN)
            head = int(self._eth.block_number)
            with self._database.session() as session:
                outbox.mark_sent(session, newest, head)
            reach(FaultPoint.BROADCAST_WRITTEN)
        if refusals:
            raise ChainError(refusals[0])

    def bump(self) -> None:
        """Sign a dearer replacement for what is stuck: same nonce, same call.

        Raises ChainError, when all were tried, if one would cost more than the ceiling.
        """
        groups = self._pending()
        if not groups:
            return
        head = int(self._eth.block_number)
        too_dear = None
        for group in groups:
            newest = group[-1]
            if newest.sent_block is None or head - newest.sent_block < STUCK_AFTER_BLOCKS:
                continue
            fees = Fees(newest.max_fee, newest.priority_fee).bumped()
            if fees.max_fee > self._ceiling:
                too_dear = newest
                continue
            self._replace(newest, fees)
        if too_dear is not None:
            raise ChainError(
                f"transaction {too_dear.tx_hash} is stuck at the fee ceiling",
                hint="raise maximum_fee_gwei, or wait for gas to become cheaper",
            )

    def _observe(self, group: list[RelayTransaction], followed: int) -> None:
        for transaction in group:
            receipt = self._receipt(transaction.tx_hash)
            if receipt is not None:
                self._record_mined(group, transaction, receipt, followed)
                return
        if any(transaction.state == RelayState.MINED for transaction in group):
            with self._database.session() as session:
                outbox.unmine(session, group)
                reach(FaultPoint.UNMINED_WRITING)
            reach(FaultPoint.UNMINED_WRITTEN)
            _log.warning("settlement un-mined", nonce=group[0].nonce)
        elif followed >= 0 and self._confirmed_nonce(followed) > group[0].nonce:
            with self._database.session() as session:
                outbox.set_state(session, group, RelayState.FAILED)
            _log.error("nonce used by another program", sender=self.address, nonce=group[0].nonce)

    def _record_mined(
        self,
        group: list[RelayTransaction],
        mined: RelayTransaction,
        receipt: Mined,
        followed: int,
    ) -> None:
        block, state = receipt.block, RelayState.MINED
        if block <= followed:
            state = RelayState.FINAL if receipt.succeeded else RelayState.FAILED
        if mined.state == state and mined.mined_block == block:
            return
        reach(FaultPoint.MINED_SEEN)
        others = [other for other in group if other.id != mined.id]
        with self._database.session() as session:
            outbox.set_state(session, others, RelayState.REPLACED)
            outbox.set_state(session, [mined], state, mined_block=block)
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

    def _pending(self) -> list[list[RelayTransaction]]:
        """The transactions of each nonce that has none in a block, the newest last."""
        with self._database.read() as session:
            groups = outbox.live_transactions(session, self.address)
        return [
            group
            for group in groups
            if all(transaction.state in PENDING_STATES for transaction in group)
        ]

    def _count_refusal(self, transaction: RelayTransaction) -> None:
        with self._database.session() as session:
            outbox.count_refusal(session, transaction)
            if transaction.refusals + 1 < MAX_REFUSALS:
                return
            outbox.give_up(session, transaction)
        _log.error("settlement given up", tx_hash=transaction.tx_hash, nonce=transaction.nonce)

    def _send(self, transaction: RelayTransaction) -> Refusal | None:
        """Broadcast; return why the node refuses it, or None when it has it (or had it)."""
        try:
            self._eth.send_raw_transaction(HexBytes(transaction.raw))
        except Web3RPCError as error:
            if _says(error, _TAKEN):
                return None
            reason = f"the node refuses transaction {transaction.tx_hash}: {error.message}"
            if _says(error, ("insufficient funds",)):
                reason = f"the relayer {self.address} has too little coin for gas: send it some"
            return Refusal(reason, passes=_says(error, _PASSING))
        _log.info("settlement sent", tx_hash=transaction.tx_hash, nonce=transaction.nonce)
        return None

    def _replace(self, stuck: RelayTransaction, fees: Fees) -> None:
        current = self._current_fees(self._ceiling)
        fees = fees.at_least(Fees(min(current.max_fee, self._ceiling), current.priority_fee))
        copied = stuck.model_dump(exclude={"id", "state", "sent_block", "mined_block"})
        row = RelayTransaction(**copied, state=RelayState.SIGNED)
        row.bump += 1
        row.max_fee = fees.max_fee
        row.priority_fee = min(fees.priority_fee, fees.max_fee)
        with self._database.session() as session:
            outbox.add_transaction(session, self._signed(row))
            funding_rows.charge(session, row.batch_id, cost_gwei(row.gas, row.max_fee))
            reach(FaultPoint.REPLACEMENT_WRITING)
        reach(FaultPoint.REPLACEMENT_WRITTEN)
        _log.warning("settlement stuck, fee raised", nonce=row.nonce, max_fee=str(row.max_fee))

    def _signed(self, row: RelayTransaction) -> RelayTransaction:
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self._escrow.domain.chain_id,
            "nonce": row.nonce,
            "to": self._escrow.contract.address,
            "value": 0,
            "data": row.calldata,
            "gas": row.gas,
            "maxFeePerGas": row.max_fee,
            "maxPriorityFeePerGas": row.priority_fee,
        }
        signed = self._account.sign_transaction(transaction)
        row.tx_hash = HexBytes(signed.hash).to_0x_hex()
        row.raw = HexBytes(signed.raw_transaction).to_0x_hex()
        return row

    def _current_fees(self, ceiling: int) -> Fees:
        base = int(self._eth.get_block("latest")["baseFeePerGas"])
        tip = int(self._eth.max_priority_fee)
        if base + tip > ceiling:
            raise ChainError(
                f"gas costs {(base + tip) // GWEI} gwei, more than the ceiling",
                hint="raise maximum_fee_gwei, or wait for gas to become cheaper",
            )
        return Fees(min(2 * base + tip, ceiling), tip)

    def _receipt(self, tx_hash: str) -> Mined | None:
        answer = ask(self._escrow.web3, "eth_getTransactionReceipt", tx_hash)
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

    def _confirmed_nonce(self, block: int) -> int:
        return int(self._eth.get_transaction_count(self._account.address, block))


def _says(error: Web3RPCError, words: Iterable[str]) -> bool:
    text = str(error.message).lower()
    return any(word in text for word in words)
