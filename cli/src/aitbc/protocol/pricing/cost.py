"""What an hour of a GPU costs its owner in power: a floor below which delivering loses money."""

OVERHEAD_PERCENT = 30
"""What the rest of the machine, its power supply and cooling add to the GPU's own power."""
_WATTS_PER_KILOWATT = 1_000


def power_floor(watts: int, kwh_price: int, overhead_percent: int = OVERHEAD_PERCENT) -> int:
    """Base units per hour that power costs at `watts`, rounded up; `kwh_price` is in base units."""
    percent = 100 + overhead_percent
    return max(1, -(-watts * kwh_price * percent // (_WATTS_PER_KILOWATT * 100)))
