"""Which way a booking is paid, for every kind of wallet, token, coordinator and wish."""

from typing import Any

import pytest

import samples
from aitbc.buying.ways import Means, Own, Relayed, Way, Wish, choose
from aitbc.errors import ChainError, InvalidInput
from aitbc.protocol.funding import PERMIT2, RELAYABLE, PayBy

PRICE = 100
EVERY = frozenset(PayBy)
PLAIN = frozenset({PayBy.ALLOWANCE, PayBy.PERMIT2})
ESCROW = samples.market().escrow
BUYER = "0x" + "b1" * 20


def decide(wish: Wish, relays: Any = RELAYABLE, **means: Any) -> Way:
    fields = {"balance": PRICE, "coin": 10, "gas_cost": 10, "methods": EVERY}
    native = means.get("methods", EVERY) == frozenset()
    market = samples.market(symbol="TUSD", decimals=0, token=None if native else "0x" + "70" * 20)
    return choose(Means(buyer=BUYER, **(fields | means)), PRICE, market, wish, relays)


@pytest.mark.parametrize(
    ("means", "way"),
    [
        ({}, Own(PayBy.PERMIT)),
        ({"allowance": PRICE}, Own(PayBy.ALLOWANCE)),
        ({"allowance": PRICE - 1}, Own(PayBy.PERMIT)),
        ({"methods": EVERY - {PayBy.PERMIT}}, Own(PayBy.AUTHORIZATION)),
        ({"methods": PLAIN}, Own(PayBy.ALLOWANCE, ESCROW)),
        ({"methods": PLAIN, "allowance": PRICE}, Own(PayBy.ALLOWANCE)),
        ({"methods": frozenset()}, Own(None)),
        ({"methods": frozenset(), "coin": 0}, Own(None)),
        ({"coin": 0}, Relayed(PayBy.AUTHORIZATION)),
        ({"coin": 9}, Relayed(PayBy.AUTHORIZATION)),
        ({"coin": 0, "allowance": PRICE}, Relayed(PayBy.AUTHORIZATION)),
        (
            {"coin": 0, "methods": PLAIN, "permit2_allowance": PRICE},
            Relayed(PayBy.PERMIT2),
        ),
        ({"coin": 9, "methods": PLAIN}, Own(PayBy.ALLOWANCE, ESCROW)),
        ({"coin": 9, "relays": ()}, Own(PayBy.PERMIT)),
        (
            {"coin": 0, "relays": (PayBy.PERMIT2,), "permit2_allowance": PRICE},
            Relayed(PayBy.PERMIT2),
        ),
    ],
)
def test_left_to_itself(means: dict[str, Any], way: Way) -> None:
    assert decide(Wish(), **means) == way


@pytest.mark.parametrize(
    ("wish", "means", "way"),
    [
        (Wish(relay=True), {}, Relayed(PayBy.AUTHORIZATION)),
        (Wish(relay=False), {"coin": 0}, Own(PayBy.PERMIT)),
        (Wish(PayBy.AUTHORIZATION), {}, Own(PayBy.AUTHORIZATION)),
        (Wish(PayBy.AUTHORIZATION), {"coin": 0}, Relayed(PayBy.AUTHORIZATION)),
        (Wish(PayBy.PERMIT), {"allowance": PRICE}, Own(PayBy.PERMIT)),
        (Wish(PayBy.ALLOWANCE), {}, Own(PayBy.ALLOWANCE, ESCROW)),
        (Wish(PayBy.PERMIT2), {}, Own(PayBy.PERMIT2, PERMIT2)),
        (Wish(PayBy.PERMIT2), {"permit2_allowance": PRICE}, Own(PayBy.PERMIT2)),
        (
            Wish(PayBy.PERMIT2, relay=True),
            {"permit2_allowance": PRICE},
            Relayed(PayBy.PERMIT2),
        ),
        (Wish(PayBy.PERMIT, may_approve=False), {}, Own(PayBy.PERMIT)),
    ],
)
def test_as_wished(wish: Wish, means: dict[str, Any], way: Way) -> None:
    assert decide(wish, **means) == way


@pytest.mark.parametrize(
    ("wish", "means", "says"),
    [
        (Wish(), {"balance": PRICE - 1}, "not enough money"),
        (Wish(), {"balance": PRICE - 1, "coin": 0}, "not enough money"),
        (Wish(), {"coin": 0, "relays": ()}, "no coin for gas, and the coordinator sends no"),
        (Wish(), {"coin": 0, "methods": PLAIN}, "no coin for gas, and Permit2 may take only 0 "),
        (Wish(relay=True), {"relays": ()}, "^the coordinator sends no payments"),
        (Wish(PayBy.PERMIT), {"coin": 0}, "sends none of what can pay"),
        (Wish(relay=True), {"methods": PLAIN, "permit2_allowance": 99}, "may take only 99 "),
        (Wish(PayBy.ALLOWANCE, may_approve=False), {"allowance": 99}, "the escrow's .* is 99 "),
        (
            Wish(PayBy.PERMIT2, may_approve=False),
            {"permit2_allowance": 99},
            "Permit2's allowance is 99 ",
        ),
    ],
)
def test_what_these_means_cannot_pay(wish: Wish, means: dict[str, Any], says: str) -> None:
    with pytest.raises(ChainError, match=says) as caught:
        decide(wish, **means)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("wish", "means", "says"),
    [
        (Wish(PayBy.PERMIT), {"methods": frozenset()}, "the chain's coin"),
        (Wish(relay=True), {"methods": frozenset()}, "the chain's coin"),
        (Wish(PayBy.AUTHORIZATION), {"methods": PLAIN}, "TUSD cannot be paid that way"),
        (Wish(PayBy.PERMIT, relay=True), {}, "a transaction of your own"),
        (Wish(PayBy.ALLOWANCE, relay=True), {}, "a transaction of your own"),
    ],
)
def test_what_makes_no_sense(wish: Wish, means: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        decide(wish, **means)
    assert caught.value.hint
