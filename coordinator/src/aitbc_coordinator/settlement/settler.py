"""Makes the chain agree with the outbox: attests what is due, and settles it in batches."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import structlog
from hexbytes import HexBytes
from sqlmodel import Session
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError

from aitbc.chain.escrow import Escrow
from aitbc.errors import ChainError
from aitbc.protocol.messages import Completion, SettleEach, SettleMany
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.nodes import Unsuited
from aitbc_coordinator.settlement import attestations, outbox, repository
from aitbc_coordinator.settlement.fundings import Fundings
from aitbc_coordinator.settlement.models import Attestation, AttestationKind, Booking
from aitbc_coordinator.settlement.relayer import MAX_IN_FLIGHT, Relayer

LISTED_BOOKINGS = 50
"""Most bookings that are listed as stuck, or as left to reclaim; the newest come first."""

_log = structlog.get_logger(__name__)


class Item(NamedTuple):
    attestation: Attestation
    booking: Booking

    @property
    def is_claim(self) -> bool:
        return self.attestation.kind == AttestationKind.CLAIM

    @property
    def in_full(self) -> bool:
        return self.attestation.earned == self.booking.amount


class Settler:
    """Every method is a step that can be repeated, and cut short anywhere."""

    def __init__(self, context: Context, escrow: Escrow, relayer: Relayer) -> None:
        self._context = context
        self._database = context.database
        self._escrow = escrow
        self._relayer = relayer
        self.fundings = Fundings(context, escrow, relayer)

    def step(self) -> None:
        """All steps once. Raises ChainError when the node fails or refuses, or nothing may go on.

        None of them is done with a node that has not seen what was followed.
        """
        self._check_projection()
        self.attest()
        self._relayer.observe()
        self.reconcile()
        # What is under way comes first: anything new waits behind its nonce.
        self._relayer.broadcast()
        self._relayer.bump()
        self.settle()
        self._relayer.broadcast()
        if self.fundings.send():
            self._relayer.broadcast()

    def _check_projection(self) -> None:
        with self._database.read() as session:
            cursor = repository.cursor(session)
        if cursor is None:
            return
        if cursor.halted is not None:
            raise ChainError(
                f"nothing is attested or sent while the follower is stopped: {cursor.halted}"
            )
        head = int(self._escrow.web3.eth.block_number)
        if head < cursor.block_number:
            raise Unsuited(
                f"the node is at block {head}, and block {cursor.block_number} was followed already"
            )

    def attest(self) -> None:
        """Attest every booking that is due, each in a transaction of its own."""
        with self._database.read() as session:
            due = attestations.due(self._context, session)
        for booking_id in due:
            self._database.transact(
                partial(attestations.attest, self._context, booking_id=booking_id)
            )
            reach(FaultPoint.ATTESTATION_WRITTEN)
            _log.info("attested", booking=booking_id)

    def reconcile(self) -> None:
        """Tick off what is closed on the chain; free for another batch what was not."""
        with self._database.session() as session:
            outbox.mark_settled(session)
            outbox.release_spent(session)
            reach(FaultPoint.RECONCILE_WRITING)
        reach(FaultPoint.RECONCILE_WRITTEN)
        self.fundings.reconcile()

    def settle(self) -> None:
        """Persist signed transactions for what is unsettled; `Relayer.broadcast` sends them."""
        while self._relayer.in_flight() < MAX_IN_FLIGHT:
            items = self._next_batch()
            if not items or not self._enqueue(items):
                return

    def stuck(self) -> Sequence[str]:
        """Short ids of bookings that could not be settled, and need a person."""
        with self._database.read() as session:
            return outbox.stuck(
                session, self._claimable_after(chain_time(session)), LISTED_BOOKINGS
            )

    def left_to_reclaim(self) -> Sequence[str]:
        """Short ids of bookings that are open past their claim window: `reclaim` closes them."""
        with self._database.read() as session:
            return outbox.left_to_reclaim(
                session, self._claimable_after(chain_time(session)), LISTED_BOOKINGS
            )

    def _next_batch(self) -> list[Item]:
        """Attestations of one verb, payouts apart from refusals.

        A claim goes alone, as the escrow has no batch of them, and so does one that failed.
        """
        with self._database.read() as session:
            found = outbox.unsettled(
                session,
                self._claimable_after(chain_time(session)),
                self._context.settings.batch_size,
            )
        items = [Item(attestation, booking) for attestation, booking in found]
        if not items or items[0].attestation.attempts or items[0].is_claim:
            return items[:1]
        first = items[0]
        batch = [
            item
            for item in items
            if not item.is_claim
            and item.in_full == first.in_full
            and item.attestation.refused == first.attestation.refused
            and not item.attestation.attempts
        ]
        # Side by side, the bookings of one provider are paid by one transfer.
        return sorted(batch, key=lambda item: (item.booking.provider, item.booking.id))

    def _enqueue(self, items: list[Item]) -> bool:
        """Sign and persist a batch, smaller where gas demands it. False when it cannot be made."""
        function = self._call(items)
        try:
            call = self._relayer.prepare(function)
        except ContractLogicError as error:
            ids = [item.booking.id for item in items]
            _log.error("batch would revert", bookings=ids, reason=str(error))
            self._count_attempt(items)
            return False
        if call is None:
            if len(items) == 1:
                self._count_attempt(items)
                return False
            return self._enqueue(items[: len(items) // 2])

        def work(session: Session) -> None:
            batch_id = self._relayer.enqueue(session, call)
            outbox.take(session, [item.attestation.id for item in items], batch_id)
            reach(FaultPoint.BATCH_WRITING)

        self._database.transact(work)
        reach(FaultPoint.BATCH_WRITTEN)
        return True

    def _call(self, items: list[Item]) -> ContractFunction:
        """The batch as a call of the escrow, with the attester's signature over it."""
        functions, attester = self._escrow.functions, self._context.attester
        if items[0].is_claim:
            claim: ContractFunction = functions.claim(
                items[0].booking.terms.abi_values(),
                items[0].attestation.earned,
                HexBytes(items[0].attestation.signature),
            )
            return claim
        ids = tuple(item.booking.id for item in items)
        if items[0].in_full:
            signature = attester.sign(SettleMany(booking_ids=ids))
            full: ContractFunction = functions.settleMany(
                [HexBytes(booking_id) for booking_id in ids], HexBytes(signature)
            )
            return full
        completions = tuple(
            Completion(
                booking_id=item.booking.id,
                earned=item.attestation.earned,
                evidence=item.attestation.evidence_digest,
            )
            for item in items
        )
        signature = attester.sign(SettleEach(completions=completions))
        split: ContractFunction = functions.settleEach(
            [
                (
                    item.booking.terms.abi_values(),
                    item.attestation.earned,
                    HexBytes(item.attestation.evidence_digest),
                )
                for item in items
            ],
            HexBytes(signature),
        )
        return split

    def _count_attempt(self, items: list[Item]) -> None:
        with self._database.session() as session:
            outbox.count_attempt(session, [item.attestation.id for item in items])

    def _claimable_after(self, now: int) -> int:
        """A booking whose meter stopped by then is past its claim window."""
        return now - self._context.market.claim_window
