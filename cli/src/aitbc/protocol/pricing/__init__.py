"""Price of a GPU hour: base price, strategy, market state and time in; price and reasons out.

Pure and integer: anyone who has a quote's inputs recomputes its price to the base unit. Every
result lies within the floor and the ceiling that the provider signed, and its factors add up to
it. `docs/pricing.md` is the contract of each strategy.
"""

from aitbc.protocol.pricing.inputs import NO_HOUR, PRICING_VERSION, MarketHour, PricingInputs
from aitbc.protocol.pricing.level import next_level
from aitbc.protocol.pricing.strategies import (
    DEFAULT_STRATEGY,
    STRATEGIES,
    Factor,
    Price,
    parse_strategy,
    price,
    price_per_hour,
)

__all__ = [
    "DEFAULT_STRATEGY",
    "NO_HOUR",
    "PRICING_VERSION",
    "STRATEGIES",
    "Factor",
    "MarketHour",
    "Price",
    "PricingInputs",
    "next_level",
    "parse_strategy",
    "price",
    "price_per_hour",
]
