"""The keys that send transactions: which of them takes the next one, and what is stuck.

Any number of relayers pay the gas, each with nonces of its own. Whatever is signed is signed
outside the database's transactions, which then look whether it is still so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import structlog
from hexbytes import HexBytes
from sqlmodel import Session
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.errors import AitbcError, ChainError
from aitbc_coordinator.context import Context
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.settlement import calls, funding_rows, transactions
from aitbc_coordinator.settlement.calls import CEILING_HINT, GWEI, Call, Fees
from aitbc_coordinator.settlement.carrier import too_little_coin
from aitbc_coordinator.settlement.models import RelayState, RelayTransaction
from aitbc_coordinator.settlement.transactions import NOTHING, Group
from aitbc_coordinator.signers.protocols import SignerError, TransactionSigner

MAX_IN_FLIGHT = 4
"""Of each relayer."""
STUCK_AFTER_BLOCKS = 6

_log = structlog.get_logger(__name__)


class _Outdated(Exception):
    """What was signed is not so any more."""


class Relayers:
    """Signs transactions as several accounts. `escrow` is read and called."""

    def __init__(
        self, context: Context, escrow: Escrow, accounts: Sequence[TransactionSigner]
    ) -> None:
        """There is at least one account, and of several the first is preferred."""
        self._database = context.database
        self._escrow = escrow
        self._eth = escrow.web3.eth
        self._accounts = {str(account.address): account for account in accounts}
        self._ceiling = context.settings.maximum_fee_gwei * GWEI
        self._troubles: dict[str, AitbcError] = {}
        """By sender, what keeps it from sending, until it is seen to be mended."""
        self._passed_over: set[str] = set()
        """Senders that are given nothing new in this pass."""
        self._lacks: dict[str, int] = {}
        """Wei that those did not have who were to pay it."""

    def prepare(self, calldata: str, ceiling: int | None = None) -> Call | None:
        """See `calls.prepare`; the ceiling (wei) is the configured one, or a lower one given."""
        sender, limit = next(iter(self._accounts)), self._ceiling
        return calls.prepare(self._escrow, sender, calldata, min(ceiling or limit, limit))

    def can_pay(self, call: Call) -> bool:
        """Whether any of them has the coin."""
        return any(self._balance(address) >= call.cost for address in self._accounts)

    def room(self) -> int:
        """How many more transactions may be under way now."""
        with self._database.read() as session:
            loads = transactions.loads(session)
        return sum(
            max(0, MAX_IN_FLIGHT - loads.get(address, NOTHING).nonces)
            for address in self._accounts
            if address not in self._passed_over
        )

    def sign(self, call: Call) -> RelayTransaction | None:
        """A call as the next transaction of one of them: of that with the fewest under way.

        Nothing is persisted. None where nobody can take it now: `require_one` says why.
        """
        with self._database.read() as session:
            loads = transactions.loads(session)
        found = {address: loads.get(address, NOTHING) for address in self._accounts}
        for address in sorted(found, key=lambda address: found[address].nonces):
            load = found[address]
            if address in self._passed_over or load.nonces >= MAX_IN_FLIGHT:
                continue
            try:
                return self._first(address, call, load.cost)
            except AitbcError as error:
                self._fail(address, error)
        return None

    def persist(self, signed: RelayTransaction, take: Callable[[Session], bool]) -> bool:
        """Persist what was signed, with what it carries; nothing of both where it is outdated.

        That is when its nonce has got another owner, or `take` returns False: what it was to carry
        is not so any more. Returns whether it is persisted.
        """

        def work(session: Session) -> None:
            if not (transactions.add(session, signed) and take(session)):
                raise _Outdated

        try:
            self._database.transact(work)
        except _Outdated:
            _log.warning("signed in vain", sender=signed.sender, nonce=signed.nonce)
            return False
        return True

    def bump(self) -> None:
        """Sign a dearer replacement for what is stuck: same nonce, same call.

        A pass begins with it: whose transaction is stuck is given nothing new.
        """
        self._passed_over = set()
        self._troubles = {
            address: error for address, error in self._troubles.items() if self._lasts(address)
        }
        with self._database.read() as session:
            groups = transactions.pending(session)
        if not groups:
            return
        head = int(self._eth.block_number)
        for group in groups:
            newest = group[-1]
            if head - _first_sent(group, head) < STUCK_AFTER_BLOCKS:
                continue
            self._passed_over.add(newest.sender)
            if newest.sent_block is None or head - newest.sent_block < STUCK_AFTER_BLOCKS:
                continue
            try:
                self._replace(newest)
            except AitbcError as error:
                self._fail(newest.sender, error)

    def pass_over(self, refused: Mapping[str, AitbcError]) -> None:
        """Give nothing new to senders whose transactions the node refuses."""
        for sender, error in refused.items():
            self._fail(sender, error)

    def require_one(self) -> None:
        """Raises what is wrong with the first of them, if something is with each in this pass."""
        found = [self._troubles.get(address) for address in self._accounts]
        if found[0] is not None and None not in found and self._passed_over >= set(self._accounts):
            raise found[0]

    def troubles(self) -> Mapping[str, AitbcError]:
        """By sender, what needs a person, while the others go on."""
        return dict(self._troubles)

    def _fail(self, sender: str, error: AitbcError) -> None:
        self._troubles[sender] = error
        self._passed_over.add(sender)

    def _lasts(self, address: str) -> bool:
        """Whether a trouble stays until it is seen to be mended. Others are found anew."""
        if address in self._lacks:
            return self._balance(address) < self._lacks[address]
        return isinstance(self._troubles[address], SignerError)

    def _first(self, address: str, call: Call, pending_cost: int) -> RelayTransaction:
        """The first transaction of a new batch. Raises ChainError and SignerError."""
        self._lacks.pop(address, None)
        if self._balance(address) < pending_cost + call.cost:
            self._lacks[address] = call.cost
            raise too_little_coin(address)
        used = self._eth.get_transaction_count(Web3.to_checksum_address(address))
        with self._database.read() as session:
            nonce, bump = transactions.free_nonce(session, address, used)
        signed = self._signed(
            RelayTransaction(
                batch_id=uuid4().hex,
                sender=address,
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
        )
        self._troubles.pop(address, None)
        return signed

    def _replace(self, stuck: RelayTransaction) -> None:
        """Raises ChainError, also where the key is not here any more, and SignerError."""
        if stuck.sender not in self._accounts:
            raise ChainError(
                f"transaction {stuck.tx_hash} is stuck, and the key of the relayer {stuck.sender} "
                "is not here to raise its fee",
                hint="put the key back and restart, until nothing of it is under way",
            )
        fees = Fees(stuck.max_fee, stuck.priority_fee).bumped()
        if fees.max_fee > self._ceiling:
            raise ChainError(
                f"transaction {stuck.tx_hash} is stuck at the fee ceiling", hint=CEILING_HINT
            )
        current = calls.current_fees(self._escrow, self._ceiling)
        fees = fees.at_least(Fees(min(current.max_fee, self._ceiling), current.priority_fee))
        copied = stuck.model_dump(exclude={"id", "state", "sent_block", "mined_block"})
        row = RelayTransaction(**copied, state=RelayState.SIGNED)
        row.bump += 1
        row.max_fee = fees.max_fee
        row.priority_fee = min(fees.priority_fee, fees.max_fee)
        signed = self._signed(row)

        def work(session: Session) -> bool:
            if not transactions.replace(session, stuck, signed):
                return False
            cost = calls.in_gwei(signed.gas * signed.max_fee)
            funding_rows.charge(session, signed.batch_id, cost)
            reach(FaultPoint.REPLACEMENT_WRITING)
            return True

        if self._database.transact(work):
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
        signed = self._accounts[row.sender].sign_transaction(transaction)
        row.tx_hash = HexBytes(signed.hash).to_0x_hex()
        row.raw = HexBytes(signed.raw_transaction).to_0x_hex()
        return row

    def _balance(self, address: str) -> int:
        return int(self._eth.get_balance(Web3.to_checksum_address(address)))


def _first_sent(group: Group, otherwise: int) -> int:
    """The block in which a node first took any of a group."""
    sent = [found.sent_block for found in group if found.sent_block is not None]
    return min(sent, default=otherwise)
