"""Follows the escrow's events into the database, some blocks behind the chain's head.

Each range of blocks is one transaction with the cursor written last, so that a process killed
anywhere goes on where it stood. Before each step the cursor's block is compared with the chain's;
where a reorg replaced it, everything above the last common block is taken back and read anew. What
was final is kept with the cursor: where that was replaced, the follower stops, and so does the
settler, since what was paid by it may not have been.

A node may leave out logs without a word. Of the newest blocks each is compared with its header
(`witness`). A longer range is compared with what another endpoint gives, and where they differ it
is read in short ones; with a single endpoint, a long range rests on that one's word. What was left
out there is found with the next event of its booking.
"""

from functools import partial
from typing import NamedTuple

import structlog
from hexbytes import HexBytes
from sqlmodel import Session
from web3.exceptions import BlockNotFound
from web3.types import BlockIdentifier

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NODE_FAILURES, NodeFailed, node_call
from aitbc.errors import ChainError
from aitbc.protocol.events import BookingEvent, EscrowEvent, Funded
from aitbc_coordinator import nodes
from aitbc_coordinator.cursor import ChainCursor
from aitbc_coordinator.database import Transactions
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.nodes import Unsuited
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement import projection, repository
from aitbc_coordinator.settlement.finality import Finality
from aitbc_coordinator.settlement.witness import Witness
from aitbc_coordinator.webhooks import news

FIRST_CHUNK = 500
CHECKED_BLOCKS = 64
"""Ranges of up to so many blocks are compared with the headers of their blocks."""
LARGEST_CHUNK = 10_000
BEFORE_GENESIS = -1
KEPT_BLOCKS = 100_000
"""Hashes of older blocks are forgotten: no reorg reaches there."""

_log = structlog.get_logger(__name__)


class Replaced(Unsuited):
    """A reorg reaches below what was final, or the node is on a fork of its own."""


class Block(NamedTuple):
    number: int
    hash: str
    timestamp: int
    base_fee: int


class Follower:
    """One escrow's follower. `step` is safe to call from one thread at a time."""

    def __init__(self, database: Transactions, escrow: Escrow, settings: Settings) -> None:
        self._database = database
        self._escrow = escrow
        self._settings = settings
        self._finality = Finality(escrow.web3, settings)
        self._witness = Witness(escrow) if settings.check_logs else None
        self._deploy_block = settings.deploy_block
        self._chunk = FIRST_CHUNK

    def step(self) -> bool:
        """Follow one range of blocks, or rewind. Returns whether there is more to do at once.

        One endpoint answers all of it. Raises ChainError when the node fails or is behind what was
        followed already, and no other one does better; Replaced when what was final was replaced.
        """
        self._replaced: Replaced | None = None
        try:
            return nodes.consistently(self._escrow.web3, self._step)
        except (ChainError, *NODE_FAILURES):
            if self._replaced is None:
                raise
            self._halt(str(self._replaced))
            raise self._replaced from None

    def _step(self) -> bool:
        with self._database.read() as session:
            cursor = repository.cursor(session)
        target = self._finality.target()
        if cursor is not None and target < cursor.block_number:
            raise Unsuited(
                f"the node's last confirmed block is {target}, "
                f"and block {cursor.block_number} was followed already",
                hint="it is syncing, or was rolled back: waiting for it to catch up",
            )
        first = self._deploy_block if cursor is None else cursor.block_number + 1
        if cursor is None and target < first:
            return False
        # The tip is read before the cursor's block is compared and again after the events were
        # read: unless it changed, all of them are of one chain.
        tip = self._block(max(min(target, first + self._chunk - 1), first - 1))
        if cursor is not None and self._hash_at(cursor.block_number) != cursor.block_hash:
            self._check_final(cursor)
            self._rewind(cursor)
            return True
        if cursor is not None and cursor.halted is not None:
            self._halt(None)
        return tip.number >= first and self._read(cursor, first, tip, target)

    def _read(self, cursor: ChainCursor | None, first: int, tip: Block, target: int) -> bool:
        """Follow the blocks from `first` to `tip`. Returns whether there is more to do at once."""
        events = self._events(first, tip.number)
        if events is None:
            return True
        fundings = self._missed_fundings(events)
        moved = self._cursor_at(tip, cursor)
        if self._hash_at(tip.number) != tip.hash:
            return False
        if not self._is_complete(first, tip, events):
            return True
        reach(FaultPoint.FOLLOWER_READ)
        self._store(cursor, moved, fundings + events)
        return tip.number < target

    def _store(
        self, cursor: ChainCursor | None, moved: ChainCursor, events: list[EscrowEvent]
    ) -> None:
        def work(session: Session) -> None:
            if _position(repository.cursor(session)) != _position(cursor):
                return
            fresh = projection.apply(session, events)
            news.of_events(self._settings, session, fresh)
            repository.prune_blocks(session, moved.block_number - KEPT_BLOCKS)
            repository.move_cursor(session, moved)
            reach(FaultPoint.FOLLOWER_WRITING)

        self._database.transact(work)
        reach(FaultPoint.FOLLOWER_WRITTEN)
        if events:
            _log.info("followed", block=moved.block_number, events=len(events))

    def _is_complete(self, first: int, tip: Block, events: list[EscrowEvent]) -> bool:
        """Whether no log is missing; False, and short ranges next, where others give others.

        Raises Unsuited where this endpoint leaves some out.
        """
        if self._witness is None:
            return True
        if tip.number - first < CHECKED_BLOCKS:
            self._witness.check(first, tip.number, events)
            return True

        def same_range() -> list[EscrowEvent] | None:
            found = self._escrow.events(first, tip.number)
            return found if self._hash_at(tip.number) == tip.hash else None

        others = nodes.elsewhere(self._escrow.web3, same_range)
        if others is None or others == events:
            return True
        self._chunk = CHECKED_BLOCKS
        _log.warning("nodes differ", first=first, last=tip.number)
        return False

    def _check_final(self, cursor: ChainCursor) -> None:
        """Raises Replaced where the chain has another block where one was final."""
        number = cursor.final_number
        if number is None or self._hash_at(number) == cursor.final_hash:
            return
        self._replaced = Replaced(
            f"block {number} was final, and the node has another one there",
            hint="compare it with other nodes: if this one is wrong, name another in rpc_url; if "
            "the chain was rolled back, stop every coordinator and run 'aitbc-coordinator rebuild'",
        )
        raise self._replaced

    def _halt(self, reason: str | None) -> None:
        """Persisted, so that nobody settles on a projection that is known to be wrong."""
        self._database.transact(partial(repository.halt, reason=reason))
        if reason is None:
            _log.warning("goes on: what was final is there again")
        else:
            _log.error("stopped", reason=reason)

    def _rewind(self, cursor: ChainCursor) -> None:
        ancestor = self._common_ancestor(cursor.block_number)
        moved = None if ancestor is None else self._cursor_at(ancestor, cursor)

        def work(session: Session) -> None:
            if _position(repository.cursor(session)) != _position(cursor):
                return
            if moved is None:
                projection.rewind(session, BEFORE_GENESIS)
                repository.forget_cursor(session)
            else:
                projection.rewind(session, moved.block_number)
                repository.move_cursor(session, moved)
            reach(FaultPoint.REWIND_WRITING)

        self._database.transact(work)
        reach(FaultPoint.REWIND_WRITTEN)
        back_to = None if moved is None else moved.block_number
        _log.warning("reorg", was_at=cursor.block_number, rewound_to=back_to)

    def _common_ancestor(self, number: int) -> Block | None:
        """The highest followed block below `number` that the chain still has."""
        with self._database.read() as session:
            known = repository.block_before(session, number)
            while known is not None:
                actual = self._block(known.number)
                if actual.hash == known.hash:
                    return actual
                known = repository.block_before(session, known.number)
        return None

    def _events(self, first: int, last: int) -> list[EscrowEvent] | None:
        """The events of a range; None, and a smaller range next, where the node fails on it."""
        try:
            events = self._escrow.events(first, last)
        except NODE_FAILURES as error:
            if first == last:
                raise Unsuited(f"the node fails to give the logs of block {first}") from error
            self._chunk = (last - first + 1) // 2
            if isinstance(error, NodeFailed):
                raise
            _log.warning("range refused", first=first, last=last, reason=type(error).__name__)
            return None
        self._chunk = min(LARGEST_CHUNK, self._chunk + max(1, self._chunk // 10))
        return events

    def _missed_fundings(self, events: list[EscrowEvent]) -> list[EscrowEvent]:
        """The fundings behind events of bookings that are unknown here.

        A node behind a load balancer may have answered for blocks whose logs it did not have yet.
        """
        funded = {event.booking_id for event in events if isinstance(event, Funded)}
        others = {event.booking_id for event in events if isinstance(event, BookingEvent)} - funded
        with self._database.read() as session:
            orphans = sorted(others - repository.known_bookings(session, others).keys())
        found: list[EscrowEvent] = []
        for booking_id in orphans:
            with node_call(
                f"the funding of booking {booking_id} was looked up",
                hint="follow through a node that gives logs by topic over the whole chain",
            ):
                funding = self._escrow.funded_event(booking_id, self._deploy_block)
            if funding is not None:
                _log.warning("funding had been missed", booking=booking_id)
                found.append(funding)
        return found

    def _hash_at(self, number: int) -> str | None:
        try:
            return self._block(number).hash
        except BlockNotFound:
            return None

    def _block(self, number: BlockIdentifier) -> Block:
        block = self._escrow.web3.eth.get_block(number)
        return Block(
            number=block["number"],
            hash=HexBytes(block["hash"]).to_0x_hex(),
            timestamp=block["timestamp"],
            # Missing from blocks of before EIP-1559.
            base_fee=block.get("baseFeePerGas", 0),
        )

    def _cursor_at(self, block: Block, before: ChainCursor | None) -> ChainCursor:
        number, known = self._final_at(block, before)
        return ChainCursor(
            id=1,
            final_number=number,
            final_hash=known,
            block_number=block.number,
            block_hash=block.hash,
            block_timestamp=block.timestamp,
            gas_price=block.base_fee + self._escrow.web3.eth.max_priority_fee,
        )

    def _final_at(
        self, block: Block, before: ChainCursor | None
    ) -> tuple[int, str] | tuple[None, None]:
        """The block that is final once `block` is followed: none below one that was already."""
        number = self._finality.final(block.number)
        if before is not None and number <= (before.final_number or BEFORE_GENESIS):
            number, known = before.final_number or BEFORE_GENESIS, before.final_hash
            return (None, None) if known is None else (number, known)
        if number < self._deploy_block:
            return None, None
        return number, block.hash if number == block.number else self._block(number).hash


def _position(cursor: ChainCursor | None) -> tuple[int, str] | None:
    return None if cursor is None else (cursor.block_number, cursor.block_hash)
