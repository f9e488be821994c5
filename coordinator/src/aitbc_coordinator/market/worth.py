"""Whether a booking's fee covers the gas of its settlement, and the least amount that does."""

from aitbc.errors import InvalidInput
from aitbc.protocol import messages, units, wire, worth
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import TooSmall
from aitbc_coordinator.settings import ENV_PREFIX, Settings


def coin_price(settings: Settings, decimals: int) -> int:
    """Base units that a whole coin of the chain costs; 0 where nobody says. Raises InvalidInput."""
    if settings.contract == "NativeEscrow":
        return worth.WEI_PER_COIN
    if not settings.coin_price:
        return 0
    try:
        return units.parse_amount(settings.coin_price, decimals)
    except ValueError as error:
        raise InvalidInput(
            f"the setting 'coin_price' cannot be used: {error}",
            hint=f"correct it in config.toml, or {ENV_PREFIX}COIN_PRICE",
        ) from error


def why_not_counted(settings: Settings, fee_bps: int | None) -> str | None:
    """In one line why bookings of any size are taken; None where settling is counted.

    `fee_bps` is None where the escrow was not asked.
    """
    if fee_bps == 0:
        return "the escrow takes no fee, so you bear the gas of every settlement"
    if settings.settle_gas == 0:
        return "settle_gas is 0, so bookings are taken whose fee does not cover their settlement"
    if settings.contract == "TokenEscrow" and not settings.coin_price:
        return (
            "coin_price is not set, so bookings are taken whose fee does not cover their "
            "settlement: set it to what a whole coin of the chain costs in the market's money"
        )
    return None


def minimum(context: Context, gas_price: int) -> messages.Minimum:
    """The least amount worth settling at a gas price (wei): that of the last followed block."""
    settings, market = context.settings, context.market
    coin = coin_price(settings, market.decimals)
    cost = worth.settle_cost(settings.settle_gas, gas_price, coin)
    return messages.Minimum(
        amount=worth.minimum_amount(cost, market.fee_bps),
        cost=cost,
        settle_gas=settings.settle_gas,
        gas_price=gas_price,
        coin_price=coin,
        signed_at=context.now(),
    )


def signed(context: Context, least: messages.Minimum) -> wire.SignedMinimum:
    return wire.SignedMinimum(minimum=least, signature=context.attester.sign(least))


def require_worth(
    context: Context, least: messages.Minimum, amount: int, price_per_hour: int
) -> None:
    """Raises TooSmall, with the minimum signed, for an amount (base units) below it."""
    if amount >= least.amount:
        return
    shortest = worth.shortest_seconds(price_per_hour, least.amount)
    raise TooSmall(
        f"the booking comes to {amount} base units, and at the present price of gas one is worth "
        f"settling from {least.amount}: {shortest} s of this GPU at its price now",
        hint=_way_out(context.settings, shortest),
        minimum=signed(context, least),
    )


def _way_out(settings: Settings, shortest: int) -> str:
    if shortest > settings.maximum_seconds:
        return "choose a GPU that costs more, or ask again when gas is cheaper"
    return f"ask for {shortest} s or longer, choose another GPU, or wait for cheaper gas"
