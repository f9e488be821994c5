"""What a provider would sign, from the options of a command."""

from typing import Annotated, Any

import typer

from aitbc.cli import arguments
from aitbc.cli.listing import default_ceiling, default_floor
from aitbc.cli.lookup import find_gpu
from aitbc.cli.session import Session
from aitbc.errors import InvalidInput
from aitbc.protocol.pricing import STRATEGIES, parse_strategy
from aitbc.protocol.pricing.simulation import Offer
from aitbc.protocol.regions import DEFAULT_REGION, check_region
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Market

GpuOption = Annotated[
    str | None, typer.Option("--gpu-id", help="A GPU's id, a prefix of it, or your own's name.")
]
StrategyOption = Annotated[
    str | None, typer.Option(help=f"One of {', '.join(STRATEGIES)}. [default: all]")
]
BaseOption = Annotated[str | None, typer.Option(help="Base price per hour.")]
FloorOption = Annotated[
    str | None,
    typer.Option("--floor-price", "--floor", help="Floor. [default: half the base price]"),
]
CeilingOption = Annotated[
    str | None,
    typer.Option("--ceiling-price", "--ceiling", help="Ceiling. [default: twice the base]"),
]
RegionOption = Annotated[
    str | None, typer.Option(help=f"Region. [default: the GPU's, or {DEFAULT_REGION}]")
]


def chosen_strategies(strategy: str | None) -> list[str]:
    """The strategy that was named, or all. Raises InvalidInput."""
    if strategy is None:
        return list(STRATEGIES)
    return [arguments.checked("--strategy", parse_strategy, strategy)]


def read_offer(
    session: Session,
    *,
    base_price: str | None,
    floor_price: str | None,
    ceiling_price: str | None,
    region: str | None,
    gpu_id: str | None,
) -> Offer:
    """What was said, completed by a GPU's listing or by what 'register' would take.

    Raises InvalidInput, and CoordinatorError where the listing cannot be had.
    """
    market = session.market
    said = {
        "base_price": arguments.optional_amount("--base-price", base_price, market),
        "floor_price": arguments.optional_amount("--floor-price", floor_price, market),
        "ceiling_price": arguments.optional_amount("--ceiling-price", ceiling_price, market),
        "region": None if region is None else arguments.checked("--region", check_region, region),
    }
    given = {name: value for name, value in said.items() if value is not None}
    offer = Offer(**(_defaults(session, gpu_id, said) | given))
    if not 0 < offer.floor_price <= offer.base_price <= offer.ceiling_price:
        raise InvalidInput(
            "the base price must lie between the floor and the ceiling, and they above 0",
            hint="give --floor-price and --ceiling-price that suit it",
        )
    return offer


def offer_view(offer: Offer, market: Market) -> dict[str, str]:
    """Its prices as decimals of the market's money."""
    return {
        "base_price": format_amount(offer.base_price, market.decimals),
        "floor_price": format_amount(offer.floor_price, market.decimals),
        "ceiling_price": format_amount(offer.ceiling_price, market.decimals),
        "symbol": market.symbol,
    }


def strategy_key(strategy: str) -> str:
    """A strategy's name as a key of JSON."""
    return strategy.replace("-", "_")


def _defaults(session: Session, gpu_id: str | None, said: dict[str, Any]) -> dict[str, Any]:
    if gpu_id is not None:
        return find_gpu(session, gpu_id).listing.model_dump(include=set(said))
    base = said["base_price"]
    if base is None:
        raise InvalidInput("which price? give --base-price, or --gpu-id of a GPU that is listed")
    return {
        "floor_price": default_floor(base),
        "ceiling_price": default_ceiling(base),
        "region": DEFAULT_REGION,
    }
