"""Fundings that buyers signed, and relayers send at the operator's expense.

What is accepted is a row, checked and priced; the settler's pass puts it into a transaction when
payouts leave room. A relayer can delay or drop a funding, and alter nothing of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlmodel import Session
from web3 import Web3
from web3.exceptions import ContractLogicError, Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.funding import relayable_call, signed_message
from aitbc.chain.node import NODE_FAILURES
from aitbc.chain.transactions import explain_revert
from aitbc.errors import ChainError
from aitbc.protocol import wire
from aitbc_coordinator import retirement
from aitbc_coordinator.context import Context
from aitbc_coordinator.cursor import last_seen, require_sound
from aitbc_coordinator.errors import Conflict, Invalid, Missing, Unauthorised, Unavailable
from aitbc_coordinator.fault_points import FaultPoint, reach
from aitbc_coordinator.market import reservations
from aitbc_coordinator.settlement import funding_rows, repository
from aitbc_coordinator.settlement.calls import GWEI, Call
from aitbc_coordinator.settlement.models import Funding
from aitbc_coordinator.settlement.relayers import Relayers

DAY_SECONDS = 86_400
MAX_GAS = 500_000
"""A buyer's contract may make its signature dear to check: not at the operator's expense."""
PLACES_FOR_PAYOUTS = 1
"""Among the transactions under way, whatever buyers ask for."""
PER_PASS = 20

OWN_TRANSACTION = "pay with a transaction of your own: aitbc marketplace book --no-relay"

_log = structlog.get_logger(__name__)


class Fundings:
    """Takes fundings from buyers, and gives them to the relayers."""

    def __init__(self, context: Context, escrow: Escrow, relayers: Relayers) -> None:
        self._context = context
        self._database = context.database
        self._escrow = escrow
        self._relayers = relayers
        self._ceiling = context.settings.relay_maximum_fee_gwei * GWEI

    def accept(self, request: wire.FundingRequest) -> wire.AcceptedFunding:
        """Check a funding in every way, and put it where the settler finds it.

        The same one again gets the same answer. Raises a Refusal.
        """
        terms = request.terms
        booking_id = terms.booking_id(self._context.market.domain)
        answer = wire.AcceptedFunding(booking_id=booking_id, fund_by=terms.fund_by)
        if request.method not in self._context.market.relays:
            raise relay_off(f"this coordinator sends no payments by {request.method.value}")
        with self._database.read() as session:
            if self._is_known(session, booking_id, request):
                return answer
            retirement.require_in_use(session)
            require_sound(last_seen(session))
            self._require_live_quote(session, booking_id)
        call = self._checked_call(request)
        self._context.wallets.spend(terms.buyer)

        def work(session: Session) -> None:
            # The one row that every replica locks: two of them must not spend the budget twice.
            repository.lock_cursor(session)
            if self._is_known(session, booking_id, request):
                return
            now = self._context.now()
            if not self._is_within_budget(session, booking_id, call, now):
                raise Conflict(
                    "relay-budget",
                    "this coordinator has spent what it pays for buyers' gas in a day",
                    hint=f"{OWN_TRANSACTION}; or ask again later",
                )
            funding_rows.add(
                session,
                Funding(
                    booking_id=booking_id,
                    request=request.model_dump_json(),
                    fund_by=terms.fund_by,
                    accepted_at=now,
                    cost_gwei=call.cost_gwei,
                ),
            )
            reach(FaultPoint.FUNDING_WRITING)

        self._database.transact(work)
        reach(FaultPoint.FUNDING_WRITTEN)
        _log.info("funding accepted", booking=booking_id, cost_gwei=call.cost_gwei)
        return answer

    def send(self) -> bool:
        """Persist signed transactions for what waits; `Carrier.broadcast` sends them.

        What would fail is left out, and costs nobody else their turn. Returns whether there is
        something to broadcast.
        """
        with self._database.read() as session:
            found = funding_rows.waiting(session, self._context.now(), PER_PASS)
        any_sent = False
        for funding in found:
            if self._relayers.room() <= PLACES_FOR_PAYOUTS:
                break
            any_sent |= self._enqueue(funding)
        return any_sent

    def reconcile(self) -> None:
        """Free for another transaction what was in one that can never be mined."""
        with self._database.session() as session:
            funding_rows.release_lost(session)

    def _enqueue(self, funding: Funding) -> bool:
        request = wire.FundingRequest.model_validate_json(funding.request)
        try:
            call = self._relayers.prepare(self._calldata(request), self._ceiling)
        except (ContractLogicError, Web3RPCError) as error:
            _log.warning("funding would fail", booking=funding.booking_id, reason=str(error))
            call = None
        except ChainError:
            # Gas is too dear just now: until `fund_by` it may become cheaper.
            return False
        if call is None or call.gas > MAX_GAS:
            with self._database.session() as session:
                funding_rows.count_attempt(session, funding.booking_id)
            return False
        if not self._has_budget(funding.booking_id, call):
            return False
        signed = self._relayers.sign(call)
        if signed is None:
            return False

        def take(session: Session) -> bool:
            repository.lock_cursor(session)
            now, booking_id = self._context.now(), funding.booking_id
            taken = self._is_within_budget(session, booking_id, call, now) and funding_rows.take(
                session, booking_id, signed.batch_id, call.cost_gwei
            )
            reach(FaultPoint.RELAY_WRITING)
            return taken

        persisted = self._relayers.persist(signed, take)
        if persisted:
            reach(FaultPoint.RELAY_WRITTEN)
        return persisted

    def _is_known(self, session: Session, booking_id: str, request: wire.FundingRequest) -> bool:
        """Whether this very request was accepted before. Raises Conflict for another one."""
        earlier = funding_rows.find(session, booking_id)
        if earlier is None:
            return False
        if wire.FundingRequest.model_validate_json(earlier.request) != request:
            raise Conflict(
                "funding-accepted",
                "another payment of this booking was accepted before, and may still be sent",
                hint="look at the booking's slot in the escrow until its time to be paid is over",
            )
        return True

    def _require_live_quote(self, session: Session, booking_id: str) -> None:
        quote = reservations.find_quote(session, booking_id)
        if quote is None:
            raise Missing(
                "unknown-quote", "these terms were never quoted here", hint="ask for a new quote"
            )
        if self._context.now() >= quote.fund_by:
            raise Conflict("quote-expired", "the quote has expired", hint="ask for a new one")

    def _checked_call(self, request: wire.FundingRequest) -> Call:
        """The call that would fund just now, at a price that this operator pays."""
        with _node():
            self._require_signer(request)
            call = self._simulate(self._calldata(request))
            is_payable = self._relayers.can_pay(call)
        if not is_payable:
            raise Conflict(
                "relay-budget",
                "this coordinator's relayers are out of coin",
                hint=OWN_TRANSACTION,
            )
        return call

    def _calldata(self, request: wire.FundingRequest) -> str:
        function = relayable_call(self._escrow, request)
        return str(self._escrow.contract.encode_abi(function.fn_name, args=function.args))

    def _simulate(self, calldata: str) -> Call:
        try:
            call = self._relayers.prepare(calldata, self._ceiling)
        except ContractLogicError as error:
            raise _would_fail(explain_revert(self._escrow.contract.abi, error)) from error
        except ChainError as error:
            raise Conflict("gas-too-dear", str(error), hint=OWN_TRANSACTION) from error
        if call is None or call.gas > MAX_GAS:
            raise _would_fail(f"it takes more than {MAX_GAS} gas")
        return call

    def _require_signer(self, request: wire.FundingRequest) -> None:
        """Raises Unauthorised for a signature that is not a plain wallet's own."""
        buyer = Web3.to_checksum_address(request.terms.buyer)
        if self._escrow.web3.eth.get_code(buyer):
            return  # Only the buyer's contract knows: the simulation asks it.
        message, domain = signed_message(self._escrow, request.terms, request.method, request.nonce)
        if message.signer(domain, request.signature) != buyer:
            raise Unauthorised(
                "wrong-signer",
                f"the signature is not {buyer}'s over a payment of these terms",
                hint="sign with that wallet, in the domain that docs/protocol.md names",
            )

    def _has_budget(self, booking_id: str, call: Call) -> bool:
        """Whether there is budget for a call just now: else it is not worth signing."""
        with self._database.read() as session:
            return self._is_within_budget(session, booking_id, call, self._context.now())

    def _is_within_budget(self, session: Session, booking_id: str, call: Call, now: int) -> bool:
        since = now - DAY_SECONDS
        spent = funding_rows.cost_since(session, since, now, other_than=booking_id)
        return spent + call.cost_gwei <= self._context.settings.relay_budget_gwei_per_day


def relay_off(reason: str) -> Conflict:
    return Conflict("relay-off", reason, hint=OWN_TRANSACTION)


@contextmanager
def _node() -> Iterator[None]:
    """Around calls of the node: its failure is not the buyer's."""
    try:
        yield
    except NODE_FAILURES as error:
        raise Unavailable(
            "node-unavailable",
            "the coordinator's node does not answer now; nothing was accepted",
            hint=f"try again in a few seconds, or {OWN_TRANSACTION}",
        ) from error


def _would_fail(reason: str) -> Invalid:
    return Invalid(
        "would-fail",
        f"sent now, the payment would fail: {reason}",
        hint="check the wallet's balance, and that the booking is not paid already",
    )
