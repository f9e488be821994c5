"""`aitbc marketplace price backtest`: what each strategy would have earned from known demand."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from aitbc.cli.demand import SHIPPED, read_demand
from aitbc.cli.offering import (
    BaseOption,
    CeilingOption,
    FloorOption,
    GpuOption,
    RegionOption,
    StrategyOption,
    chosen_strategies,
    offer_view,
    read_offer,
    strategy_key,
)
from aitbc.cli.output import Format, Measured
from aitbc.cli.session import Session
from aitbc.protocol.pricing.backtest import (
    FIXED,
    Demand,
    Result,
    backtest,
    variation_bps,
    volatility_bps,
)
from aitbc.protocol.pricing.simulation import Offer
from aitbc.protocol.regions import time_zone
from aitbc.protocol.units import BPS, format_amount
from aitbc.protocol.wire import Market

CHART_WIDTH = 40
"""Characters of bars beside each other."""


def backtest_day_by_day(
    session: Session,
    *,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="CSV with start, duration and max_price (or max_percent). "
            "[default: demand of a real cluster]",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    strategy: StrategyOption = None,
    base_price: BaseOption = None,
    floor_price: FloorOption = None,
    ceiling_price: CeilingOption = None,
    region: RegionOption = None,
    gpu_id: GpuOption = None,
) -> None:
    """Compare what a GPU would have earned under each strategy, and at a fixed price.

    The region is taken to be as booked as this GPU. Nobody is asked, but for the listing that
    --gpu-id names. A start without a zone is on the region's clock; prices are per hour.
    """
    market = session.market
    strategies = chosen_strategies(strategy)
    offer = read_offer(
        session,
        base_price=base_price,
        floor_price=floor_price,
        ceiling_price=ceiling_price,
        region=region,
        gpu_id=gpu_id,
    )
    demand = read_demand(trace, offer, market)
    results = backtest(offer, demand, [FIXED, *strategies])
    earned = {result.strategy: _by_day(result, demand, offer.region) for result in results}
    about = {
        "region": offer.region,
        "clock": str(time_zone(offer.region)),
        **offer_view(offer, market),
        "trace": str(trace or f"{SHIPPED}, which ships with aitbc"),
        "buyers": len(demand),
        "demand": "the region is taken to be as booked as this GPU",
    }
    rows = [_row(result, results[0], offer, demand, market) for result in results]
    for row in rows:
        varies = variation_bps(list(earned[row["strategy"]].values()))
        row["day_to_day_percent"] = format_amount(varies, 2)
    days = _days(earned, market)
    if session.output.format is Format.JSON:
        session.output.data({**about, "strategies": rows, "days": days})
        return
    session.output.record(about)
    session.output.note("")
    symbol = market.symbol
    columns = {
        "strategy": "STRATEGY",
        "revenue": f"EARNED, {symbol}",
        "vs_fixed_percent": "OF FIXED %",
    }
    columns |= {"price_per_booked_hour": f"{symbol}/BOOKED H", "booked_percent": "BOOKED %"}
    columns |= {"bookings": "BOOKINGS", "too_dear": "TOO DEAR", "taken": "TAKEN"}
    columns |= {"day_to_day_percent": "DAY TO DAY %", "volatility_percent": "VOLATILITY %"}
    session.output.table(rows, columns)
    session.output.note("")
    headings = {strategy_key(r.strategy): f"{r.strategy.upper()}, {symbol}" for r in results}
    session.output.table(days, {"day": "DAY", **headings})


def _row(
    result: Result, fixed: Result, offer: Offer, demand: Sequence[Demand], market: Market
) -> dict[str, Any]:
    first = min(one.starts_at for one in demand)
    last = max(one.starts_at + one.seconds for one in demand)
    against = result.revenue * BPS // fixed.revenue if fixed.revenue else None
    return {
        "strategy": result.strategy,
        "revenue": format_amount(result.revenue, market.decimals),
        "vs_fixed_percent": None if against is None else format_amount(against, 2),
        "price_per_booked_hour": format_amount(result.mean_price, market.decimals),
        "booked_percent": format_amount(result.booked_seconds * BPS // (last - first), 2),
        "bookings": len(result.sales),
        "too_dear": result.too_dear,
        "taken": result.taken,
        "volatility_percent": format_amount(volatility_bps(result.prices, offer.base_price), 2),
    }


def _by_day(result: Result, demand: Sequence[Demand], region: str) -> dict[date, int]:
    """What was sold on each day, from the first on which somebody came to the last, by the
    region's clock."""
    zone = time_zone(region)

    def day_of(moment: int) -> date:
        return datetime.fromtimestamp(moment, zone).date()

    first, last = (day_of(bound(one.starts_at for one in demand)) for bound in (min, max))
    earned = {first + timedelta(days=n): 0 for n in range((last - first).days + 1)}
    for sale in result.sales:
        earned[day_of(sale.starts_at)] += sale.amount
    return earned


def _days(earned: dict[str, dict[date, int]], market: Market) -> list[dict[str, Any]]:
    most = max(amount for amounts in earned.values() for amount in amounts.values())
    width = CHART_WIDTH // len(earned)
    return [
        {
            "day": day.isoformat(),
            **{
                strategy_key(name): Measured(
                    format_amount(amounts[day], market.decimals),
                    amounts[day] * BPS // max(1, most),
                    width,
                )
                for name, amounts in earned.items()
            },
        }
        for day in earned[FIXED]
    ]
