"""The attester signs outside the database's transactions: what changes meanwhile is not written."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from escrow_world import HEARTBEAT_SECONDS, World
from settling import attestations, check_settled_once, finish
from signed import Wallet

from aitbc.protocol.messages import Completion, Message, SigningDomain, Terms
from aitbc.signing import Signer
from aitbc_coordinator.context import Attester
from aitbc_coordinator.settlement import repository
from aitbc_coordinator.settlement.models import AttestationKind

PATIENCE_SECONDS = 20


class Slow:
    """The attester's signer; while it signs a completion for the first time, something happens."""

    def __init__(self, signer: Signer, act: Callable[[], Any]) -> None:
        self.address = signer.address
        self._signer = signer
        self._act: Callable[[], Any] | None = act

    def sign(self, message: Message, domain: SigningDomain) -> str:
        if isinstance(message, Completion) and self._act is not None:
            act, self._act = self._act, None
            # In a thread of its own: what waits for this one would wait for ever.
            done = threading.Thread(target=act, daemon=True)
            done.start()
            done.join(PATIENCE_SECONDS)
            assert not done.is_alive(), "the database waits for the signer"
        return self._signer.sign(message, domain)


def while_signing(world: World, act: Callable[[], Any]) -> World:
    """The same world, with an attester during whose first signature something happens."""
    attester = world.context.attester
    assert isinstance(attester.signer, Signer)
    slow = Attester(Slow(attester.signer, act), attester.market)
    return replace(world, context=replace(world.context, attester=slow))


@pytest.fixture
def half_delivered(world: World) -> Terms:
    """A booking that is still open to a last heartbeat, and counts as due by the chain."""
    terms = world.quote(duration=60)
    world.fund(terms)
    world.restart().follow()
    world.deliver(terms, 30)
    world.node.mine(at=terms.ends_at + 20)
    world.restart().follow()
    with world.context.database.session() as session:
        cursor = repository.cursor(session)
        assert cursor is not None
        cursor.block_timestamp = terms.ends_at + world.context.settings.heartbeat_allowance + 1
    return terms


def beat(world: World, terms: Terms) -> None:
    begin = terms.ends_at - HEARTBEAT_SECONDS
    world.post("/heartbeats", world.heartbeat(terms, 9, begin, terms.ends_at))


def test_a_heartbeat_that_comes_meanwhile_is_in_the_evidence(
    world: World, half_delivered: Terms
) -> None:
    terms = half_delivered
    slow = while_signing(world, lambda: beat(world, terms))
    slow.restart().settler.attest()
    assert attestations(world) == []
    receipt = world.get(f"/bookings/{world.id_of(terms)}/receipt")
    assert int(receipt["receipt"]["earned"]) == terms.amount
    slow.restart().settler.attest()
    assert world.attestation(terms).used_seconds == 60
    finish(world)
    assert world.booking(terms).status == "settled"
    world.check_conservation(terms)


def test_a_booking_that_is_closed_meanwhile_is_not_attested(
    world: World, half_delivered: Terms
) -> None:
    terms = half_delivered

    def cancel() -> None:
        world.cancel(terms, by=world.provider)
        world.restart().follow()

    while_signing(world, cancel).restart().settler.attest()
    assert attestations(world) == []


def test_a_booking_that_is_disputed_meanwhile_gets_a_receipt_instead(world: World) -> None:
    terms = world.quote(duration=60)
    world.fund(terms)
    world.restart().follow()
    world.deliver(terms, 30)
    with world.context.database.session() as session:
        cursor = repository.cursor(session)
        assert cursor is not None
        cursor.block_timestamp = terms.ends_at + world.context.settings.heartbeat_allowance + 1

    def dispute() -> None:
        world.dispute(terms)
        world.restart().follow()

    while_signing(world, dispute).restart().settler.attest()
    assert attestations(world) == []
    disputed_at = world.booking(terms).disputed_at
    assert disputed_at is not None
    world.node.mine(at=disputed_at + world.context.settings.heartbeat_allowance + 1)
    world.restart().follow()
    world.restart().settler.attest()
    assert [row.kind for row in attestations(world)] == [AttestationKind.CLAIM]


def test_one_completion_is_written_whoever_else_attests(
    world: World, half_delivered: Terms
) -> None:
    other = world.restart()
    slow = while_signing(world, other.settler.attest)
    assert slow.restart().settler.attest() is None
    [row] = attestations(world)
    finish(world)
    check_settled_once(world, half_delivered)
    message = Completion(booking_id=row.booking_id, earned=row.earned, evidence=row.evidence_digest)
    signer = message.signer(world.context.market.domain, row.signature)
    assert signer == world.context.market.attester


def test_what_has_not_changed_is_written_beside_what_has(world: World) -> None:
    first, second = world.quote(), None
    world.fund(first)
    second = world.quote(starts_at=first.ends_at)
    world.fund(second)
    world.pass_allowance(second)
    world.restart().follow()

    def cancel() -> None:
        world.cancel(second, by=world.provider)
        world.restart().follow()

    while_signing(world, cancel).restart().settler.attest()
    assert [row.booking_id for row in attestations(world)] == [world.id_of(first)]


def test_a_wallet_that_grants_meanwhile_changes_nothing(
    world: World, half_delivered: Terms
) -> None:
    assert isinstance(world.session_key, Wallet)
    while_signing(world, world.grant).restart().settler.attest()
    assert world.attestation(half_delivered).used_seconds == 30
