"""Makes the chain agree with the outbox: attests what is due, and settles it in batches."""

from collections.abc import Iterable, Mapping, Sequence

import structlog
from hexbytes import HexBytes
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session
from web3.exceptions import ContractLogicError

from aitbc.chain import codec
from aitbc.chain.escrow import Escrow
from aitbc.errors import AitbcError, ChainError
from aitbc.protocol.messages import Completion, SettleEach, SettleMany
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.nodes import Unsuited
from aitbc_coordinator.settlement import attestations, outbox, repository
from aitbc_coordinator.settlement.carrier import Carrier
from aitbc_coordinator.settlement.fundings import Fundings
from aitbc_coordinator.settlement.outbox import Unsettled
from aitbc_coordinator.settlement.relayers import Relayers

TOGETHER = 250
"""Most bookings that are attested in one transaction."""
LOOKAHEAD = 4
"""Of so many times a batch's size, those are batched that one verb settles."""
LISTED_BOOKINGS = 50
"""Most bookings that are listed as stuck, or as left to reclaim; the newest come first."""

_log = structlog.get_logger(__name__)


class Settler:
    """Every method is a step that can be repeated, and cut short anywhere."""

    def __init__(self, context: Context, escrow: Escrow, relayers: Relayers) -> None:
        self._context = context
        self._database = context.database
        self._escrow = escrow
        self._carrier = Carrier(context, escrow)
        self._relayers = relayers
        self.fundings = Fundings(context, escrow, relayers)

    def step(self) -> None:
        """All steps once, with a node that has seen what was followed.

        Raises AitbcError when the node fails, nothing may go on, or no relayer can send.
        """
        self._check_projection()
        defect = self.attest()
        self._carrier.observe()
        self.reconcile()
        # What is under way comes first: anything new waits behind its nonce.
        refused = self._carrier.broadcast()
        self._relayers.bump()
        self._relayers.pass_over(refused)
        self.settle()
        refused |= self._carrier.broadcast(but_of=refused)
        if self.fundings.send():
            refused |= self._carrier.broadcast(but_of=refused)
        self._relayers.pass_over(refused)
        self._relayers.require_one()
        if defect is not None:
            raise defect

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

    def attest(self) -> Exception | None:
        """Attest every booking that is due. Returns a defect that kept one from it, and no other.

        Raises AitbcError and SQLAlchemyError.
        """
        with self._database.read() as session:
            due = attestations.due(self._context, session)
        defects = [self._attest(due[at : at + TOGETHER]) for at in range(0, len(due), TOGETHER)]
        return next((defect for defect in defects if defect is not None), None)

    def _attest(self, booking_ids: Sequence[str]) -> Exception | None:
        """Attest bookings in one transaction; each in its own, where one of them cannot be."""
        try:
            made = attestations.attest(self._context, booking_ids)
        except (AitbcError, SQLAlchemyError):
            raise
        except Exception as error:
            if len(booking_ids) > 1:
                defects = [self._attest([booking_id]) for booking_id in booking_ids]
                return next((defect for defect in defects if defect is not None), None)
            _log.exception("cannot be attested", booking=booking_ids[0])
            return error
        if made:
            reach(FaultPoint.ATTESTATION_WRITTEN)
            _log.info("attested", bookings=made)
        return None

    def reconcile(self) -> None:
        """Tick off what is closed on the chain; free for another batch what was not."""
        with self._database.session() as session:
            outbox.mark_settled(session)
            outbox.release_spent(session)
            reach(FaultPoint.RECONCILE_WRITING)
        reach(FaultPoint.RECONCILE_WRITTEN)
        self.fundings.reconcile()

    def settle(self) -> None:
        """Persist signed transactions for what is unsettled; `Carrier.broadcast` sends them."""
        while self._relayers.room():
            items = self._next_batch()
            if not items or not self._enqueue(items):
                return

    def troubles(self) -> Mapping[str, AitbcError]:
        """By sender, what keeps it from sending: see `Relayers.troubles`."""
        return self._relayers.troubles()

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

    def _next_batch(self) -> list[Unsettled]:
        """Attestations of one verb, payouts apart from refusals, that need not wait for others.

        A claim goes alone, as the escrow has no batch of them, and so does one that failed.
        """
        most = self._context.settings.batch_size
        with self._database.read() as session:
            now = chain_time(session)
            items = outbox.unsettled(session, self._claimable_after(now), LOOKAHEAD * most)
        for batch in _together(items):
            if len(batch) >= most or any(self._goes_now(item, now) for item in batch):
                # Side by side, the bookings of one provider are paid by one transfer.
                return sorted(batch[:most], key=lambda item: (item.provider, item.booking_id))
        return []

    def _goes_now(self, item: Unsettled, now: int) -> bool:
        """Whether the chain's time has come for a payout, however few share its transaction."""
        # Half of the claim window is left to those that settle.
        patience = min(self._context.settings.batch_seconds, self._context.market.claim_window // 2)
        waits_for_others = not (item.refused or _goes_alone(item))
        return not waits_for_others or now >= item.ends_at + patience

    def _enqueue(self, items: list[Unsettled]) -> bool:
        """Sign and persist a batch, smaller where gas demands it. False when it cannot be made."""
        try:
            call = self._relayers.prepare(self._calldata(items))
        except ContractLogicError as error:
            ids = [item.booking_id for item in items]
            _log.error("batch would revert", bookings=ids, reason=str(error))
            self._count_attempt(items)
            return False
        if call is None:
            if len(items) == 1:
                self._count_attempt(items)
                return False
            return self._enqueue(items[: len(items) // 2])
        signed = self._relayers.sign(call)
        if signed is None:
            return False

        def take(session: Session) -> bool:
            taken = outbox.take(session, [item.id for item in items], signed.batch_id)
            reach(FaultPoint.BATCH_WRITING)
            return taken

        persisted = self._relayers.persist(signed, take)
        if persisted:
            reach(FaultPoint.BATCH_WRITTEN)
        return persisted

    def _calldata(self, items: list[Unsettled]) -> str:
        """The call of the escrow that settles a batch, with the attester's signature over it."""
        first, attester = items[0], self._context.attester
        if first.is_claim:
            receipt = (first.terms.abi_values(), first.earned, HexBytes(first.signature))
            return str(self._escrow.contract.encode_abi("claim", args=receipt))
        if first.in_full:
            ids = tuple(item.booking_id for item in items)
            return codec.settle_many(ids, attester.sign(SettleMany(booking_ids=ids)))
        completions = tuple(
            Completion(
                booking_id=item.booking_id, earned=item.earned, evidence=item.evidence_digest
            )
            for item in items
        )
        signature = attester.sign(SettleEach(completions=completions))
        terms = (item.terms for item in items)
        return codec.settle_each(zip(terms, completions, strict=True), signature)

    def _count_attempt(self, items: list[Unsettled]) -> None:
        with self._database.session() as session:
            outbox.count_attempt(session, [item.id for item in items])

    def _claimable_after(self, now: int) -> int:
        """A booking whose meter stopped by then is past its claim window."""
        return now - self._context.market.claim_window


def _goes_alone(item: Unsettled) -> bool:
    return item.is_claim or item.attempts > 0


def _together(items: Sequence[Unsettled]) -> Iterable[list[Unsettled]]:
    """What may share a transaction, in the order in which the first of each comes."""
    found: dict[tuple[int, bool, bool], list[Unsettled]] = {}
    for item in items:
        alone = item.id if _goes_alone(item) else 0
        found.setdefault((alone, item.in_full, item.refused), []).append(item)
    return found.values()
