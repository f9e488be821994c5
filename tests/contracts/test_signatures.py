"""Whose signatures count, over what, and where."""

from collections.abc import Callable
from typing import Any

import pytest
from ape.contracts import ContractInstance
from market import AMOUNT, EVIDENCE, NONE, Market, reverts

from aitbc.protocol.messages import Domain, Message, SettleEach, SettleMany

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
EVIDENCE_BYTES = bytes.fromhex(EVIDENCE[2:])


def ended(market: Market, **changes: object) -> Any:
    terms = market.funded(**changes)
    market.at(terms.ends_at)
    return terms


def settle(market: Market, terms: Any, earned: int, signature: bytes) -> Any:
    """Settles as a stranger who holds a signature."""
    return market.escrow.settle(
        terms.abi_values(), earned, EVIDENCE_BYTES, signature, sender=market.actors.stranger
    )


def settle_many(market: Market, batch: list[Any], signature: bytes) -> Any:
    ids = [market.id_of(terms) for terms in batch]
    return market.escrow.settleMany(ids, signature, sender=market.actors.stranger)


def settle_each(market: Market, batch: list[tuple[Any, int]], signature: bytes) -> Any:
    completions = [(terms.abi_values(), earned, EVIDENCE_BYTES) for terms, earned in batch]
    return market.escrow.settleEach(completions, signature, sender=market.actors.stranger)


def invalid(market: Market, message: Message) -> Any:
    return reverts("Escrow_InvalidSignature", digest=message.digest(market.domain))


# Whose


def test_anyone_may_bring_the_attesters_completion(market: Market) -> None:
    terms = ended(market)
    signature = market.sign(market.completion(terms, AMOUNT), market.actors.attester)

    settle(market, terms, AMOUNT, signature)

    assert market.state(terms) == NONE


def test_the_attester_itself_needs_no_signature(market: Market) -> None:
    terms = ended(market)

    market.escrow.settle(
        terms.abi_values(), AMOUNT, EVIDENCE_BYTES, b"junk", sender=market.actors.attester
    )

    assert market.state(terms) == NONE


@pytest.mark.parametrize("signer", ["buyer", "provider", "arbiter", "fee_recipient", "stranger"])
def test_nobody_else_completes(market: Market, signer: str) -> None:
    terms = ended(market)
    completion = market.completion(terms, AMOUNT)

    with invalid(market, completion):
        settle(market, terms, AMOUNT, market.sign(completion, getattr(market.actors, signer)))


@pytest.mark.parametrize("signer", ["provider", "arbiter", "other_buyer", "stranger"])
def test_only_attester_and_buyer_give_receipts(market: Market, signer: str) -> None:
    terms = ended(market)

    with invalid(market, market.receipt(terms, 1)):
        market.claim(terms, 1, getattr(market.actors, signer))


def test_anyone_may_bring_the_attesters_batch(market: Market) -> None:
    first, second = market.funded(), ended(market)
    ids = tuple(t.booking_id(market.domain) for t in (first, second))
    signature = market.sign(SettleMany(booking_ids=ids), market.actors.attester)

    settle_many(market, [first, second], signature)

    assert [market.state(t) for t in (first, second)] == [NONE, NONE]


def test_anyone_may_bring_the_attesters_completions(market: Market) -> None:
    first, second = market.funded(), ended(market)
    completions = (market.completion(first, 5), market.completion(second, AMOUNT))
    signature = market.sign(SettleEach(completions=completions), market.actors.attester)

    settle_each(market, [(first, 5), (second, AMOUNT)], signature)

    assert [market.state(t) for t in (first, second)] == [NONE, NONE]


# Over what


def test_a_receipt_does_not_complete(market: Market) -> None:
    terms = ended(market)
    receipt = market.sign(market.receipt(terms, 5), market.actors.attester)

    with invalid(market, market.completion(terms, 5)):
        settle(market, terms, 5, receipt)


def test_a_completion_is_no_receipt(market: Market) -> None:
    terms = ended(market)
    completion = market.sign(market.completion(terms, 5), market.actors.attester)

    with invalid(market, market.receipt(terms, 5)):
        market.escrow.claim(terms.abi_values(), 5, completion, sender=market.actors.stranger)


def test_another_amount_or_other_evidence_is_not_signed(market: Market) -> None:
    terms = ended(market)
    signature = market.sign(market.completion(terms, 5), market.actors.attester)
    other = market.sign(market.completion(terms, 5, "0x" + "e2" * 32), market.actors.attester)

    with invalid(market, market.completion(terms, 6)):
        settle(market, terms, 6, signature)
    with invalid(market, market.completion(terms, 5)):
        settle(market, terms, 5, other)


def test_another_booking_is_not_signed(market: Market) -> None:
    first, second = market.funded(), ended(market)
    signature = market.sign(market.completion(first, AMOUNT), market.actors.attester)

    with invalid(market, market.completion(second, AMOUNT)):
        settle(market, second, AMOUNT, signature)


def test_a_longer_batch_is_not_signed(market: Market) -> None:
    first, second = market.funded(), ended(market)
    ids = tuple(t.booking_id(market.domain) for t in (first, second))
    signature = market.sign(SettleMany(booking_ids=ids[:1]), market.actors.attester)

    with invalid(market, SettleMany(booking_ids=ids)):
        settle_many(market, [first, second], signature)


def test_altered_completions_are_not_signed(market: Market) -> None:
    terms = ended(market)
    signed = SettleEach(completions=(market.completion(terms, 5),))
    sent = SettleEach(completions=(market.completion(terms, 6),))

    with invalid(market, sent):
        settle_each(market, [(terms, 6)], market.sign(signed, market.actors.attester))


# Where


@pytest.mark.parametrize("change", [{"chain_id": 1}, {"escrow": "0x" + "55" * 20}], ids=str)
def test_another_domain_is_not_signed(market: Market, change: dict[str, Any]) -> None:
    terms = ended(market)
    elsewhere = Domain(**market.domain.model_dump() | change)
    completion = market.completion(terms, AMOUNT)

    with invalid(market, completion):
        signature = market.sign(completion, market.actors.attester, elsewhere)
        settle(market, terms, AMOUNT, signature)


# In which form


def test_a_malleated_signature_is_refused(market: Market) -> None:
    terms = ended(market)
    completion = market.completion(terms, AMOUNT)
    good = market.sign(completion, market.actors.attester)
    high_s = CURVE_ORDER - int.from_bytes(good[32:64], "big")
    malleated = good[:32] + high_s.to_bytes(32, "big") + bytes([55 - good[64]])

    with invalid(market, completion):
        settle(market, terms, AMOUNT, malleated)


@pytest.mark.parametrize(
    "signature", [b"", b"\x00" * 65, b"\x01" * 64, b"\x00" * 64 + b"\x1d"], ids=len
)
def test_a_malformed_signature_is_refused(market: Market, signature: bytes) -> None:
    terms = ended(market)

    with invalid(market, market.completion(terms, AMOUNT)):
        settle(market, terms, AMOUNT, signature)


# By contract wallets


def test_a_contract_wallet_attests(
    make_market: Callable[..., Market], wallet: ContractInstance, token_deployment: Market
) -> None:
    owner = token_deployment.actors.stranger
    market = make_market(token_deployment.token, attester=wallet.address)
    terms = ended(market)
    completion = market.completion(terms, AMOUNT)

    with invalid(market, completion):
        settle(market, terms, AMOUNT, market.sign(completion, market.actors.attester))
    settle(market, terms, AMOUNT, market.sign(completion, owner))

    assert market.state(terms) == NONE
    market.check_books()


def test_a_contract_wallet_gives_and_revokes_receipts(
    native_market: Market, wallet: ContractInstance
) -> None:
    market, owner = native_market, native_market.actors.stranger
    terms = market.terms(buyer=wallet.address)
    fund = market.escrow.fund.encode_input(terms.abi_values())
    wallet.execute(market.escrow, AMOUNT, fund, sender=owner)
    market.bookings.append(terms)

    market.claim(terms, 1_000, owner)
    assert market.remaining(terms) == AMOUNT - 1_000

    wallet.revokeSignatures(sender=owner)
    with invalid(market, market.receipt(terms, 2_000)):
        market.claim(terms, 2_000, owner)
