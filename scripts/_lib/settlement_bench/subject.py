"""The coordinator's follower and settler on one kind of database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import event
from sqlmodel import col, func, select

from aitbc.protocol.wire import Market
from aitbc.signing import Signer
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database, among
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement.follower import Follower
from aitbc_coordinator.settlement.models import LIVE_STATES, Booking, BookingState, RelayTransaction
from aitbc_coordinator.settlement.relayers import Relayers
from aitbc_coordinator.settlement.settler import Settler
from local_market import LocalMarketError
from market_bench.databases import Kind
from settlement_bench.bookings import Booked
from settlement_bench.chain import CLAIM_WINDOW, FEE_BPS, Chain
from settlement_bench.facts import Facts

PROVIDERS = 50
MOST_PASSES = 1000


class Subject:
    def __init__(self, kind: Kind, chain: Chain) -> None:
        self.kind = kind
        self._chain = chain
        self._database = Database(kind.market())
        domain = chain.escrow.domain
        settings = Settings(
            rpc_url=chain.node.rpc_url,
            chain_id=domain.chain_id,
            contract="NativeEscrow",
            escrow=domain.escrow,
            deploy_block=chain.web3.eth.block_number,
            passphrase_file=Path(),
        )
        market = Market.model_validate(
            {
                **settings.model_dump(include=set(Market.model_fields)),
                "name": "bench",
                "token": None,
                "symbol": "ETH",
                "decimals": 18,
                "attester": chain.attester.address,
                "arbiter": "0x" + "00" * 20,
                "fee_bps": FEE_BPS,
                "fee_recipient": chain.buyer.address,
                "claim_window": CLAIM_WINDOW,
                "rpc_url": None,
            }
        )
        self._context = Context(
            settings,
            self._database,
            market,
            Attester(Signer(chain.attester), market),
            now=lambda: chain.now,
        )
        relayers = Relayers(self._context, chain.escrow, [chain.account()])
        self._settler = Settler(self._context, chain.escrow, relayers)
        self._follower = Follower(self._database, chain.escrow, settings)
        self.facts = Facts(domain, PROVIDERS)
        self.statements = 0
        """That the last `settle` sent to the database; many rows of one are one."""
        self.payout_blocks = 0
        """That were mined in it, until the last payout was final."""
        event.listen(self._database.engine, "before_cursor_execute", self._count)
        with self._database.session() as session:
            self.facts.add_providers(session, chain.now)

    def book(self, count: int) -> list[Booked]:
        """Bookings that were funded, followed and delivered, and are over."""
        chain = self._chain
        bookings = chain.book(self.facts.providers, count)
        all_terms = [each.terms for each in bookings]
        with self._database.session() as session:
            self.facts.add_quoted(session, all_terms)
        chain.fund(bookings)
        self.follow()
        with self._database.session() as session:
            self.facts.add_served(session, bookings)
        chain.mine(at=all_terms[0].ends_at + self._context.settings.heartbeat_allowance + 1)
        self.follow()
        return bookings

    def settle(self) -> None:
        """From their end until every payout is final. Raises LocalMarketError if one is not."""
        self.statements, ended_in = 0, self._chain.web3.eth.block_number
        for _ in range(MOST_PASSES):
            self._settler.step()
            self.follow()
            if self._is_done():
                self.payout_blocks = self._chain.web3.eth.block_number - ended_in
                return
        raise LocalMarketError("not every booking was settled")

    def follow(self) -> None:
        """Let what was mined be final, and follow it."""
        self._chain.mine(self._context.settings.confirmations)
        while self._follower.step():
            pass

    def stop(self) -> None:
        self._database.close()

    def _count(self, *_: object) -> None:
        self.statements += 1

    def _is_done(self) -> bool:
        live = select(func.count()).where(col(RelayTransaction.state).in_(LIVE_STATES))
        unclosed = select(func.count()).where(col(Booking.state) != BookingState.CLOSED)
        with self._database.read() as session:
            return not session.exec(unclosed).one() and not session.exec(live).one()

    def check(self, bookings: Sequence[Booked]) -> None:
        """Raises LocalMarketError unless each was paid what it had earned."""
        domain = self._context.market.domain
        earned = {each.terms.booking_id(domain): each.earned for each in bookings}
        with self._database.read() as session:
            theirs = select(Booking).where(among(col(Booking.id), "booking_ids"))
            for row in session.exec(theirs, params={"booking_ids": earned}):
                if row.paid + row.fee != earned[row.id]:
                    raise LocalMarketError(f"{row.id} was paid otherwise than it earned")
