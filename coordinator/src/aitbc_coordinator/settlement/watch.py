"""What Prometheus is told of the state that the database and the node are in, as it asks."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from web3 import Web3

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NODE_FAILURES
from aitbc.errors import ChainError
from aitbc.protocol.worth import SETTLE_GAS
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.settlement import outbox, repository, transactions
from aitbc_coordinator.settlement.finality import Finality
from aitbc_coordinator.settlement.transactions import NOTHING
from aitbc_coordinator.webhooks import repository as webhooks
from aitbc_coordinator.webhooks.repository import NO_MESSAGES

MOST_COUNTED = 1000
"""More bookings that need a person are not counted."""
WEI = 10**18

Checks = Callable[[], Mapping[str, str]]

_log = structlog.get_logger(__name__)


class Watch(Collector):
    """Read anew at every scrape. What cannot be read is left out, and its `up` says 0."""

    def __init__(
        self,
        context: Context,
        escrow: Escrow,
        relayers: Sequence[str],
        *,
        checks: Checks,
        leads: Callable[[], bool],
        troubled: Callable[[], Collection[str]],
    ) -> None:
        """`checks` gives, by part, `ok` or why not; `troubled` the senders that are passed over."""
        self._context = context
        self._eth = escrow.web3.eth
        self._finality = Finality(escrow.web3, context.settings)
        self._relayers = [Web3.to_checksum_address(relayer) for relayer in relayers]
        self._checks = checks
        self._leads = leads
        self._troubled = troubled

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._parts()
        yield GaugeMetricFamily(
            "aitbc_leads", "1 in the one coordinator that follows and settles.", self._leads()
        )
        yield _of_each_relayer(
            "aitbc_relayer_passed_over",
            "1 where it needs a person, and the others go on: alerts in /readyz say why.",
            dict.fromkeys(self._relayers, 0) | dict.fromkeys(self._troubled(), 1),
        )
        up = GaugeMetricFamily(
            "aitbc_up", "1 where the database, or the node, answers.", labels=["what"]
        )
        for what, read, failures in (
            ("database", self._database, (SQLAlchemyError,)),
            ("node", self._node, (ChainError, *NODE_FAILURES)),
        ):
            try:
                found = list(read())
            except failures as error:
                _log.warning("no metrics", what=what, reason=type(error).__name__)
                up.add_metric([what], 0)
            else:
                up.add_metric([what], 1)
                yield from found
        yield up

    def coin(self) -> Mapping[str, int]:
        """Wei of each relayer. Raises what a node does that fails."""
        return {relayer: int(self._eth.get_balance(relayer)) for relayer in self._relayers}

    def _parts(self) -> GaugeMetricFamily:
        parts = GaugeMetricFamily(
            "aitbc_part_ok", "1 where a part does its work, as /readyz says.", labels=["part"]
        )
        for part, status in self._checks().items():
            parts.add_metric([part], status == "ok")
        return parts

    def _database(self) -> Iterator[GaugeMetricFamily]:
        context = self._context
        with context.database.read() as session:
            claimable_after = chain_time(session) - context.market.claim_window
            waiting, oldest = outbox.waiting(session, claimable_after)
            stuck = outbox.stuck(session, claimable_after, MOST_COUNTED)
            left = outbox.left_to_reclaim(session, claimable_after, MOST_COUNTED)
            cursor = repository.cursor(session)
            loads = transactions.loads(session)
            messages = webhooks.counts(session) if context.settings.webhook_url else NO_MESSAGES
        is_halted = cursor is not None and cursor.halted is not None
        age, failing = (
            0 if since is None else max(0, context.now() - since)
            for since in (oldest, messages.failing_since)
        )
        for name, documentation, value in (
            ("aitbc_outbox_bookings", "Attested bookings that wait to be settled.", waiting),
            ("aitbc_outbox_age_seconds", "Since the first of them ended.", age),
            ("aitbc_stuck_bookings", "Bookings that could not be settled.", len(stuck)),
            ("aitbc_unclaimed_bookings", "Bookings open past their claim window.", len(left)),
            ("aitbc_chain_replaced", "1 where all stops: what was final is not.", is_halted),
            ("aitbc_webhooks_waiting", "Messages that wait to be taken.", messages.waiting),
            ("aitbc_webhooks_failing_seconds", "Since one of them first failed.", failing),
            ("aitbc_webhooks_given_up", "Messages given up in the last week.", messages.given_up),
        ):
            yield GaugeMetricFamily(name, documentation, value)
        yield _of_each_relayer(
            "aitbc_relayer_in_flight",
            "Transactions that it has under way; also of one whose key is gone.",
            {
                sender: loads.get(sender, NOTHING).nonces
                for sender in dict.fromkeys([*self._relayers, *loads])
            },
        )

    def _node(self) -> Iterator[GaugeMetricFamily]:
        settings = self._context.settings
        target = self._finality.target()
        coin = self.coin()
        with self._context.database.read() as session:
            cursor = repository.cursor(session)
        followed = settings.deploy_block - 1 if cursor is None else cursor.block_number
        yield GaugeMetricFamily(
            "aitbc_follower_lag_blocks",
            "Confirmed blocks that were not followed yet.",
            max(0, target - followed),
        )
        yield _of_each_relayer(
            "aitbc_relayer_balance",
            "Coin that a relayer has.",
            {relayer: wei / WEI for relayer, wei in coin.items()},
        )
        cost = max(1, 0 if cursor is None else cursor.gas_price) * SETTLE_GAS
        yield _of_each_relayer(
            "aitbc_relayer_settlements",
            "Bookings that it pays for, each alone, at the last followed block's gas price.",
            {relayer: wei // cost for relayer, wei in coin.items()},
        )


def _of_each_relayer(
    name: str, documentation: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=["relayer"])
    for relayer, value in values.items():
        family.add_metric([relayer], value)
    return family
