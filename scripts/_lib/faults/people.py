"""Providers and buyers of a run: each booking is lived by a thread of its own, as planned.

Whatever they sign is sent again, the same, until it is answered. What nobody could take in time (a
quote that expired unpaid) they begin anew, as people do.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from eth_account import Account
from eth_account.signers.local import LocalAccount

from aitbc.chain.funding import request_funding
from aitbc.errors import CoordinatorError
from aitbc.protocol import messages, wire
from aitbc.protocol.funding import PayBy
from aitbc.protocol.messages import Domain, Message, Terms
from aitbc.protocol.metering import SignedHeartbeat, SignedSessionGrant
from aitbc.signing import Signer
from faults.chain import Chain, Wallet
from faults.plan import DURATION, Kind, Planned
from faults.supervisor import PATIENCE_SECONDS, PAUSE_SECONDS, Answerer
from local_market import LocalMarketError

PEOPLE = 8
"""So many providers, and so many buyers."""
PAYING_SECONDS = 2.5
"""Who has less time than this to pay a quote waits for another one."""
SESSION_SECONDS = 7200
PATIENT_SECONDS = 4
"""So long after its end a booking's heartbeats are still sent."""


class TooSlow(LocalMarketError):
    """The machine could not keep up with the plan: the run says nothing about the coordinator."""


@dataclass
class Provider:
    """A provider's wallet, and the key of its machine."""

    account: LocalAccount = field(default_factory=Account.create)
    machine: LocalAccount = field(default_factory=Account.create)

    @property
    def address(self) -> str:
        return str(self.account.address)


@dataclass
class Lived:
    """What came of one planned booking: the terms that were funded, and the GPU."""

    planned: Planned
    provider: str
    buyer: str
    gpu_id: str
    terms: Terms


class People:
    """Everybody but the coordinator."""

    def __init__(self, chain: Chain, coordinator: Answerer) -> None:
        self._chain = chain
        self._coordinator = coordinator
        self._domain: Domain = chain.escrow.domain
        self.providers = [Provider() for _ in range(PEOPLE)]
        self.buyers = [chain.fund_buyer() for _ in range(PEOPLE)]

    def live(self, plan: list[Planned], *, every: float = 0.0) -> list[Lived]:
        """All bookings side by side, until each has been delivered as far as it is to be.

        One begins after the other, `every` so many seconds.

        Raises TooSlow, and LocalMarketError where a part fails or refuses what it must take.
        """
        for provider in self.providers:
            self._grant(provider)
        with ThreadPoolExecutor(len(plan)) as pool:
            begun = []
            for planned in plan:
                begun.append(pool.submit(self._live, planned))
                time.sleep(every)
            return [lived.result() for lived in begun]

    def _live(self, planned: Planned) -> Lived:
        provider = self.providers[planned.number % PEOPLE]
        buyer = self.buyers[planned.number // PEOPLE % PEOPLE]
        try:
            gpu_id = self._list(provider, planned)
            terms = self._book(planned, gpu_id, buyer)
            self._use(planned, provider, buyer, terms)
            if planned.unlisted:
                self._unlist(provider, planned, gpu_id)
        except CoordinatorError as error:
            what = f"booking {planned.number} ({planned.kind.value})"
            raise TooSlow(f"{what}: {error.problem}: {error}") from error
        return Lived(planned, provider.address, buyer.address, gpu_id, terms)

    def _grant(self, provider: Provider) -> None:
        grant = messages.SessionGrant(
            provider=provider.address,
            session_key=str(provider.machine.address),
            expires_at=int(time.time()) + SESSION_SECONDS,
        )
        signed = SignedSessionGrant(grant=grant, signature=self._sign(provider.account, grant))
        self._coordinator.ask(lambda market: market.grant_session(signed))

    def _list(self, provider: Provider, planned: Planned) -> str:
        gpu = self._offer(provider, planned, version=1)
        if planned.updated:
            self._offer(provider, planned, version=2, gpu_id=gpu.id)
        if planned.seen:
            self._show(provider, gpu.id)
        return gpu.id

    def _show(self, provider: Provider, gpu_id: str) -> None:
        presence = messages.Presence(
            provider=provider.address,
            gpus=(messages.Sighting(gpu_id=gpu_id, gpu_uuid=""),),
            signed_at=int(time.time()),
        )
        signed = wire.SignedPresence(
            presence=presence, signature=self._sign(provider.machine, presence)
        )
        self._coordinator.ask(lambda market: market.presence(signed))

    def _offer(
        self, provider: Provider, planned: Planned, *, version: int, gpu_id: str = ""
    ) -> wire.Gpu:
        listing = messages.Listing(
            provider=provider.address,
            salt=planned.number,
            version=version,
            name=f"gpu-{planned.number}-v{version}",
            model="NVIDIA RTX 4090",
            gpu_uuid="",
            memory_gib=24,
            cuda_version="12.4",
            region="us-west",
            base_price=planned.price,
            floor_price=planned.price,
            ceiling_price=planned.price,
            strategy="market-balance",
            signed_at=int(time.time()),
        )
        signed = wire.SignedListing(
            listing=listing, signature=self._sign(provider.account, listing)
        )
        if gpu_id:
            return self._coordinator.ask(lambda market: market.update_gpu(gpu_id, signed))
        return self._coordinator.ask(lambda market: market.list_gpu(signed))

    def _unlist(self, provider: Provider, planned: Planned, gpu_id: str) -> None:
        unlisting = messages.Unlisting(
            provider=provider.address,
            salt=planned.number,
            version=3 if planned.updated else 2,
            signed_at=int(time.time()),
        )
        signed = wire.SignedUnlisting(
            unlisting=unlisting, signature=self._sign(provider.account, unlisting)
        )
        self._coordinator.ask(lambda market: market.unlist_gpu(gpu_id, signed))

    def _book(self, planned: Planned, gpu_id: str, buyer: Wallet) -> Terms:
        """Ask for a quote and pay it, again until it is paid in time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            terms = self._quote(planned, gpu_id, buyer)
            if terms is None or terms.fund_by - time.time() < PAYING_SECONDS:
                time.sleep(PAUSE_SECONDS)
                continue
            if planned.kind is Kind.REFUSED:
                terms = terms.model_copy(update={"salt": secrets.randbits(64)})
            if self._pay(planned, terms, buyer):
                return terms
        raise TooSlow(f"booking {planned.number} could not be paid in time")

    def _quote(self, planned: Planned, gpu_id: str, buyer: Wallet) -> Terms | None:
        """The terms of a new quote; None while an earlier one still holds the GPU."""
        request = messages.QuoteRequest(
            buyer=buyer.address,
            gpu_id=gpu_id,
            starts_at=0,
            duration=DURATION,
            max_price=planned.price,
            salt=secrets.randbits(64),
            signed_at=int(time.time()),
        )
        signed = wire.SignedQuoteRequest(
            request=request, signature=self._sign(buyer.account, request)
        )
        try:
            answer = self._coordinator.ask(lambda market: market.request_quotes(signed))
        except CoordinatorError as error:
            if error.problem != "taken":
                raise
            return None
        return answer.items[0].terms

    def _pay(self, planned: Planned, terms: Terms, buyer: Wallet) -> bool:
        """Lock the money. False when it was too late for that."""
        if not planned.relayed:
            return buyer.execute(self._chain.escrow.functions.fund(terms.abi_values()))
        request = request_funding(self._chain.escrow, buyer.account, terms, PayBy.AUTHORIZATION)
        try:
            self._coordinator.ask(lambda market: market.fund(request))
        except CoordinatorError as error:
            if error.problem not in {"quote-expired", "would-fail"}:
                raise
        booking_id = terms.booking_id(self._domain)
        while time.time() < terms.fund_by + 2:
            if self._chain.ask(lambda: self._chain.escrow.slot(booking_id)).remaining:
                return True
            time.sleep(PAUSE_SECONDS)
        return False

    def _use(self, planned: Planned, provider: Provider, buyer: Wallet, terms: Terms) -> None:
        functions = self._chain.escrow.functions
        if planned.kind is Kind.CANCELLED:
            self._must(planned, buyer.execute(functions.cancel(terms.abi_values())))
        if planned.kind is Kind.DISPUTED:
            time.sleep(max(0.0, terms.starts_at + planned.used - time.time()))
            self._must(planned, buyer.execute(functions.dispute(terms.abi_values())))
        for sequence, (begin, end) in enumerate(planned.beats):
            time.sleep(max(0.0, terms.starts_at + end - time.time()))
            self._beat(provider, terms, sequence, (begin, end))
        if planned.unlisted:
            time.sleep(max(0.0, terms.ends_at - time.time()))

    def _beat(
        self, provider: Provider, terms: Terms, sequence: int, covered: tuple[int, int]
    ) -> None:
        heartbeat = messages.Heartbeat(
            booking_id=terms.booking_id(self._domain),
            sequence=sequence,
            covers_from=terms.starts_at + covered[0],
            covers_until=terms.starts_at + covered[1],
            telemetry="{}",
        )
        signed = SignedHeartbeat(
            heartbeat=heartbeat, signature=self._sign(provider.machine, heartbeat)
        )
        while True:
            try:
                self._coordinator.ask(lambda market: market.heartbeat(signed))
            except CoordinatorError as error:
                # It has not followed the chain so far, or goes on behind where it was killed.
                if (
                    error.problem != "unknown-booking"
                    or time.time() > terms.ends_at + PATIENT_SECONDS
                ):
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                return

    def _must(self, planned: Planned, succeeded: bool) -> None:  # noqa: FBT001
        if not succeeded:
            raise TooSlow(f"booking {planned.number}: the {planned.kind.value} came too late")

    def _sign(self, account: LocalAccount, message: Message) -> str:
        return Signer(account).sign(message, self._domain)
