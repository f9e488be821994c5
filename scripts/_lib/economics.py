"""What a booking of one dollar costs its two parties in all: the fee, and the gas of every step.

The gas is measured in the same run, on a real node; prices of gas and of the chain's coin are
assumptions, which each row states. On a layer 2 that charges for a transaction's data apart from
its gas, that charge comes on top. Shares are exact, and rounded up in the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from aitbc.protocol import worth
from aitbc.protocol.units import BPS
from benchmark import Benchmark, Measured, Row
from gas.cases import TOKEN_CASES, measure_rows, require_fresh_artifacts
from gas.market import FEE_BPS, open_markets

DOLLAR = 10**6
"""A dollar in base units of a token with six decimals, as the usual ones have."""
COIN_PRICE = 3_000
"""Dollars for a whole coin of the chain: an assumption."""
MOST_PERCENT = 2.0
ROUNDED_TO = 10_000

FUND = "fund_3009"
SETTLE = "settle_relayed"
SETTLE_IN_BATCH = "settle_many_100x100"


@dataclass(frozen=True)
class Chain:
    """A kind of chain, and what a unit of gas is assumed to cost there, in wei."""

    name: str
    gas_price: int
    assumption: str

    def what(self, words: str) -> str:
        return f"{words}; {self.assumption}, a coin {COIN_PRICE:,} dollars"


LAYER_2 = Chain("l2", 2 * 10**7, "gas 0.02 gwei (Arbitrum One documents a floor of 0.01)")
LAYER_1 = Chain("l1", 10**9, "gas 1 gwei (Ethereum when it is quiet)")


def measure() -> Measured:
    """Measure the gas, and price it. Raises LocalMarketError where the gas cannot be measured."""
    require_fresh_artifacts()
    wanted = (FUND, SETTLE, SETTLE_IN_BATCH)
    with open_markets() as (token, _):
        rows = measure_rows(token, [case for case in TOKEN_CASES if case.id in wanted])
    gas = {row.id: int(row.value) for row in rows}
    setting = {
        "fee_bps": FEE_BPS,
        "coin_price": COIN_PRICE,
        "gas_price_wei": {chain.name: chain.gas_price for chain in (LAYER_2, LAYER_1)},
        "gas": gas,
    }
    return Measured(setting, priced(gas))


def priced(gas: dict[str, int]) -> tuple[Row, ...]:
    """The rows that follow from the gas of each step."""
    alone, in_batch = gas[FUND] + gas[SETTLE], gas[FUND] + gas[SETTLE_IN_BATCH]
    steps = f"{FUND} + {SETTLE}"
    return (
        _trust_cost("trust_cost_l2", LAYER_2, alone, steps, goal=MOST_PERCENT),
        _trust_cost("trust_cost_l2_batch", LAYER_2, in_batch, f"{FUND} + {SETTLE_IN_BATCH}"),
        _trust_cost("trust_cost_l1", LAYER_1, alone, steps),
        _minimum("minimum_l2", LAYER_2, gas[SETTLE]),
        _minimum("minimum_l1", LAYER_1, gas[SETTLE]),
    )


def _trust_cost(name: str, chain: Chain, gas: int, steps: str, goal: float | None = None) -> Row:
    """Fee and gas as a share of one dollar."""
    share = Fraction(FEE_BPS, BPS) + Fraction(
        gas * chain.gas_price * COIN_PRICE, worth.WEI_PER_COIN
    )
    words = f"of a dollar: a fee of {FEE_BPS / 100:g} %, and {steps}"
    return Row(name, chain.what(words), _rounded_up(share * 100), "%", goal=goal)


def _minimum(name: str, chain: Chain, settle_gas: int) -> Row:
    """The least booking whose fee pays for its settlement, as a coordinator counts it."""
    cost = worth.settle_cost(settle_gas, chain.gas_price, COIN_PRICE * DOLLAR)
    least = Fraction(worth.minimum_amount(cost, FEE_BPS), DOLLAR)
    words = f"least booking whose fee covers {SETTLE}"
    return Row(name, chain.what(words), _rounded_up(least), "dollars")


def _rounded_up(value: Fraction) -> float:
    return ceil(value * ROUNDED_TO) / ROUNDED_TO


BENCHMARK = Benchmark("economics", "fee and gas of a booking of one dollar", measure)
