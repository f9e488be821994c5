"""What is read off a replayed week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter
from statistics import mean

from aitbc.protocol.pricing.backtest import variation_bps, volatility_bps
from aitbc.protocol.pricing.strategies import peak_seconds
from aitbc.protocol.units import BPS
from replay.market import Booking
from replay.replaying import Week
from replay.rules import MODELS, WEEK, WEEK_START, Request

DAY = 86_400
DAYS = WEEK // DAY


def fill_percent(week: Week) -> float:
    """Of the GPUs that were asked for, those that were booked."""
    return 100 * len(week.bookings) / week.asked


def too_dear_percent(week: Week) -> float:
    return 100 * _gpus(week.too_dear) / week.asked


def taken_percent(week: Week) -> float:
    return 100 * _gpus(week.taken) / week.asked


def utilisation_percent(week: Week) -> float:
    """Of the time of all GPUs in the week, what was booked."""
    booked = sum(_seconds_in(b, WEEK_START, WEEK_START + WEEK) for b in week.bookings)
    return 100 * booked / (WEEK * len(week.gpu_ids))


def revenue(week: Week) -> int:
    """Of all bookings that began in the week, in base units."""
    return sum(booking.amount for booking in week.bookings)


def peak_price(week: Week) -> float:
    """What a booked hour of peak brought, as a share of the base price."""
    seconds = [(b, peak_seconds(b.region, b.starts_at, b.ends_at)) for b in week.bookings]
    at_base = sum(peak * b.base_price for b, peak in seconds)
    return sum(peak * b.price for b, peak in seconds) / at_base if at_base else 0.0


def volatility_percent(week: Week) -> float:
    """How far a GPU's price moves from hour to hour, in percent of the base price."""
    return mean(volatility_bps(prices, BPS) for prices in week.prices.values()) / 100


def day_to_day_percent(week: Week) -> float:
    """How far a GPU's earnings of a day lie from the mean of all GPUs and days, in its percent.

    In base prices, so that it does not matter which models are booked.
    """
    earned: Counter[tuple[str, int]] = Counter()
    for booking in week.bookings:
        for day in range(DAYS):
            start = WEEK_START + day * DAY
            seconds = _seconds_in(booking, start, start + DAY)
            earned[booking.gpu_id, day] += seconds * booking.price * BPS // booking.base_price
    of_all = [earned[gpu_id, day] for gpu_id in week.gpu_ids for day in range(DAYS)]
    return variation_bps(of_all) / 100


def overlaps(week: Week) -> int:
    """Bookings that begin before another one of the same GPU has ended."""
    in_order = sorted(week.bookings, key=attrgetter("gpu_id", "starts_at"))
    return sum(
        before.gpu_id == after.gpu_id and before.ends_at > after.starts_at
        for before, after in pairwise(in_order)
    )


def wrongly_refused(fixed: Week) -> int:
    """Who got nothing at a fixed price, though GPUs were free and not above what is paid."""
    return sum(wanted.most >= MODELS[wanted.model].base_price for wanted in fixed.too_dear)


def _gpus(requests: Iterable[Request]) -> int:
    return sum(request.count for request in requests)


def _seconds_in(booking: Booking, start: int, end: int) -> int:
    return max(0, min(booking.ends_at, end) - max(booking.starts_at, start))
