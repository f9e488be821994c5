"""Random histories of a market: what its parts do, and what must hold after each of it.

What is true is read from the chain and from the answers that buyers hold, never from the
coordinator's database, which is compared with it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import httpx
import pytest
from escrow_world import COIN, PRICES, Coordinator, World
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from settling import projected
from signed import listing, quote_request, unlisting
from sqlmodel import select
from web3.exceptions import ContractLogicError

from aitbc.buying.quotes import verify_quotes
from aitbc.protocol import wire
from aitbc.protocol.messages import Terms
from aitbc.protocol.states import EscrowState
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.market import repository as market
from aitbc_coordinator.market.models import Reservation
from aitbc_coordinator.rebuild import rebuild_projection
from aitbc_coordinator.settlement import repository

MOST_GPUS = 3
LEADS = (0, 25, 60, 100)
"""Seconds from the earliest start: bookings meet, touch and miss each other."""
LASTS = (10, 40, 75)
MEMORIES = (8, 24)


@dataclass
class Card:
    """A GPU as its provider last signed it."""

    gpu_id: str
    salt: int
    memory: int
    version: int = 1
    listed: bool = True


@dataclass
class Offer:
    """A quote that a buyer holds. `taken` is whether the followed chain gives it the GPU."""

    signed: wire.SignedQuote
    request: wire.SignedQuoteRequest
    taken: bool = False
    closed: bool = False
    refused: bool = False

    @property
    def terms(self) -> Terms:
        return self.signed.terms

    @property
    def held_until(self) -> int | None:
        return None if self.taken else self.terms.fund_by

    def holds(self, followed: int) -> bool:
        """Whether it keeps others from its GPU, once the chain was followed to a time."""
        return self.taken or (not self.closed and self.terms.fund_by > followed)

    def overlaps(self, gpu_id: str, starts_at: int, ends_at: int) -> bool:
        return (
            self.signed.gpu_id == gpu_id
            and self.terms.starts_at < ends_at
            and starts_at < self.terms.ends_at
        )


@dataclass
class Truth:
    """What everybody did, and how far the coordinator can know of it."""

    cards: list[Card] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)
    followed: int = 0

    def standing(self) -> list[Offer]:
        return [offer for offer in self.offers if offer.holds(self.followed)]

    def is_free(self, gpu_id: str, starts_at: int, ends_at: int) -> bool:
        return not any(o.overlaps(gpu_id, starts_at, ends_at) for o in self.standing())


class MarketHistory(RuleBasedStateMachine):
    """One provider's GPUs, quoted, funded, closed and taken away, while the chain is followed."""

    new_world: Callable[[], AbstractContextManager[World]]

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()

    @initialize()
    def open(self) -> None:
        self.world = self._open.enter_context(type(self).new_world())
        self.coordinator = Coordinator(self.world)
        self._first_block = self.world.node.web3.eth.block_number
        self.truth = Truth()
        self.follow()
        for memory in MEMORIES:
            self.list_gpu(memory)

    def teardown(self) -> None:
        self._open.close()

    # What providers do

    @precondition(lambda self: len(self.truth.cards) < MOST_GPUS)
    @rule(memory=st.sampled_from(MEMORIES))
    def list_gpu(self, memory: int) -> None:
        salt = len(self.truth.cards) + 1
        signed = self._listing(salt, memory_gib=memory, signed_at=self._now)
        card = Card(self.world.post("/gpus", signed, 201)["id"], salt, memory)
        self.truth.cards.append(card)

    @rule(data=st.data(), base=st.integers(COIN // 2, 2 * COIN))
    def reprice(self, data: st.DataObject, base: int) -> None:
        card = data.draw(st.sampled_from(self.truth.cards))
        self._wait(1)
        changes = {"version": card.version + 1, "base_price": base, "signed_at": self._now}
        signed = self._listing(card.salt, memory_gib=card.memory, **changes)
        answer = self._send("PUT", f"/gpus/{card.gpu_id}", signed)
        assert answer.status_code == 200, answer.text
        card.version, card.listed = card.version + 1, True

    @precondition(lambda self: any(card.listed for card in self.truth.cards))
    @rule(data=st.data())
    def go_offline(self, data: st.DataObject) -> None:
        card = data.draw(st.sampled_from([card for card in self.truth.cards if card.listed]))
        changes = {"salt": card.salt, "version": card.version + 1, "signed_at": self._now}
        signed = unlisting(self.world.provider, **changes)
        self.world.post(f"/gpus/{card.gpu_id}/unlist", signed, 200)
        card.listed = False

    # What buyers do

    @rule(data=st.data(), lead=st.sampled_from(LEADS), lasts=st.sampled_from(LASTS))
    def quote_one(self, data: st.DataObject, lead: int, lasts: int) -> None:
        card = data.draw(st.sampled_from(self.truth.cards))
        request = self._request(lead, lasts, gpu_id=card.gpu_id)
        suits = [card] if card.listed else []
        self._quote(request, suits, "taken" if card.listed else "not-listed")

    @rule(
        memory=st.sampled_from(MEMORIES),
        count=st.integers(1, MOST_GPUS),
        lead=st.sampled_from(LEADS),
        lasts=st.sampled_from(LASTS),
    )
    def quote_several(self, memory: int, count: int, lead: int, lasts: int) -> None:
        request = self._request(lead, lasts, where=f"memory>={memory}", count=count)
        suits = [card for card in self.truth.cards if card.listed and card.memory >= memory]
        self._quote(request, suits, "no-match", "too-few")

    @rule(data=st.data(), follow=st.booleans())
    def fund(self, data: st.DataObject, follow: bool) -> None:
        in_time = [o for o in self.truth.offers if self._now + 1 < o.terms.fund_by]
        payable = [o for o in in_time if not self._funded(o)]
        if payable:
            self.world.fund(data.draw(st.sampled_from(payable)).terms)
        if follow:
            self.follow()

    @rule(data=st.data())
    def fund_what_cannot_be(self, data: st.DataObject) -> None:
        """Too late, or a second time: the contract refuses it."""
        late = [o for o in self.truth.offers if self._now >= o.terms.fund_by or self._funded(o)]
        if late:
            terms = data.draw(st.sampled_from(late)).terms
            sent = {"from": self.world.buyer.address, "value": terms.amount}
            with pytest.raises(ContractLogicError):
                self.world.escrow.functions.fund(terms.abi_values()).call(sent)

    @rule(data=st.data(), by_provider=st.booleans())
    def cancel(self, data: st.DataObject, by_provider: bool) -> None:
        soon = 0 if by_provider else self._now + 1
        running = [
            offer
            for offer in self.truth.offers
            if self._state(offer) is EscrowState.OPEN and soon < offer.terms.starts_at
        ]
        if running:
            by = self.world.provider if by_provider else self.world.buyer
            self.world.cancel(data.draw(st.sampled_from(running)).terms, by)

    @precondition(lambda self: self.truth.offers)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """The same request is answered with the same quote, whatever became of it."""
        offer = data.draw(st.sampled_from(self.truth.offers))
        answer = self._send("POST", "/quotes", offer.request)
        assert answer.status_code == 200, answer.text
        assert offer.signed in wire.SignedQuotes.model_validate(answer.json()).items
        kept = wire.SignedQuote.model_validate(self.world.get(f"/quotes/{offer.signed.id}"))
        assert kept == offer.signed

    # What time and the chain do

    @rule(seconds=st.sampled_from([1, 5, 21, 90]))
    def wait(self, seconds: int) -> None:
        self._wait(seconds)

    @rule()
    def follow(self) -> None:
        self.coordinator.follow()
        self._look_at_the_chain()

    @rule()
    def settle(self) -> None:
        self.coordinator.settle()
        # Its last pass may have sent something, as the chain's clock went on meanwhile.
        self.world.node.drain()
        self.follow()

    @rule(depth=st.integers(1, 6))
    def reorg(self, depth: int) -> None:
        """The newest blocks and all that was in them never happened; time goes on."""
        before, height = self._now, self.world.node.web3.eth.block_number
        if depth <= height - self._first_block:
            self.world.node.call("anvil_reorg", depth, [])
            self.world.node.mine(at=before + 1)

    @rule()
    def rebuild(self) -> None:
        """What was followed follows from the chain alone, but for what reorgs made it refuse."""
        self.follow()
        database, settings = self.world.context.database, self.world.context.settings
        before = projected(database)
        rebuilt = rebuild_projection(database, self.world.escrow, settings)
        if not any(offer.refused for offer in self.truth.offers):
            assert rebuilt.changed == 0
            assert projected(database) == before
        self._look_at_the_chain()

    # What must hold

    @invariant()
    def no_gpu_is_promised_twice(self) -> None:
        for one, other in combinations(self.truth.standing(), 2):
            span = (other.signed.gpu_id, other.terms.starts_at, other.terms.ends_at)
            assert not one.overlaps(*span), (one, other)

    @invariant()
    def what_is_reserved_is_what_was_promised(self) -> None:
        with self.world.context.database.read() as session:
            assert chain_time(session) == self.truth.followed
            rows = session.exec(select(Reservation)).all()
        kept = {
            (row.quote_id, row.gpu_id, row.starts_at, row.ends_at, row.held_until)
            for row in rows
            if row.held_until is None or row.held_until > self.truth.followed
        }
        assert kept == {
            (o.signed.id, o.signed.gpu_id, o.terms.starts_at, o.terms.ends_at, o.held_until)
            for o in self.truth.standing()
        }

    def _request(self, lead: int, lasts: int, **wish: Any) -> wire.SignedQuoteRequest:
        fields = {
            "gpu_id": "",
            "duration": lasts,
            "starts_at": self._now + self.world.context.settings.quote_seconds + lead,
            "salt": next(self.world.salts) * MOST_GPUS,
            "max_price": 100 * COIN,
            "signed_at": self._now,
        }
        return quote_request(self.world.buyer, **(fields | wish))

    def _quote(self, signed: wire.SignedQuoteRequest, suits: list[Card], *refusals: str) -> None:
        """All that is asked for is held, exactly if so many of what suits are free; or nothing."""
        request = signed.request
        span = (request.starts_at, request.starts_at + request.duration)
        free = [card.gpu_id for card in suits if self.truth.is_free(card.gpu_id, *span)]
        answer = self._send("POST", "/quotes", signed)
        if len(free) < request.count:
            assert answer.status_code == 409, answer.text
            assert answer.json()["code"] in refusals
            return
        assert answer.status_code == 201, answer.text
        quotes = wire.SignedQuotes.model_validate(answer.json()).items
        verify_quotes(self.world.context.market, request, quotes)
        assert {quote.gpu_id for quote in quotes} <= set(free)
        self.truth.offers += [Offer(quote, signed) for quote in quotes]

    def _look_at_the_chain(self) -> None:
        """What is confirmed now: all that happened, as only empty blocks came after it."""
        web3, settings = self.world.node.web3, self.world.context.settings
        confirmed = web3.eth.block_number - settings.confirmations
        self.truth.followed = web3.eth.get_block(confirmed)["timestamp"]
        for offer in self.truth.offers:
            if self._state(offer) is EscrowState.OPEN:
                offer.closed = False
                offer.taken = not self._is_refused(offer)
            elif self._funded(offer):
                offer.closed, offer.taken = True, False
            else:
                offer.taken = False
                offer.closed = offer.closed and not self._is_held_again(offer)

    def _is_refused(self, offer: Offer) -> bool:
        """Only while somebody else has the GPU may a booking come to be refused."""
        with self.world.context.database.read() as session:
            booking = repository.find_booking(session, offer.signed.booking_id)
        assert booking is not None
        if booking.refused and not offer.refused:
            terms, others = offer.terms, [o for o in self.truth.standing() if o is not offer]
            span = (offer.signed.gpu_id, terms.starts_at, terms.ends_at)
            assert any(other.overlaps(*span) for other in others)
        offer.refused = booking.refused
        return booking.refused

    def _is_held_again(self, offer: Offer) -> bool:
        """Of several that a reorg opens again, the coordinator says which gets its hold back."""
        with self.world.context.database.read() as session:
            return bool(market.reserved(session, [offer.signed.id]))

    def _state(self, offer: Offer) -> EscrowState:
        return self.world.escrow.slot(offer.signed.booking_id).state

    def _funded(self, offer: Offer) -> bool:
        first = self.world.context.settings.deploy_block
        return self.world.escrow.funded_event(offer.signed.booking_id, first) is not None

    @property
    def _now(self) -> int:
        return self.world.context.now()

    def _wait(self, seconds: int) -> None:
        self.world.node.mine(at=self._now + seconds)

    def _listing(self, salt: int, **changes: Any) -> wire.SignedListing:
        fields = {"salt": salt, "name": f"GPU-{salt}", **PRICES}
        return listing(self.world.provider, **(fields | changes))

    def _send(self, method: str, path: str, body: wire.Wire) -> httpx.Response:
        return self.world.client.request(method, "/v1" + path, json=body.model_dump(mode="json"))
