"""What a booking must bring for its fee to cover the gas of its own settlement. Integers only.

The gas is that of a booking that is settled alone, by somebody who is no party and carries the
attester's signature; in a batch it is less.
"""

from aitbc.protocol.units import BPS, SECONDS_PER_HOUR

SETTLE_GAS = 55_270
"""What that takes in an escrow of the test dollar: other tokens take more or less."""
WEI_PER_COIN = 10**18
"""Of a chain's own coin, which gas is paid in."""


def settle_cost(settle_gas: int, gas_price: int, coin_price: int) -> int:
    """Base units of the market's money that settling costs, rounded up.

    `gas_price` is wei for a unit of gas, `coin_price` base units for a whole coin of the chain.
    """
    return -(-settle_gas * gas_price * coin_price // WEI_PER_COIN)


def minimum_amount(cost: int, fee_bps: int) -> int:
    """The least amount whose fee, which rounds down, is `cost` or more; both in base units.

    0 where there is no fee: nothing could cover the cost, and the operator bears it.
    """
    return -(-cost * BPS // fee_bps) if fee_bps else 0


def shortest_seconds(price_per_hour: int, amount: int) -> int:
    """The fewest seconds that cost `amount` or more at a price above 0 (see `units.price_of`)."""
    return max(0, (amount - 1) * SECONDS_PER_HOUR // price_per_hour + 1)
