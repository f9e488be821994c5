"""`aitbc marketplace price`: why a quote costs what it costs, and what a strategy would do."""

import time
from typing import Annotated, Any

import typer

from aitbc.cli import arguments
from aitbc.cli.app import command, group
from aitbc.cli.backtest import backtest_day_by_day
from aitbc.cli.explaining import explanation, read_quote
from aitbc.cli.lookup import find_gpu
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
from aitbc.cli.output import Format, Measured, Moment
from aitbc.cli.power import power_limit
from aitbc.cli.session import Session
from aitbc.errors import InvalidInput, UntrustedMarket
from aitbc.protocol.pricing.cost import OVERHEAD_PERCENT, power_floor
from aitbc.protocol.pricing.level import TARGET_UTILISATION_BPS
from aitbc.protocol.pricing.simulation import (
    Forecast,
    SimulatedHour,
    history_start,
    recent,
    simulate,
    tomorrow,
)
from aitbc.protocol.regions import time_zone
from aitbc.protocol.units import BPS, format_amount
from aitbc.protocol.wire import Market

CHART_WIDTH = 30
"""Characters of bars beside each other."""
MOST_HOURS = 200
"""As many as a coordinator shows at once: more than the hours that a simulation looks back."""

price = group("Explain a price, look ahead and back, and find a floor.")


@command(
    price,
    "explain",
    examples=[
        "aitbc marketplace price explain q-5d0x8m2kqa",
        "aitbc marketplace price explain quote.json",
    ],
)
def explain(
    session: Session,
    quote: Annotated[
        str,
        typer.Argument(
            help="A quote's id, or a file with what 'quote --format json' printed.",
            metavar="QUOTE",
        ),
    ],
) -> None:
    """Compute a quote's price again, step by step, and check all that the quote says.

    That is the coordinator's and the provider's signatures, the factors, the amount and the id;
    for an id also that the market publishes the hour which the price rests on, and that its level
    follows from the hour before. Exits with 1 where anything differs.
    """
    signed, differences = read_quote(session, quote)
    session.output.record(explanation(signed, differences, session.market))
    if differences:
        what = ", ".join(check.what for check in differences)
        raise UntrustedMarket(f"the quote is not what it must be: {what}", hint="do not pay for it")


@command(
    price,
    "simulate",
    examples=[
        "aitbc marketplace price simulate --base-price 0.05 --region us-west",
        "aitbc marketplace price simulate --gpu-id g-7k3m9q --strategy peak-maximizer",
    ],
)
def simulate_day(
    session: Session,
    *,
    strategy: StrategyOption = None,
    base_price: BaseOption = None,
    floor_price: FloorOption = None,
    ceiling_price: CeilingOption = None,
    region: RegionOption = None,
    gpu_id: GpuOption = None,
) -> None:
    """Show what a GPU would ask tomorrow, hour by hour, before you sign for it.

    Demand is expected as in the region's last 7 days. With --gpu-id, what you leave out is taken
    from the GPU's listing.
    """
    market, now = session.market, int(time.time())
    strategies = chosen_strategies(strategy)
    offer = read_offer(
        session,
        base_price=base_price,
        floor_price=floor_price,
        ceiling_price=ceiling_price,
        region=region,
        gpu_id=gpu_id,
    )
    since = history_start(now)
    published = session.coordinator.hours(offer.region, since=since, limit=MOST_HOURS)
    seen = recent([hour.market_hour() for hour in published.items], now)
    hours = simulate(offer, strategies, seen, now)
    day = {
        "region": offer.region,
        "day": tomorrow(offer.region, now).isoformat(),
        "clock": str(time_zone(offer.region)),
        **offer_view(offer, market),
        "demand": _assumed_demand(Forecast(offer.region, seen).hours_seen, offer.region),
        "idleness": "the GPU stands idle from midnight on, until the hour that is priced",
        "mean_price": _means(hours, strategies, market),
    }
    curve = _curve(hours, strategies, offer.region, market)
    if session.output.format is Format.JSON:
        session.output.data({**day, "hours": curve})
        return
    session.output.record(day)
    session.output.note("")
    columns = {"clock": "HOUR", "utilisation_percent": "BOOKED %"}
    columns |= {strategy_key(name): f"{name.upper()}, {market.symbol}/H" for name in strategies}
    session.output.table(curve, columns)


command(
    price,
    "backtest",
    examples=[
        "aitbc marketplace price backtest --base-price 0.05 --region us-west",
        "aitbc marketplace price backtest --gpu-id g-7k3m9q --trace demand.csv",
    ],
)(backtest_day_by_day)


@command(
    price,
    "suggest",
    examples=[
        "aitbc marketplace price suggest --kwh 0.30",
        "aitbc marketplace price suggest --kwh 0.30 --watts 450",
    ],
)
def suggest(
    session: Session,
    *,
    kwh: Annotated[str, typer.Option(help="What you pay for a kWh, in the market's money.")],
    watts: Annotated[
        int | None,
        typer.Option(help="The GPU's power. [default: its power limit]", min=1, max=100_000),
    ] = None,
    gpu_index: Annotated[
        int | None, typer.Option("--gpu", help="Which GPU of this machine.", metavar="INDEX")
    ] = None,
    gpu_id: GpuOption = None,
    overhead: Annotated[
        int, typer.Option(help="Percent that the rest of the machine adds.", min=0, max=1_000)
    ] = OVERHEAD_PERCENT,
) -> None:
    """Suggest a floor price: what an hour of the GPU costs you in power.

    Below it you lose money on every hour that you deliver. It counts no hardware and no rent.
    """
    market = session.market
    kwh_price = arguments.amount("--kwh", kwh, market)
    gpu = None if gpu_id is None else find_gpu(session, gpu_id)
    if watts is None:
        watts, source = power_limit(None if gpu is None else gpu.listing.gpu_uuid, gpu_index)
    elif gpu_index is None:
        source = "as you say"
    else:
        raise InvalidInput("--watts says the power: leave --gpu out")
    floor = format_amount(power_floor(watts, kwh_price, overhead), market.decimals)
    shown: dict[str, Any] = {
        "floor_price": floor,
        "symbol": market.symbol,
        "watts": watts,
        "power": source,
        "kwh_price": format_amount(kwh_price, market.decimals),
        "overhead_percent": overhead,
        "arithmetic": f"{watts} W / 1000 * {kwh} per kWh * {format_amount(100 + overhead, 2)}, "
        "rounded up to a base unit",
    }
    verb = "register"
    if gpu is not None:
        shown["present_floor_price"] = format_amount(gpu.listing.floor_price, market.decimals)
        verb = f"update --gpu-id {gpu.id}"
    session.output.record(shown)
    session.output.hint(f"to use it: aitbc marketplace gpu {verb} --floor-price {floor}")


def _assumed_demand(hours_seen: int, region: str) -> str:
    if hours_seen:
        return f"the mean of {hours_seen} recorded hours, by the hour of the region's clock"
    target = format_amount(TARGET_UTILISATION_BPS, 2)
    return f"no hour of {region} has been recorded: assumed at the target, {target} % booked"


def _means(hours: list[SimulatedHour], strategies: list[str], market: Market) -> dict[str, str]:
    means = {name: sum(h.prices[name].per_hour for h in hours) // len(hours) for name in strategies}
    return {
        strategy_key(name): format_amount(mean, market.decimals) for name, mean in means.items()
    }


def _curve(
    hours: list[SimulatedHour], strategies: list[str], region: str, market: Market
) -> list[dict[str, Any]]:
    highest = max(price.per_hour for hour in hours for price in hour.prices.values())
    width = CHART_WIDTH // len(strategies)
    return [
        {
            "clock": arguments.local_clock(hour.starts_at, region),
            "starts_at": Moment(hour.starts_at),
            "utilisation_percent": format_amount(hour.utilisation_bps, 2),
            **{
                strategy_key(name): Measured(
                    format_amount(hour.prices[name].per_hour, market.decimals),
                    hour.prices[name].per_hour * BPS // highest,
                    width,
                )
                for name in strategies
            },
        }
        for hour in hours
    ]
