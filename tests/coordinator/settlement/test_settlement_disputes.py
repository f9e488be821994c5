"""Disputed bookings on a real node: the meter stops, and the relayer claims what was delivered."""

import pytest
from escrow_world import Coordinator, World
from hexbytes import HexBytes
from settling import finish

from aitbc.protocol.messages import Completion, Receipt, Terms
from aitbc.protocol.metering import Evidence
from aitbc.protocol.states import ARBITER_WINDOW, EscrowState, clock_cap
from aitbc_coordinator.market import repository, reservations
from aitbc_coordinator.settlement import outbox
from aitbc_coordinator.settlement.models import AttestationKind, RelayState

CLAIM = AttestationKind.CLAIM


def served(world: World, coordinator: Coordinator, seconds: int = 30) -> Terms:
    """A booking of a minute, its first `seconds` delivered."""
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, seconds)
    return terms


def pass_allowance(world: World, terms: Terms) -> None:
    """Let the time for the last heartbeat before a dispute pass."""
    disputed_at = world.booking(terms).disputed_at
    assert disputed_at is not None
    world.node.mine(at=disputed_at + world.context.settings.heartbeat_allowance + 1)


def stop(world: World, coordinator: Coordinator, terms: Terms) -> int:
    """Dispute now, and let the coordinator know; when the meter stopped."""
    world.dispute(terms)
    coordinator.follow()
    disputed_at = world.booking(terms).disputed_at
    assert disputed_at is not None
    return disputed_at


def is_reserved(world: World, terms: Terms) -> bool:
    """Whether its GPU is kept for a booking."""
    with world.context.database.read() as session:
        quote = reservations.find_quote(session, world.id_of(terms))
        assert quote is not None
        return bool(repository.reserved(session, [quote.id]))


def verbs(world: World) -> list[str]:
    """Of the relayer's transactions."""
    decode = world.escrow.contract.decode_function_input
    return [decode(HexBytes(row.calldata))[0].fn_name for row in world.transactions()]


def test_the_relayer_claims_what_was_delivered_and_the_arbiter_divides_the_rest(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator)
    stopped = stop(world, coordinator, terms)
    disputed = world.booking(terms)
    assert (disputed.status, disputed.disputed_at) == ("disputed", stopped)
    assert stopped == terms.starts_at + 31
    coordinator.settler.step()
    assert world.transactions() == []

    pass_allowance(world, terms)
    coordinator.follow()
    coordinator.settler.step()
    (claim,) = world.transactions()
    assert world.booking(terms).settlement_tx == claim.tx_hash
    finish(world)
    (claim,) = world.transactions()
    assert claim.state == RelayState.FINAL
    assert world.attestation(terms, CLAIM).settled
    paid = world.booking(terms)
    assert (paid.status, paid.settlement_tx) == ("disputed", None)
    assert paid.paid + paid.fee == paid.earned == terms.amount // 2
    assert [seen.event for seen in paid.transactions] == ["Funded", "Disputed", "Claimed"]
    world.check_conservation(terms)

    world.node.mine(at=stopped + world.context.market.claim_window)
    world.resolve(terms, terms.amount * 3 // 4)
    coordinator.follow()
    resolved = world.booking(terms)
    assert resolved.status == "resolved"
    assert resolved.paid + resolved.fee == terms.amount * 3 // 4
    world.check_conservation(terms)


def test_what_was_taken_for_time_after_the_dispute_earns_nothing(
    world: World, coordinator: Coordinator
) -> None:
    """The coordinator hears of a dispute some blocks late."""
    terms = served(world, coordinator, 20)
    world.dispute(terms, at=terms.starts_at + 25)
    late = world.heartbeat(terms, 7, terms.starts_at + 20, terms.starts_at + 40)
    world.node.mine(at=terms.starts_at + 40)
    ahead = world.post("/heartbeats", late)
    assert int(ahead["receipt"]["receipt"]["earned"]) > clock_cap(terms, terms.starts_at + 25)

    coordinator.follow()
    pass_allowance(world, terms)
    coordinator.follow()
    coordinator.settle()
    booking = world.booking(terms)
    assert (booking.status, booking.used_seconds) == ("disputed", 25)
    assert booking.paid + booking.fee == booking.earned == terms.amount * 25 // 60
    assert booking.earned <= clock_cap(terms, terms.starts_at + 25)

    final = world.get(f"/bookings/{booking.id}/receipt")
    receipt = Receipt.model_validate(final["receipt"])
    assert receipt.earned == booking.earned
    assert receipt.signer(world.escrow.domain, final["signature"]) == world.context.market.attester
    evidence = Evidence.model_validate(world.get(f"/bookings/{booking.id}/evidence"))
    assert (evidence.metered_until, evidence.used_seconds) == (terms.starts_at + 25, 25)
    assert evidence.earned == booking.earned


def test_after_a_dispute_time_before_it_is_still_taken_until_the_final_receipt(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator, 20)
    world.node.mine(at=terms.starts_at + 29)
    stopped = stop(world, coordinator, terms)
    begin = terms.starts_at + 20

    refused = world.post("/heartbeats", world.heartbeat(terms, 7, begin, stopped + 1), 409)
    assert refused["code"] == "booking-disputed"
    assert str(stopped) in refused["detail"]
    assert world.booking(terms).used_seconds == 20
    taken = world.post("/heartbeats", world.heartbeat(terms, 7, begin, stopped))
    assert (taken["serve"], taken["used_seconds"]) == (False, stopped - terms.starts_at)
    assert int(taken["receipt"]["receipt"]["earned"]) == clock_cap(terms, stopped)

    pass_allowance(world, terms)
    coordinator.follow()
    coordinator.settler.attest()
    final = world.heartbeat(terms, 8, begin, stopped)
    assert world.post("/heartbeats", final, 409)["code"] == "booking-closed"


def test_a_late_heartbeat_adds_nothing_for_time_after_the_dispute(
    world: World, coordinator: Coordinator
) -> None:
    """What was taken for time after a dispute must not fill gaps before it."""
    terms = served(world, coordinator, 10)
    world.dispute(terms, at=terms.starts_at + 25)
    world.node.mine(at=terms.starts_at + 40)
    world.post("/heartbeats", world.heartbeat(terms, 7, terms.starts_at + 22, terms.starts_at + 40))
    coordinator.follow()
    late = world.heartbeat(terms, 8, terms.starts_at + 20, terms.starts_at + 25)
    answer = world.post("/heartbeats", late)
    assert answer["used_seconds"] == 15
    assert int(answer["receipt"]["receipt"]["earned"]) == terms.amount * 15 // 60


def test_no_completion_is_made_for_a_disputed_booking(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator)
    stop(world, coordinator, terms)
    world.pass_allowance(terms)
    coordinator.follow()
    finish(world)
    with world.context.database.read() as session:
        assert outbox.find_attestation(session, world.id_of(terms)) is None
    assert verbs(world) == ["claim"]


@pytest.mark.parametrize("together", [True, False])
def test_a_completion_that_a_dispute_overtakes_poisons_no_batch(
    world: World, coordinator: Coordinator, together: bool
) -> None:
    """Only a refusal is signed before a booking's end."""
    offered = world.quote()
    overtaken, other = (offered.model_copy(update={"salt": salt}) for salt in (71, 72))
    world.fund(overtaken)
    if together:
        world.fund(other)
    coordinator.follow()
    world.node.mine(at=offered.starts_at)
    coordinator.settler.attest()
    world.dispute(overtaken)
    coordinator.settler.settle()
    assert len(world.transactions()) == 1
    coordinator.settle()
    assert world.escrow.slot(world.id_of(overtaken)).state is EscrowState.DISPUTED
    if together:
        assert world.booking(other).status == "settled"

    finish(world)
    assert world.booking(overtaken).status == "disputed"
    assert len(world.transactions()) == 1
    assert coordinator.settler.stuck() == []
    assert world.attestation(overtaken, CLAIM).settled


@pytest.mark.parametrize("claim_first", [True, False])
def test_a_claim_goes_beside_a_settlement_and_never_with_it(
    world: World, coordinator: Coordinator, claim_first: bool
) -> None:
    settled = world.quote()
    world.fund(settled)
    contested = world.quote(starts_at=settled.ends_at)
    world.fund(contested)
    world.pass_allowance(settled)
    coordinator.follow()
    if not claim_first:
        coordinator.settler.attest()
    world.deliver(contested, 25)
    stop(world, coordinator, contested)
    pass_allowance(world, contested)
    coordinator.follow()
    coordinator.settler.attest()
    if claim_first:
        with world.context.database.session() as session:
            # As when the completion had been made later.
            outbox.find_attestation(session, world.id_of(settled)).id = 99  # type: ignore[union-attr]
    coordinator.settler.settle()
    assert verbs(world) == (["claim", "settleEach"] if claim_first else ["settleEach", "claim"])
    finish(world)
    assert world.booking(settled).status == "settled"
    assert world.attestation(contested, CLAIM).settled
    assert world.booking(contested).paid > 0
    world.check_conservation(settled, contested)


def test_what_the_provider_claimed_already_is_not_sent(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator)
    answer = world.get(f"/bookings/{world.id_of(terms)}/receipt")
    earned = int(answer["receipt"]["earned"])
    claim = world.escrow.functions.claim(terms.abi_values(), earned, answer["signature"])
    stop(world, coordinator, terms)
    world.node.send(world.provider, claim)
    pass_allowance(world, terms)
    coordinator.follow()
    coordinator.settler.attest()
    coordinator.settler.reconcile()
    coordinator.settler.settle()
    assert world.transactions() == []
    assert world.attestation(terms, CLAIM).settled
    world.check_conservation(terms)


def test_a_claim_that_cannot_be_made_is_isolated(world: World, coordinator: Coordinator) -> None:
    poisoned = served(world, coordinator)
    stop(world, coordinator, poisoned)
    healthy = world.quote(starts_at=poisoned.ends_at)
    world.fund(healthy)
    world.pass_allowance(healthy)
    coordinator.follow()
    coordinator.settler.attest()
    with world.context.database.session() as session:
        # More than the clock allows: the contract refuses it, every time.
        row = outbox.find_attestation(session, world.id_of(poisoned), CLAIM)
        assert row is not None
        row.earned = poisoned.amount
    for _ in range(4):
        coordinator.settle()
    assert world.booking(healthy).status == "settled"
    assert world.booking(poisoned).status == "disputed"
    assert coordinator.settler.stuck() == [world.booking(poisoned).short_id]


def test_a_disputed_booking_past_its_claim_window_is_left_to_the_arbiter_then_to_reclaim(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator)
    stopped = stop(world, coordinator, terms)
    opens = stopped + world.context.market.claim_window
    world.node.mine(at=opens)
    coordinator.follow()
    finish(world)
    assert world.transactions() == []
    evidence = world.client.get(f"/v1/bookings/{world.id_of(terms)}/evidence")
    assert evidence.json()["code"] == "no-evidence"

    confirmations = world.context.settings.confirmations
    world.node.mine(at=opens + ARBITER_WINDOW - 1 - confirmations)
    coordinator.follow()
    assert coordinator.settler.left_to_reclaim() == []
    world.node.mine(at=opens + ARBITER_WINDOW)
    coordinator.follow()
    assert coordinator.settler.left_to_reclaim() == [world.booking(terms).short_id]
    world.node.send(world.buyer, world.escrow.functions.reclaim(terms.abi_values()))
    coordinator.follow()
    assert world.booking(terms).status == "reclaimed"
    assert coordinator.settler.left_to_reclaim() == []
    world.check_conservation(terms)


def test_a_dispute_frees_the_gpu(world: World, coordinator: Coordinator) -> None:
    terms = served(world, coordinator, 10)
    stop(world, coordinator, terms)
    again = world.quote(duration=10)
    assert again.starts_at < terms.ends_at


def test_a_dispute_that_a_deep_reorg_takes_back_is_forgotten(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator, 20)
    stopped = stop(world, coordinator, terms)
    pass_allowance(world, terms)
    coordinator.follow()
    coordinator.settler.attest()
    assert world.attestation(terms, CLAIM).earned == terms.amount * 20 // 60
    assert not is_reserved(world, terms)

    blocks = world.node.web3.eth.block_number
    depth = next(
        blocks - number + 1
        for number in range(blocks, 0, -1)
        if world.node.web3.eth.get_block(number)["timestamp"] == stopped
    )
    world.node.call("anvil_reorg", depth, [])
    coordinator.follow()
    again = world.booking(terms)
    assert (again.status in {"active", "ended"}, again.disputed_at) == (True, None)
    assert is_reserved(world, terms)
    with world.context.database.read() as session:
        assert outbox.find_attestation(session, world.id_of(terms), CLAIM) is None

    world.pass_allowance(terms)
    coordinator.follow()
    finish(world)
    settled = world.booking(terms)
    assert (settled.status, settled.earned) == ("settled", terms.amount * 20 // 60)
    world.check_conservation(terms)


def test_a_completion_signs_nothing_that_a_receipt_can_stand_for(
    world: World, coordinator: Coordinator
) -> None:
    terms = served(world, coordinator)
    stop(world, coordinator, terms)
    pass_allowance(world, terms)
    coordinator.follow()
    coordinator.settler.attest()
    row = world.attestation(terms, CLAIM)
    completion = Completion(
        booking_id=row.booking_id, earned=row.earned, evidence=row.evidence_digest
    )
    attester = world.context.market.attester
    assert completion.signer(world.escrow.domain, row.signature) != attester
    receipt = Receipt(booking_id=row.booking_id, earned=row.earned)
    assert receipt.signer(world.escrow.domain, row.signature) == attester
