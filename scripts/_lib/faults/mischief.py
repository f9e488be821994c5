"""What goes wrong around a coordinator in a run, besides that it is killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from eth_account.signers.local import LocalAccount
from fault_proxy import Fault, FaultProxy

from faults.chain import Chain
from faults.clock import Clock
from faults.databases import Store
from faults.supervisor import Supervisor


class Mischief(StrEnum):
    """What a run has to bear."""

    NONE = "none"

    REORGS = "reorgs"
    """Blocks with settlements are replaced, some of them confirmed already."""
    DEEP_REORGS = "deep-reorgs"
    """Blocks are replaced up to one less than what confirms them."""
    STUCK = "stuck"
    """Settlements wait until they offer more."""
    DROPPED = "dropped"
    """The node forgets settlements that it had taken."""
    NONCE_TAKEN = "nonce-taken"
    """Somebody else sends a transaction with the relayer's key."""

    NODE_REFUSES = "node-refuses"
    NODE_HANGS = "node-hangs"
    NODE_IS_SLOW = "node-is-slow"
    NODE_BREAKS_OFF = "node-breaks-off"
    NODE_ANSWERS_NONSENSE = "node-answers-nonsense"
    NODE_LIMITS = "node-limits"
    """Status 429."""
    NODE_GOES_BACK = "node-goes-back"
    """Its head is one of some blocks ago."""
    LOGS_MISSING = "logs-missing"
    """The first of two nodes gives no log at all, from the beginning to the end."""

    DATABASE_RESTARTS = "database-restarts"
    DEAD_LOCKS = "dead-locks"
    """Somebody locks rows by hand, in another order."""
    DATABASE_HANGS = "database-hangs"
    DISK_FULL = "disk-full"

    CLOCK_BEHIND = "clock-behind"
    """The machine's clock is some minutes off for a while."""
    CLOCK_AHEAD = "clock-ahead"


NODE_FAULTS = {
    Mischief.NODE_REFUSES: Fault.REFUSED,
    Mischief.NODE_HANGS: Fault.HANGING,
    Mischief.NODE_IS_SLOW: Fault.SLOW,
    Mischief.NODE_BREAKS_OFF: Fault.TRUNCATED,
    Mischief.NODE_ANSWERS_NONSENSE: Fault.MALFORMED,
    Mischief.NODE_LIMITS: Fault.LIMITED,
    Mischief.NODE_GOES_BACK: Fault.BEHIND,
    Mischief.LOGS_MISSING: Fault.NO_LOGS,
}
KINDS = ("sqlite", "postgresql")
DEEP_CONFIRMATIONS = 6


@dataclass(frozen=True)
class Needs:
    """What a run must be made of."""

    databases: tuple[str, ...] = KINDS
    proxies: int = 0
    """Nodes that may fail, in front of the one node."""
    own_server: bool = False
    """A database server, if any, that no other run uses."""
    own_clock: bool = False
    """A clock of the coordinator's own."""
    settings: Mapping[str, str] = field(default_factory=dict)


_NEEDS = {
    Mischief.DEEP_REORGS: Needs(settings={"confirmations": str(DEEP_CONFIRMATIONS)}),
    Mischief.DATABASE_RESTARTS: Needs(databases=("postgresql",), own_server=True),
    Mischief.DEAD_LOCKS: Needs(databases=("postgresql",)),
    **dict.fromkeys((Mischief.DATABASE_HANGS, Mischief.DISK_FULL), Needs(own_server=True)),
    **dict.fromkeys((Mischief.CLOCK_BEHIND, Mischief.CLOCK_AHEAD), Needs(own_clock=True)),
    **dict.fromkeys(NODE_FAULTS, Needs(proxies=1)),
    Mischief.LOGS_MISSING: Needs(proxies=2),
}


def needs_of(mischief: Mischief) -> Needs:
    return _NEEDS.get(mischief, Needs())


@dataclass(frozen=True)
class Scene:
    """A run that goes on, and what may be done to it."""

    chain: Chain
    relayer: LocalAccount
    proxies: list[FaultProxy]
    database_url: str
    store: Store
    clock: Clock | None
    supervisor: Supervisor


class Trouble(Protocol):
    """Called before every block that is due."""

    @property
    def happened(self) -> bool:
        """Whether there was any."""

    def __call__(self) -> None: ...
