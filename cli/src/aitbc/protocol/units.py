"""Money as integers in base units, and its decimal form for people and JSON."""

import re
from typing import NamedTuple

MAX_AMOUNT = 2**88 - 1
SECONDS_PER_HOUR = 3600
BPS = 10_000


class Coin(NamedTuple):
    """What an escrow's money is called, and how many decimals its whole unit has."""

    symbol: str
    decimals: int


NATIVE_COIN = Coin("ETH", 18)

_DECIMAL = re.compile(r"(\d+)(?:\.(\d+))?")


def parse_amount(text: str, decimals: int) -> int:
    """Read a decimal amount such as `0.05` into base units of a coin with `decimals` decimals.

    Raises ValueError, with a message for people, when the text is not a plain non-negative
    decimal, has more decimals than the coin, or exceeds what the escrow can hold.
    """
    match = _DECIMAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not an amount: write a positive decimal such as 0.05")
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        raise ValueError(
            f"'{text}' has {len(fraction)} decimals: this market's money has {decimals}"
        )
    amount = int(whole + fraction.ljust(decimals, "0"))
    if amount > MAX_AMOUNT:
        raise ValueError(f"'{text}' is more than an escrow can hold")
    return amount


def format_amount(amount: int, decimals: int) -> str:
    """Write base units as a decimal without trailing zeros, exactly."""
    sign, digits = ("-", str(-amount)) if amount < 0 else ("", str(amount))
    if decimals == 0:
        return sign + digits
    digits = digits.rjust(decimals + 1, "0")
    fraction = digits[-decimals:].rstrip("0")
    return sign + digits[:-decimals] + (f".{fraction}" if fraction else "")


def price_of(price_per_hour: int, seconds: int) -> int:
    """Base units that `seconds` cost at a price per hour, rounded up to a whole base unit."""
    return -(-price_per_hour * seconds // SECONDS_PER_HOUR)
