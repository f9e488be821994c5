"""A region's price level: what Market Balance multiplies base prices by, moved once an hour."""

from aitbc.protocol.units import BPS

TARGET_UTILISATION_BPS = 7_000
"""Where a level rests: this share of the region's listed GPUs is booked."""
LEVEL_GAIN_BPS = 1_000
"""How much a level moves in an hour, for each basis point between utilisation and target."""
LEVEL_STEP_BPS = 300
"""The most that it moves in an hour."""
LEVEL_MIN_BPS = 7_500
"""At half the base price, twice the buyers would have to come to bring as much; few markets do."""
LEVEL_MAX_BPS = 20_000


def next_level(level_bps: int, listed: int, booked: int) -> int:
    """The level after an hour in which `booked` of `listed` GPUs of the region were booked.

    In basis points, 10,000 being the base price. Where nothing is listed there is no demand to
    read, and the level stays.
    """
    if listed == 0:
        return level_bps
    distance = utilisation(listed, booked) - TARGET_UTILISATION_BPS
    # Rounded away from zero, so that no distance is too small to move the level at all.
    step = min(LEVEL_STEP_BPS, -(-abs(distance) * LEVEL_GAIN_BPS // BPS))
    moved = level_bps + (step if distance > 0 else -step)
    return max(LEVEL_MIN_BPS, min(LEVEL_MAX_BPS, moved))


def utilisation(listed: int, booked: int) -> int:
    """Share of the listed GPUs that are booked, in basis points; 0 where none is listed."""
    return booked * BPS // listed if listed else 0
