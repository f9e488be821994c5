"""The points at which the process is killed on purpose, to see that nothing is lost by it.

Nothing happens at any of them unless the environment says so when the program starts:
`AITBC_COORDINATOR_KILL_AT=attestation.written:7` kills it, as the kernel does, at the seventh
passage of that point; `AITBC_COORDINATOR_COUNT_POINTS_IN=FILE` writes into a file, as the program
ends, how often each point was passed. `./scripts/faults` uses both.

`….writing` is inside a transaction: everything is written, nothing is committed. `….written` is
behind it: committed, and nobody was told, nor was anything else done.
"""

import atexit
import json
import os
import signal
import threading
from collections import Counter
from enum import StrEnum
from pathlib import Path

from aitbc.errors import InvalidInput
from aitbc_coordinator.settings import ENV_PREFIX

KILL_AT = ENV_PREFIX + "KILL_AT"
COUNT_POINTS_IN = ENV_PREFIX + "COUNT_POINTS_IN"


class FaultPoint(StrEnum):
    """A place in the code, and what has happened there."""

    MIGRATION_STATEMENT = "migration.statement"
    """A statement of a revision was executed; the revision goes on."""
    MIGRATION_REVISION = "migration.revision"
    """A revision is whole, and recorded in the transaction; the next has not begun."""
    MIGRATION_WRITING = "migration.writing"
    """Every revision is whole; nothing is committed."""
    MIGRATION_WRITTEN = "migration.written"
    """The schema is committed; nothing is served yet."""

    GROUP_WRITING = "group.writing"
    """Units of work are done in one transaction; nothing is committed."""
    GROUP_WRITTEN = "group.written"
    """They are committed; none of those that wait was told."""

    LISTING_WRITING = "listing.writing"
    """A GPU's first listing, in its transaction."""
    LISTING_WRITTEN = "listing.written"
    """It is committed; its provider has no answer."""
    UPDATE_WRITING = "update.writing"
    """A GPU's next listing, in its transaction."""
    UPDATE_WRITTEN = "update.written"
    """It is committed; its provider has no answer."""
    UNLISTING_WRITING = "unlisting.writing"
    """A GPU was taken off the market, in the transaction."""
    UNLISTING_WRITTEN = "unlisting.written"
    """It is committed; its provider has no answer."""
    QUOTE_WRITING = "quote.writing"
    """Quotes and their holds, in their transaction."""
    QUOTE_WRITTEN = "quote.written"
    """The GPUs are held; the buyer has no answer."""
    SESSION_WRITING = "session.writing"
    """A session key's grant, in its transaction."""
    SESSION_WRITTEN = "session.written"
    """It is committed; its provider has no answer."""
    PRESENCE_WRITING = "presence.writing"
    """A machine was heard, in the transaction."""
    PRESENCE_WRITTEN = "presence.written"
    """It is committed; the machine has no answer."""
    HEARTBEAT_WRITING = "heartbeat.writing"
    """A heartbeat and the receipt for it, in their transaction."""
    HEARTBEAT_WRITTEN = "heartbeat.written"
    """The meter has moved; the machine has no answer and no receipt."""
    HOUR_WRITING = "hour.writing"
    """The market's hour in every region, in its transaction."""
    HOUR_WRITTEN = "hour.written"
    """It is committed."""

    FUNDING_WRITING = "funding.writing"
    """A buyer's signed payment was accepted, in the transaction."""
    FUNDING_WRITTEN = "funding.written"
    """It is committed; the buyer has no answer, and nothing was sent."""
    RELAY_WRITING = "relay.writing"
    """The signed transaction that carries it, in the database's transaction."""
    RELAY_WRITTEN = "relay.written"
    """It is persisted, and was not broadcast."""

    FOLLOWER_READ = "follower.read"
    """A range of blocks was read from the node; nothing of it is stored."""
    FOLLOWER_WRITING = "follower.writing"
    """Its events are applied and the cursor has moved, in the transaction."""
    FOLLOWER_WRITTEN = "follower.written"
    """They are committed."""
    REWIND_WRITING = "rewind.writing"
    """What a reorg took back is taken back, in the transaction."""
    REWIND_WRITTEN = "rewind.written"
    """It is committed; nothing was read anew."""

    ATTESTATION_WRITING = "attestation.writing"
    """A signed completion or claim, in the transaction."""
    ATTESTATION_WRITTEN = "attestation.written"
    """It is committed, and in no batch."""
    RECONCILE_WRITING = "reconcile.writing"
    """What is closed is ticked off and what was spent in vain is free, in the transaction."""
    RECONCILE_WRITTEN = "reconcile.written"
    """It is committed."""
    BATCH_WRITING = "batch.writing"
    """A batch's signed transaction has its attestations, in the database's transaction."""
    BATCH_WRITTEN = "batch.written"
    """It is persisted, and was not broadcast."""

    BROADCAST_TAKEN = "broadcast.taken"
    """The node has a transaction; that is recorded nowhere."""
    BROADCAST_WRITTEN = "broadcast.written"
    """It is recorded as sent."""
    MINED_SEEN = "mined.seen"
    """The node has the receipt of a transaction, or one of another block; nothing is recorded."""
    MINED_WRITING = "mined.writing"
    """It is recorded as mined, final or failed, in the transaction."""
    MINED_WRITTEN = "mined.written"
    """It is committed."""
    UNMINED_WRITING = "unmined.writing"
    """A transaction that is in no block any more is to be sent again, in the transaction."""
    UNMINED_WRITTEN = "unmined.written"
    """It is committed; nothing was sent."""
    REPLACEMENT_WRITING = "replacement.writing"
    """A dearer signed transaction of the same nonce, in the database's transaction."""
    REPLACEMENT_WRITTEN = "replacement.written"
    """It is persisted, and was not broadcast."""

    WEBHOOK_TAKEN = "webhook.taken"
    """The receiver has a message; that is recorded nowhere."""


class _Watch:
    """Counts passages, and kills the process at the one that was asked for."""

    def __init__(self, kill_at: str | None, count_in: str | None) -> None:
        """Raises InvalidInput for what names no passage of a point."""
        name, _, number = (kill_at or "").partition(":")
        if kill_at and (name not in set(FaultPoint) or not number.isdecimal()):
            raise InvalidInput(
                f"{KILL_AT} is '{kill_at}', which is no POINT:NUMBER",
                hint=f"points: {', '.join(FaultPoint)}",
            )
        self._last = (FaultPoint(name), int(number)) if kill_at else None
        self._counts: Counter[FaultPoint] = Counter()
        self._lock = threading.Lock()
        if count_in:
            atexit.register(self._write, Path(count_in))

    def passed(self, point: FaultPoint) -> None:
        with self._lock:
            self._counts[point] += 1
            if (point, self._counts[point]) == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, path: Path) -> None:
        path.write_text(json.dumps(self._counts), encoding="utf-8")


def _watch() -> _Watch | None:
    kill_at, count_in = os.environ.get(KILL_AT), os.environ.get(COUNT_POINTS_IN)
    return _Watch(kill_at, count_in) if kill_at or count_in else None


_WATCH = _watch()


def reach(point: FaultPoint) -> None:
    """A point is passed: nothing happens, unless the environment asked for it."""
    if _WATCH is not None:
        _WATCH.passed(point)
