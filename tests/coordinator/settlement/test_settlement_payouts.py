"""From funding to payout on a real node, with every wei accounted for."""

import pytest
from escrow_world import FEE_RECIPIENT, Coordinator, World, event_names
from pydantic import ValidationError

from aitbc.protocol.messages import Completion, Receipt
from aitbc.protocol.metering import Evidence
from aitbc_coordinator.settlement import attestations, models, outbox
from aitbc_coordinator.settlement.models import RelayState


def test_a_booking_delivered_whole_is_paid_in_full(world: World, coordinator: Coordinator) -> None:
    terms = world.quote()
    funding = world.fund(terms)
    coordinator.follow()
    booking = world.booking(terms)
    assert (booking.status, booking.gpu_id) == ("funded", world.gpu_id)
    assert booking.transactions[0].tx_hash == funding["transactionHash"].to_0x_hex()

    world.deliver(terms, terms.ends_at - terms.starts_at)
    assert world.booking(terms).status == "ended"
    world.pass_allowance(terms)
    coordinator.follow()
    coordinator.settler.step()
    sent = world.booking(terms)
    assert sent.status == "settling"
    assert sent.settlement_tx == world.transactions()[0].tx_hash

    world.node.drain()
    coordinator.follow()
    coordinator.settler.step()
    settled = world.booking(terms)
    assert (settled.status, settled.settlement_tx) == ("settled", None)
    assert [reference.event for reference in settled.transactions] == ["Funded", "SettledInFull"]
    assert settled.transactions[1].tx_hash == sent.settlement_tx
    assert settled.paid + settled.fee == terms.amount == settled.earned
    assert settled.fee == terms.amount // 100
    assert [row.state for row in world.transactions()] == [RelayState.FINAL]
    world.check_conservation(terms)

    earnings = world.get(f"/gpus/{world.gpu_id}/earnings")
    assert earnings["paid"] == str(settled.paid)
    assert (earnings["settled"], earnings["pending"]) == (1, "0")
    assert earnings["delivered_seconds"] == earnings["booked_seconds"] == 60


def test_a_booking_delivered_in_part_is_split_and_its_evidence_is_on_the_chain(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote(duration=90)
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 40)
    world.pass_allowance(terms)
    coordinator.follow()
    coordinator.settle()

    booking = world.booking(terms)
    assert (booking.status, booking.used_seconds) == ("settled", 40)
    assert booking.earned == terms.amount * 40 // 90
    assert booking.paid + booking.fee == booking.earned
    assert booking.refunded == terms.amount - booking.earned
    world.check_conservation(terms)

    evidence = Evidence.model_validate(world.get(f"/bookings/{booking.short_id}/evidence"))
    events = world.escrow.events(0, world.node.web3.eth.block_number)
    assert events[-1].evidence == evidence.digest()  # type: ignore[attr-defined]
    completion = Completion(
        booking_id=booking.id, earned=booking.earned, evidence=evidence.digest()
    )
    signer = completion.signer(world.escrow.domain, world.attestation(terms).signature)
    assert signer == world.context.market.attester
    receipt = world.get(f"/bookings/{booking.id}/receipt")
    assert int(receipt["receipt"]["earned"]) == booking.earned


def test_a_booking_without_delivery_is_refunded(world: World, coordinator: Coordinator) -> None:
    terms = world.quote()
    world.fund(terms)
    world.pass_allowance(terms)
    coordinator.follow()
    coordinator.settle()
    booking = world.booking(terms)
    assert (booking.status, booking.paid, booking.refunded) == ("settled", 0, terms.amount)
    world.check_conservation(terms)


def test_a_provider_claims_with_a_receipt_and_settlement_pays_the_rest(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 30)
    answer = world.get(f"/bookings/{world.id_of(terms)}/receipt")
    claim = world.escrow.functions.claim(
        terms.abi_values(), int(answer["receipt"]["earned"]), answer["signature"]
    )
    world.node.send(world.provider, claim)
    assert world.escrow.slot(world.id_of(terms)).remaining == terms.amount - terms.amount // 2
    coordinator.follow()
    assert world.booking(terms).paid > 0
    world.node.mine(at=terms.starts_at + 60)
    world.post("/heartbeats", world.heartbeat(terms, 7, terms.starts_at + 30, terms.ends_at))
    world.pass_allowance(terms)
    coordinator.follow()
    coordinator.settle()
    booking = world.booking(terms)
    assert booking.paid + booking.fee == terms.amount
    world.check_conservation(terms)


def test_what_was_cancelled_before_its_end_is_neither_attested_nor_sent(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.cancel(terms, by=world.provider)
    coordinator.follow()
    world.pass_allowance(terms)
    coordinator.follow()
    coordinator.settle()
    assert world.booking(terms).status == "cancelled"
    assert world.transactions() == []
    world.check_conservation(terms)


def test_a_cancelled_booking_frees_its_gpu(world: World, coordinator: Coordinator) -> None:
    terms = world.quote(starts_at=world.context.now() + 1000)
    world.fund(terms)
    coordinator.follow()
    world.cancel(terms, by=world.buyer)
    coordinator.follow()
    again = world.quote(starts_at=terms.starts_at)
    assert again.starts_at == terms.starts_at


def test_terms_that_were_never_offered_are_refused_and_refunded_at_once(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote().model_copy(update={"amount": 1})
    world.fund(terms)
    coordinator.follow()
    assert world.booking(terms).status == "refused"
    coordinator.settle()
    booking = world.booking(terms)
    assert (booking.status, booking.refunded, booking.gpu_id) == ("settled", 1, None)
    assert world.context.now() < terms.ends_at
    world.check_conservation(terms)


def test_payouts_go_before_refusals_and_never_with_them(
    world: World, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = world.quote()
    dust = terms.model_copy(update={"amount": 1, "ends_at": terms.ends_at - 1})
    for funded in (dust, terms):
        world.fund(funded)
    world.pass_allowance(terms)
    coordinator.follow()
    with monkeypatch.context() as patch:
        patch.setattr(attestations, "BOOKINGS_PER_PASS", 1)
        coordinator.settler.attest()
    assert not world.attestation(terms).refused
    coordinator.settler.attest()
    with world.context.database.session() as session:
        # As when the refusal had waited for longer.
        outbox.find_attestation(session, world.id_of(dust)).id = 0  # type: ignore[union-attr]
    assert world.attestation(dust).refused
    coordinator.settler.settle()
    batches = [row.batch_id for row in world.transactions()]
    assert batches == [world.attestation(row).batch_id for row in (terms, dust)]
    coordinator.settle()
    assert {world.booking(row).status for row in (terms, dust)} == {"settled"}


def test_a_batch_survives_one_of_its_bookings_being_cancelled_meanwhile(
    world: World, coordinator: Coordinator
) -> None:
    first = world.quote()
    world.fund(first)
    second = world.quote(starts_at=first.ends_at)
    world.fund(second)
    coordinator.follow()
    world.pass_allowance(second)
    coordinator.follow()
    coordinator.settler.attest()
    coordinator.settler.settle()
    assert len(world.transactions()) == 1
    world.cancel(first, by=world.provider)
    coordinator.settle()

    assert world.booking(first).status == "cancelled"
    assert world.booking(second).status == "settled"
    coordinator.settle()
    assert len(world.transactions()) == 1
    assert world.attestation(first).settled
    world.check_conservation(first, second)


def test_full_and_partial_payouts_of_many_bookings_go_in_two_transactions(
    world: World, coordinator: Coordinator
) -> None:
    booked = []
    starts_at = 0
    for delivered in (60, 0, 60, 30, 60):
        terms = world.quote(starts_at=starts_at)
        world.fund(terms)
        booked.append((terms, delivered))
        starts_at = terms.ends_at
    coordinator.follow()
    for terms, delivered in booked:
        world.deliver(terms, delivered)
    world.pass_allowance(booked[-1][0])
    coordinator.follow()
    coordinator.settle()
    verbs = [world.call_of(row)[0] for row in world.transactions()]
    assert sorted(verbs) == ["settleEach", "settleMany"]
    assert [world.booking(terms).earned for terms, _ in booked] == [
        terms.amount * delivered // 60 for terms, delivered in booked
    ]
    assert {world.booking(terms).status for terms, _ in booked} == {"settled"}
    world.check_conservation(*(terms for terms, _ in booked))


def test_a_poisoned_booking_is_isolated_and_given_up_after_three_attempts(
    world: World, coordinator: Coordinator
) -> None:
    poisoned = world.quote()
    world.fund(poisoned)
    healthy = world.quote(starts_at=poisoned.ends_at)
    world.fund(healthy)
    world.pass_allowance(healthy)
    coordinator.follow()
    coordinator.settler.attest()
    with world.context.database.session() as session:
        # More than the clock allows: the contract skips it, every time.
        outbox.find_attestation(session, world.id_of(poisoned)).earned = poisoned.amount + 1  # type: ignore[union-attr]
    for _ in range(6):
        coordinator.settle()
    assert world.booking(healthy).status == "settled"
    assert world.booking(poisoned).status == "attested"
    assert world.attestation(poisoned).attempts == 3
    assert len(world.transactions()) == 3
    assert coordinator.settler.stuck() == [world.booking(poisoned).short_id]


def test_a_booking_that_cannot_be_attested_keeps_no_other_from_it(
    world: World, coordinator: Coordinator
) -> None:
    first = world.quote()
    booked = [first, world.quote(starts_at=first.ends_at)]
    for terms in booked:
        world.fund(terms)
    coordinator.follow()
    for terms in booked:
        world.deliver(terms, 30)
    world.pass_allowance(booked[-1])
    coordinator.follow()
    broken, healthy = booked
    with world.context.database.session() as session:
        heartbeat = session.get(models.Heartbeat, (world.id_of(broken), 0))
        assert heartbeat is not None
        payload, heartbeat.payload = heartbeat.payload, "{"

    for _ in range(2):
        with pytest.raises(ValidationError):
            coordinator.settler.step()
        world.node.drain()
        coordinator.follow()
    assert world.booking(healthy).status == "settled"
    assert world.booking(broken).status == "ended"

    with world.context.database.session() as session:
        heartbeat = session.get(models.Heartbeat, (world.id_of(broken), 0))
        assert heartbeat is not None
        heartbeat.payload = payload
    coordinator.settle()
    assert world.booking(broken).status == "settled"
    world.check_conservation(*booked)


def test_a_booking_past_its_claim_window_is_left_to_its_buyer(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    world.fund(terms)
    world.node.mine(at=terms.ends_at + world.context.market.claim_window)
    coordinator.follow()
    coordinator.settle()
    assert world.transactions() == []
    evidence = world.client.get(f"/v1/bookings/{world.id_of(terms)}/evidence")
    assert evidence.json()["code"] == "no-evidence"
    world.node.send(world.buyer, world.escrow.functions.reclaim(terms.abi_values()))
    coordinator.follow()
    assert world.booking(terms).status == "reclaimed"
    world.check_conservation(terms)


@pytest.mark.parametrize("confirm", [True, False])
def test_a_funding_shows_only_once_it_is_confirmed(
    world: World, coordinator: Coordinator, confirm: bool
) -> None:
    terms = world.quote()
    world.fund(terms)
    coordinator.follow(confirm=confirm)
    with world.context.database.read() as session:
        assert event_names(session, world.id_of(terms)) == (["Funded"] if confirm else [])


def test_the_fee_waits_for_its_recipient(world: World, coordinator: Coordinator) -> None:
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.deliver(terms, 60)
    world.pass_allowance(terms)
    coordinator.follow()
    coordinator.settle()
    fee = world.booking(terms).fee
    world.node.send(world.buyer, world.escrow.functions.withdraw(FEE_RECIPIENT, FEE_RECIPIENT))
    coordinator.follow()
    assert world.balance(FEE_RECIPIENT) == fee
    assert world.escrow.balance() == 0


def test_receipts_are_the_attesters_and_never_ahead_of_the_clock(
    world: World, coordinator: Coordinator
) -> None:
    terms = world.quote()
    world.fund(terms)
    coordinator.follow()
    world.grant()
    world.node.mine(at=terms.starts_at + 10)
    ahead = world.heartbeat(terms, 0, terms.starts_at, terms.starts_at + 15)
    answer = world.post("/heartbeats", ahead)
    assert answer["used_seconds"] == 15
    receipt = Receipt.model_validate(answer["receipt"]["receipt"])
    assert receipt.earned == terms.amount * 10 // 60
    signer = receipt.signer(world.escrow.domain, answer["receipt"]["signature"])
    assert signer == world.context.market.attester
