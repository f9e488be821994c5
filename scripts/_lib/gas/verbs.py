"""Each verb once, and the floor's work for the same: what a transaction of it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hexbytes import HexBytes
from web3.contract.contract import Contract

from aitbc.protocol import funding
from aitbc.protocol.messages import Message, Receipt, SettleEach, SettleMany
from aitbc.signing import sign
from gas.chain import Call
from gas.market import CLAIM_WINDOW, Booked, Market


@dataclass(frozen=True)
class Gas:
    """What a transaction used for so many bookings, and the floor for one; None without one."""

    used: int
    floor: int | None = None
    bookings: int = 1

    @property
    def each(self) -> int:
        """For one booking, rounded up."""
        return -(-self.used // self.bookings)

    def __add__(self, other: Gas) -> Gas:
        floors = (self.floor, other.floor)
        return Gas(self.used + other.used, None if None in floors else sum(f or 0 for f in floors))


def fund(market: Market) -> Gas:
    booked = market.booked("fund")
    gas = market.chain.gas
    return Gas(gas(market.fund_call(booked)), gas(market.fund_floor_call(booked)))


def fund_3009(market: Market) -> Gas:
    booked = market.booked("fund_3009")
    message = funding.authorization(booked.terms, market.domain)
    signature = _sign(market, booked, message)
    to_floor = message.model_copy(update={"to": market.floor.address})
    floor = market.floor.functions.fundWithAuthorization(
        booked.id,
        booked.slot(),
        booked.terms.buyer,
        booked.terms.fund_by,
        _sign(market, booked, to_floor),
    )
    # The token takes a nonce once: each is measured as if the other had not been.
    with market.chain.undone():
        least = market.chain.gas(market.relayed(floor))
    fund = market.escrow.functions.fundWithAuthorization(booked.values, signature)
    return Gas(market.chain.gas(market.relayed(fund)), least)


def fund_permit(market: Market) -> Gas:
    first = market.booked("fund_permit first")
    permit = _permit(market, first, market.escrow, nonce=0)
    fund = market.escrow.functions.fundWithPermit
    market.chain.prepare([Call(first.terms.buyer, fund(first.values, *permit))])

    booked = market.book("fund_permit", buyer=first.buyer)
    buyer = booked.terms.buyer
    permit = _permit(market, booked, market.floor, nonce=1)
    floor = market.floor.functions.fundWithPermit(booked.id, booked.slot(), *permit)
    with market.chain.undone():
        least = market.chain.gas(Call(buyer, floor))
    permit = _permit(market, booked, market.escrow, nonce=1)
    return Gas(market.chain.gas(Call(buyer, fund(booked.values, *permit))), least)


def fund_permit2(market: Market) -> Gas:
    booked = market.booked("fund_permit2")
    approve = market.money.contract.functions.approve(funding.PERMIT2, 2**256 - 1)
    market.chain.prepare([Call(booked.terms.buyer, approve)])
    nonce = int.from_bytes(booked.id)
    message = funding.permit2_transfer(
        booked.terms, market.domain, market.money.contract.address, nonce
    )
    signed = sign(booked.buyer, message, funding.permit2_domain(market.chain.id))
    fund = market.escrow.functions.fundWithPermit2(booked.values, nonce, HexBytes(signed))
    return Gas(market.chain.gas(market.relayed(fund)))


def fund_many(market: Market) -> Gas:
    buyer = market.chain.account("buyer of fund_many")
    bookings = [market.book(f"fund_many {i}", buyer=buyer) for i in range(10)]
    market.endow(*bookings)
    fund = market.escrow.functions.fundMany([b.values for b in bookings])
    used = market.chain.gas(Call(buyer.address, fund))
    return Gas(used, market.chain.gas(market.fund_floor_call(bookings[0])), len(bookings))


def settle(market: Market, *, by_attester: bool = False) -> Gas:
    """In full, after the end; the attester sends it, or else a relayer with its signature."""
    booked = _funded(market, "settle")
    market.chain.wait_until(booked.terms.ends_at + 60)
    used = market.chain.gas(market.settle_call(booked, by_attester=by_attester))
    return Gas(used, market.chain.gas(market.settle_floor_call(booked)))


def settle_by_id(market: Market, *, by_attester: bool = False) -> Gas:
    """As `settle`, by a batch of one."""
    booked = _funded(market, "settle_by_id")
    market.chain.wait_until(booked.terms.ends_at + 60)
    used = market.chain.gas(_settle_many_call(market, [booked], by_attester=by_attester))
    return Gas(used, market.chain.gas(market.settle_floor_call(booked)))


def claim(market: Market) -> Gas:
    booked = market.funded("claim")
    terms = booked.terms
    market.chain.wait_until((terms.starts_at + terms.ends_at) // 2 + 60)
    earned = terms.amount // 2
    claim = market.attested(
        lambda signature: market.escrow.functions.claim(booked.values, earned, signature),
        Receipt(booking_id=booked.id.to_0x_hex(), earned=earned),
    )
    return Gas(market.chain.gas(claim))


def cancel(market: Market) -> Gas:
    booked = _funded(market, "cancel", to_buyer=True)
    used = market.chain.gas(Call(booked.terms.buyer, market.escrow.functions.cancel(booked.values)))
    return Gas(used, market.chain.gas(market.settle_floor_call(booked)))


def reclaim(market: Market) -> Gas:
    booked = _funded(market, "reclaim", to_buyer=True)
    market.chain.wait_until(booked.terms.ends_at + CLAIM_WINDOW)
    used = market.chain.gas(market.relayed(market.escrow.functions.reclaim(booked.values)))
    return Gas(used, market.chain.gas(market.settle_floor_call(booked)))


def dispute(market: Market) -> Gas:
    booked = market.funded("dispute")
    market.chain.wait_until(booked.terms.starts_at + 60)
    return Gas(market.chain.gas(_dispute_call(market, booked)))


def resolve(market: Market) -> Gas:
    booked = market.funded("resolve")
    disputed_at = booked.terms.starts_at + 60
    market.chain.wait_until(disputed_at)
    market.chain.prepare([_dispute_call(market, booked)])
    market.chain.wait_until(disputed_at + CLAIM_WINDOW)
    resolve = market.escrow.functions.resolve(booked.values, booked.terms.amount // 2)
    return Gas(market.chain.gas(Call(market.arbiter.address, resolve)))


def withdraw(market: Market) -> Gas:
    account = market.fee_recipient.address
    return Gas(market.chain.gas(market.relayed(market.escrow.functions.withdraw(account, account))))


def settle_many(market: Market, *, providers: int) -> Gas:
    """100 bookings of one buyer, those of one provider side by side."""
    buyer = market.chain.account("buyer of settle_many")
    payees = [market.chain.account(f"provider {i} of settle_many") for i in range(providers)]
    bookings = [
        market.book(f"settle_many {i}", buyer=buyer, provider=payees[i * providers // 100].address)
        for i in range(100)
    ]
    market.endow(*bookings)
    market.fund(*bookings)
    market.fund_floor(bookings[0])
    market.chain.wait_until(bookings[0].terms.ends_at + 60)
    used = market.chain.gas(_settle_many_call(market, bookings))
    floor = market.chain.gas(market.settle_floor_call(bookings[0]))
    return Gas(used, floor, len(bookings))


def settle_each(market: Market) -> Gas:
    bookings = [market.book(f"settle_each {i}") for i in range(100)]
    market.endow(*bookings)
    market.fund(*bookings)
    market.chain.wait_until(bookings[0].terms.ends_at + 60)
    completions = [b.completion(b.terms.amount * 2 // 3) for b in bookings]
    items = [(b.values, c.earned, b.evidence) for b, c in zip(bookings, completions, strict=True)]
    settle = market.attested(
        lambda signature: market.escrow.functions.settleEach(items, signature),
        SettleEach(completions=tuple(completions)),
    )
    return Gas(market.chain.gas(settle), None, len(bookings))


def _funded(market: Market, label: str, *, to_buyer: bool = False) -> Booked:
    """A booking in the escrow and on the floor."""
    booked = market.funded(label)
    market.fund_floor(booked, booked.terms.buyer if to_buyer else None)
    return booked


def _settle_many_call(
    market: Market, bookings: Sequence[Booked], *, by_attester: bool = False
) -> Call:
    message = SettleMany(booking_ids=tuple(b.id.to_0x_hex() for b in bookings))
    ids = [b.id for b in bookings]
    return market.attested(
        lambda signature: market.escrow.functions.settleMany(ids, signature),
        message,
        by_attester=by_attester,
    )


def _dispute_call(market: Market, booked: Booked) -> Call:
    return Call(booked.terms.buyer, market.escrow.functions.dispute(booked.values))


def _permit(market: Market, booked: Booked, spender: Contract, nonce: int) -> tuple[Any, ...]:
    """Deadline, v, r and s of the buyer's permit."""
    message = funding.permit(booked.terms, market.domain, nonce)
    message = message.model_copy(update={"spender": spender.address})
    signature = _sign(market, booked, message)
    return message.deadline, signature[64], signature[:32], signature[32:64]


def _sign(market: Market, booked: Booked, message: Message) -> HexBytes:
    """The buyer's signature in the token's domain."""
    return HexBytes(sign(booked.buyer, message, market.money.domain))
