"""`aitbc marketplace price`: why a quote costs what it costs, and what a strategy would do."""

import time
from typing import Annotated, Any

import typer

from aitbc.cli import arguments
from aitbc.cli.app import command, group
from aitbc.cli.explaining import explanation, read_quote
from aitbc.cli.listing import default_ceiling, default_floor
from aitbc.cli.lookup import find_gpu
from aitbc.cli.output import Format, Measured, Moment
from aitbc.cli.power import power_limit
from aitbc.cli.session import Session
from aitbc.errors import InvalidInput, UntrustedMarket
from aitbc.protocol.pricing import STRATEGIES, parse_strategy
from aitbc.protocol.pricing.cost import OVERHEAD_PERCENT, power_floor
from aitbc.protocol.pricing.level import TARGET_UTILISATION_BPS
from aitbc.protocol.pricing.simulation import (
    Forecast,
    Offer,
    SimulatedHour,
    history_start,
    recent,
    simulate,
    tomorrow,
)
from aitbc.protocol.regions import DEFAULT_REGION, check_region, time_zone
from aitbc.protocol.units import BPS, format_amount
from aitbc.protocol.wire import Market

CHART_WIDTH = 30
"""Characters of bars beside each other."""
MOST_HOURS = 200
"""As many as a coordinator shows at once: more than the hours that a simulation looks back."""

price = group("Explain a price, look ahead, and find a floor.")

GpuOption = Annotated[
    str | None, typer.Option("--gpu-id", help="A GPU's id, a prefix of it, or your own's name.")
]


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
    strategy: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(STRATEGIES)}. [default: all]")
    ] = None,
    base_price: Annotated[str | None, typer.Option(help="Base price per hour.")] = None,
    floor_price: Annotated[
        str | None,
        typer.Option("--floor-price", "--floor", help="Floor. [default: half the base price]"),
    ] = None,
    ceiling_price: Annotated[
        str | None,
        typer.Option("--ceiling-price", "--ceiling", help="Ceiling. [default: twice the base]"),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help=f"Region. [default: the GPU's, or {DEFAULT_REGION}]")
    ] = None,
    gpu_id: GpuOption = None,
) -> None:
    """Show what a GPU would ask tomorrow, hour by hour, before you sign for it.

    Demand is expected as in the region's last 7 days. With --gpu-id, what you leave out is taken
    from the GPU's listing.
    """
    market, now = session.market, int(time.time())
    strategies = list(STRATEGIES)
    if strategy is not None:
        strategies = [arguments.checked("--strategy", parse_strategy, strategy)]
    said = {
        "base_price": arguments.optional_amount("--base-price", base_price, market),
        "floor_price": arguments.optional_amount("--floor-price", floor_price, market),
        "ceiling_price": arguments.optional_amount("--ceiling-price", ceiling_price, market),
        "region": None if region is None else arguments.checked("--region", check_region, region),
    }
    offer = _offer(session, gpu_id, said)
    since = history_start(now)
    published = session.coordinator.hours(offer.region, since=since, limit=MOST_HOURS)
    seen = recent([hour.market_hour() for hour in published.items], now)
    hours = simulate(offer, strategies, seen, now)
    day = {
        "region": offer.region,
        "day": tomorrow(offer.region, now).isoformat(),
        "clock": str(time_zone(offer.region)),
        "base_price": format_amount(offer.base_price, market.decimals),
        "floor_price": format_amount(offer.floor_price, market.decimals),
        "ceiling_price": format_amount(offer.ceiling_price, market.decimals),
        "symbol": market.symbol,
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
    columns |= {_key(name): f"{name.upper()}, {market.symbol}/H" for name in strategies}
    session.output.table(curve, columns)


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


def _offer(session: Session, gpu_id: str | None, said: dict[str, Any]) -> Offer:
    """What was said, completed by a GPU's listing or by what 'register' would take."""
    if gpu_id is not None:
        defaults = find_gpu(session, gpu_id).listing.model_dump(include=set(said))
    elif (base := said["base_price"]) is not None:
        defaults = {
            "floor_price": default_floor(base),
            "ceiling_price": default_ceiling(base),
            "region": DEFAULT_REGION,
        }
    else:
        raise InvalidInput("which price? give --base-price, or --gpu-id of a GPU that is listed")
    given = {name: value for name, value in said.items() if value is not None}
    offer = Offer(**(defaults | given))
    if not 0 < offer.floor_price <= offer.base_price <= offer.ceiling_price:
        raise InvalidInput(
            "the base price must lie between the floor and the ceiling, and they above 0",
            hint="give --floor-price and --ceiling-price that suit it",
        )
    return offer


def _assumed_demand(hours_seen: int, region: str) -> str:
    if hours_seen:
        return f"the mean of {hours_seen} recorded hours, by the hour of the region's clock"
    target = format_amount(TARGET_UTILISATION_BPS, 2)
    return f"no hour of {region} has been recorded: assumed at the target, {target} % booked"


def _means(hours: list[SimulatedHour], strategies: list[str], market: Market) -> dict[str, str]:
    means = {name: sum(h.prices[name].per_hour for h in hours) // len(hours) for name in strategies}
    return {_key(name): format_amount(mean, market.decimals) for name, mean in means.items()}


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
                _key(name): Measured(
                    format_amount(hour.prices[name].per_hour, market.decimals),
                    hour.prices[name].per_hour * BPS // highest,
                    width,
                )
                for name in strategies
            },
        }
        for hour in hours
    ]


def _key(strategy: str) -> str:
    return strategy.replace("-", "_")
