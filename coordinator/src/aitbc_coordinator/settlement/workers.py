"""Runs follower, settler and the rest of the work beside the API, each in a thread, until told."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import requests
import structlog
from sqlalchemy.exc import OperationalError
from web3.exceptions import Web3Exception

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NodeFailed, reason
from aitbc.errors import AitbcError
from aitbc_coordinator import nodes
from aitbc_coordinator.context import Context
from aitbc_coordinator.leadership import Leadership
from aitbc_coordinator.market import hours
from aitbc_coordinator.settlement import clock
from aitbc_coordinator.settlement.follower import Follower
from aitbc_coordinator.settlement.relayers import Relayers
from aitbc_coordinator.settlement.settler import Settler
from aitbc_coordinator.signers.protocols import TransactionSigner
from aitbc_coordinator.webhooks.courier import open_courier

OK: Final = "ok"
LONGEST_PAUSE_SECONDS = 30.0
CLOCK_SECONDS = 5.0
"""Between two looks at the clock."""
STOP_SECONDS = 30.0

NODE_DOWN = (requests.RequestException, Web3Exception, OSError)

_log = structlog.get_logger(__name__)


class Worker:
    """Repeats a step. A step that fails is logged, reported, and tried again, ever more slowly."""

    def __init__(self, name: str, step: Callable[[], bool], pause_seconds: float) -> None:
        """`step` does one piece of work, and returns whether there is more to do at once."""
        self.status = "its first pass is under way"
        self.node_status = self.status
        self._name = name
        self._step = step
        self._pause_seconds = pause_seconds
        self._failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        """Wait for the step under way; it can be cut short without harm if it takes too long."""
        self._thread.join(STOP_SECONDS)

    def run_once(self) -> bool:
        """One step, whose failure becomes the status. Returns whether there is more to do."""
        try:
            more = self._step()
        except Exception as error:
            self._failures += 1
            self._report(error)
            return False
        self._failures = 0
        self.status = self.node_status = OK
        return more

    def _report(self, error: Exception) -> None:
        if isinstance(error, NODE_DOWN):
            self.node_status = _without_a_key(error)
            self.status = self.node_status
            _log.warning("pass failed", worker=self._name, reason=self.status)
        elif isinstance(error, AitbcError):
            self.status = _in_words(error)
            _log.warning("pass failed", worker=self._name, reason=self.status)
        elif isinstance(error, OperationalError):
            self.status = "the database fails"
            _log.warning("pass failed", worker=self._name, reason=self.status, exc_info=True)
        else:
            self.status = f"a defect stops it: {type(error).__name__}, see the log"
            _log.exception("pass failed unexpectedly", worker=self._name)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.run_once():
                continue
            pause = self._pause_seconds * 2 ** min(self._failures, 10)
            self._stopping.wait(min(pause, max(self._pause_seconds, LONGEST_PAUSE_SECONDS)))


def _in_words(error: AitbcError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def _without_a_key(error: Exception) -> str:
    """A node's failure; what is not ours may hold its URL, and with it a key."""
    return reason(error) if isinstance(error, NodeFailed) else f"it fails: {type(error).__name__}"


class Workers:
    """A running coordinator's background work: done while it leads, else by another one."""

    def __init__(
        self, context: Context, escrow: Escrow, relayers: Sequence[TransactionSigner]
    ) -> None:
        settings = context.settings
        follower = Follower(context.database, escrow, settings)
        settler = Settler(context, escrow, Relayers(context, escrow, relayers))
        self._settler = settler
        self._web3 = escrow.web3
        self.fundings = settler.fundings
        self._leadership = Leadership(context.database)
        self._alerts: list[str] = []
        self._courier = courier = open_courier(context)
        lead = self._leadership.hold

        def follow() -> bool:
            return lead() and follower.step()

        def settle() -> bool:
            self._look_for_alerts()
            if lead():
                nodes.consistently(escrow.web3, settler.step)
            return False

        def record_hour() -> bool:
            if lead():
                hours.record(context)
            return False

        def look_at_the_clock() -> bool:
            allowed = settings.oldest_head_seconds
            clock.check(escrow.web3, context.now(), oldest_head_seconds=allowed)
            return False

        def deliver() -> bool:
            return lead() and courier is not None and courier.step()

        self._follow = Worker("follower", follow, settings.poll_seconds)
        self._settle = Worker("settler", settle, settings.poll_seconds)
        self._market = Worker("market", record_hour, settings.poll_seconds)
        self._clock = Worker("clock", look_at_the_clock, max(CLOCK_SECONDS, settings.poll_seconds))
        self._deliver = Worker("webhooks", deliver, settings.poll_seconds) if courier else None
        parts = (self._follow, self._settle, self._market, self._clock, self._deliver)
        self._workers = [worker for worker in parts if worker is not None]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Stop after the steps under way."""
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.join()
        self._leadership.release()

    def checks(self) -> dict[str, str]:
        """By part: `ok`, or in one line why not."""
        checks = {
            "node": self._follow.node_status,
            "follower": self._follow.status,
            "settler": self._settle.status,
            "market": self._market.status,
            "clock": self._clock.status,
        }
        if self._deliver is not None:
            checks["webhooks"] = self._deliver.status
        return checks

    def leads(self) -> bool:
        """Whether this coordinator does the work, of those over its database."""
        return self._leadership.leads

    def troubled_relayers(self) -> Mapping[str, AitbcError]:
        """What keeps relayers from sending, by the last pass of the settler here."""
        return self._settler.troubles() if self.leads() else {}

    def alerts(self) -> list[str]:
        """What needs a person while everything else goes on: bookings, relayers, nodes, a webhook.

        Of bookings and relayers by the last pass of the settler.
        """
        webhook = self._courier.troubles() if self._courier and self.leads() else []
        return self._alerts + nodes.troubles(self._web3) + webhook

    def _look_for_alerts(self) -> None:
        found = [
            f"booking {short_id} could not be settled, and is not tried again"
            for short_id in self._settler.stuck()
        ]
        found += [
            f"booking {short_id} is open past its claim window: it is left to reclaim"
            for short_id in self._settler.left_to_reclaim()
        ]
        found += [
            f"the relayer {address} is passed over: {_in_words(error)}"
            for address, error in self.troubled_relayers().items()
        ]
        for alert in found:
            if alert not in self._alerts:
                _log.error("alert", reason=alert)
        self._alerts = found
