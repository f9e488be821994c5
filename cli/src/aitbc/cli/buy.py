"""`aitbc marketplace quote` and `book`: a price that was verified, then its payment in escrow."""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from aitbc.buying import ways
from aitbc.buying.quotes import verify_minimum, verify_quote
from aitbc.cli import arguments
from aitbc.cli.filtering import (
    CudaOption,
    MaxPriceOption,
    MinMemoryOption,
    NothingFits,
    RegionOption,
    WhereOption,
    read_filter,
)
from aitbc.cli.lookup import PAGE, find_gpu, search_gpus
from aitbc.cli.output import Format
from aitbc.cli.paying import Payment, require_means
from aitbc.cli.session import Session
from aitbc.cli.views import quote_view
from aitbc.client import TooSmall
from aitbc.errors import AitbcError, CoordinatorError, InvalidInput, WalletError
from aitbc.protocol.funding import PayBy
from aitbc.protocol.messages import QuoteRequest
from aitbc.protocol.units import format_amount, price_of
from aitbc.protocol.where import Where, price_limit
from aitbc.protocol.wire import Gpu, Market, SignedQuoteRequest
from aitbc.records import HeldQuote, Records
from aitbc.signing import sign


class PayOption(StrEnum):
    """`--pay-by`: a way of paying with a token, or whichever fits."""

    AUTO = "auto"
    ALLOWANCE = PayBy.ALLOWANCE.value
    PERMIT = PayBy.PERMIT.value
    AUTHORIZATION = PayBy.AUTHORIZATION.value
    PERMIT2 = PayBy.PERMIT2.value


@dataclass(frozen=True, slots=True)
class Wish:
    """What a buyer wants. `starts_at` 0 is as soon as possible, `max_price` is per hour."""

    seconds: int
    starts_at: int
    max_price: int | None


GPU_ATTEMPTS = 5
"""How many of the best GPUs to ask for, where others are quicker."""

DurationOption = Annotated[
    str | None, typer.Option(help="How long: 90s, 30m, 2h, 1d.", metavar="DURATION")
]
StartOption = Annotated[
    str | None,
    typer.Option(help="When: 2030-01-31T09:00:00Z or +10m. [default: as soon as possible]"),
]


def quote(
    session: Session,
    *,
    duration: Annotated[str, typer.Option(help="How long: 90s, 30m, 2h, 1d.")],
    gpu_id: Annotated[
        str | None, typer.Option(help="The GPU's id or a unique prefix of it.")
    ] = None,
    where: WhereOption = None,
    start: StartOption = None,
    max_price: MaxPriceOption = None,
) -> None:
    """Ask what a GPU costs, and have it held for you for a short while.

    With --where it is the cheapest that fits and is free. The answer is verified and kept; pay
    for it with 'aitbc marketplace book --quote ID'.
    """
    if (gpu_id is None) == (where is None):
        raise InvalidInput("which GPU? name one with --gpu-id, or say with --where what it is like")
    buyer = session.address
    wanted = read_filter(session.market, where, max_price=max_price)
    wish = _wish(duration, start, wanted)
    gpus = [find_gpu(session, gpu_id)] if gpu_id else _best(session, wanted, wish)
    held = _first_offer(session, buyer, gpus, wish)
    Records(session.home).keep_quote(held)
    shown = quote_view(held.quote, session.market)
    if session.output.format is Format.JSON:
        # Whole, so that the price can be explained to anybody: see 'price explain'.
        shown["signed"] = held.quote.model_dump(mode="json")
    session.output.record(shown)
    session.output.hint(f"to book it: aitbc marketplace book --quote {held.quote.id}")


def book(
    session: Session,
    *,
    quote_id: Annotated[
        str | None, typer.Option("--quote", help="A quote that you asked for.", metavar="ID")
    ] = None,
    gpu_id: Annotated[
        str | None, typer.Option(help="The GPU. [default: the cheapest that fits]")
    ] = None,
    duration: DurationOption = None,
    start: StartOption = None,
    where: WhereOption = None,
    region: RegionOption = None,
    min_memory: MinMemoryOption = None,
    cuda: CudaOption = None,
    max_price: MaxPriceOption = None,
    pay_by: Annotated[
        PayOption, typer.Option(help="How the escrow gets the money of a token.")
    ] = PayOption.AUTO,
    relay: Annotated[
        bool | None,
        typer.Option(
            "--relay/--no-relay",
            help="Whether the coordinator sends your signed payment, and pays the gas. "
            "[default: where the wallet has no coin for gas]",
            show_default=False,
        ),
    ] = None,
    no_approve: Annotated[
        bool, typer.Option("--no-approve", help="Fail where somebody needs an allowance.")
    ] = False,
) -> None:
    """Book a GPU: lock its price in the escrow.

    The quote is verified against what the provider signed, the escrow's code and parameters
    against what this home pinned. You see what you will pay, who sends it and who pays the gas,
    and are asked. What is not delivered comes back to you.
    """
    buyer = session.address
    method = None if pay_by is PayOption.AUTO else PayBy(pay_by.value)
    how = ways.Wish(method, relay, may_approve=not no_approve)
    chosen = [where, region, min_memory, cuda]
    if quote_id is not None:
        if any(value is not None for value in [gpu_id, duration, start, max_price, *chosen]):
            raise InvalidInput("--quote says everything: leave the other options out")
        Payment(session, _kept(session, quote_id), how).make()
        return
    if duration is None:
        raise InvalidInput("how long? give --duration, such as --duration 2h")
    if gpu_id is not None and any(value is not None for value in chosen):
        raise InvalidInput(
            "--gpu-id names one: leave --where, --region, --min-memory and --cuda out"
        )
    wanted = read_filter(
        session.market, where, region=region, min_memory=min_memory, cuda=cuda, max_price=max_price
    )
    wish = _wish(duration, start, wanted)
    gpus = [find_gpu(session, gpu_id)] if gpu_id else _best(session, wanted, wish)
    # Before a quote keeps others from the GPU: whoever cannot pay the least cannot pay the price.
    least = price_of(gpus[0].listing.floor_price, wish.seconds)
    require_means(session, buyer, least, how)
    Payment(session, _first_offer(session, buyer, gpus, wish), how).make()


def _wish(duration: str, start: str | None, wanted: Where) -> Wish:
    return Wish(
        seconds=arguments.duration("--duration", duration),
        starts_at=arguments.start_time("--start", start, int(time.time())),
        max_price=price_limit(wanted),
    )


def _best(session: Session, wanted: Where, wish: Wish) -> list[Gpu]:
    """The GPUs that fit and are free, the best first. Raises AitbcError where there is none."""
    found, why_none = search_gpus(session, PAGE, wanted)
    if not found:
        raise NothingFits(why_none)
    soonest = wish.starts_at or int(time.time()) + session.market.quote_seconds
    free = [gpu for gpu in found if gpu.free_from <= soonest]
    if not free:
        raise _nothing_free("no GPU that fits is free")
    return sorted(free, key=_rank)


def _rank(gpu: Gpu) -> tuple[int, int, str]:
    """By price now; then the most reliable, those without a history last; then by id."""
    reliability = -1 if gpu.reliability_bps is None else gpu.reliability_bps
    return gpu.current_price.per_hour, -reliability, gpu.id


def _first_offer(session: Session, buyer: str, gpus: list[Gpu], wish: Wish) -> HeldQuote:
    """A quote for the first GPU that nobody else was quicker to take."""
    for gpu in gpus[:GPU_ATTEMPTS]:
        try:
            return _ask(session, buyer, gpu, wish)
        except CoordinatorError as error:
            if len(gpus) == 1 or error.problem not in {
                "taken",
                "not-listed",
                "too-expensive",
                "changed",
            }:
                raise
    raise _nothing_free("others were quicker: none of the GPUs is free")


def _nothing_free(message: str) -> AitbcError:
    return AitbcError(message, hint="ask for less, or later: see 'aitbc marketplace gpu list'")


def _ask(session: Session, buyer: str, gpu: Gpu, wish: Wish) -> HeldQuote:
    """A verified quote for a GPU. Raises UntrustedMarket where it is not what was asked for."""
    market = session.market
    request = QuoteRequest(
        buyer=buyer,
        gpu_id=gpu.id,
        starts_at=wish.starts_at,
        duration=wish.seconds,
        max_price=gpu.listing.ceiling_price if wish.max_price is None else wish.max_price,
        salt=arguments.random_salt(),
        signed_at=int(time.time()),
    )
    signature = sign(session.account, request, market.domain)
    try:
        signed = session.coordinator.request_quote(
            SignedQuoteRequest(request=request, signature=signature)
        )
    except TooSmall as error:
        raise _too_small(market, error) from error
    verify_quote(market, request, signed)
    if signed.gpu.listing != gpu.listing:
        raise CoordinatorError(
            f"GPU {gpu.id} was changed by its provider while it was quoted",
            hint="look at it and ask again: aitbc marketplace gpu show " + gpu.id,
            problem="changed",
        )
    return HeldQuote(domain=market.domain, request=request, quote=signed)


def _too_small(market: Market, refused: TooSmall) -> TooSmall:
    """The refusal in the market's money. Raises UntrustedMarket where it contradicts itself."""
    verify_minimum(market, refused.minimum)
    told = refused.minimum.minimum
    least, cost = (format_amount(value, market.decimals) for value in (told.amount, told.cost))
    return TooSmall(
        f"too small to settle: at the present price of gas a booking is worth settling from "
        f"{least} {market.symbol} on, as settling one costs {cost} {market.symbol}",
        hint=refused.hint,
        status=refused.status,
        minimum=refused.minimum,
    )


def _kept(session: Session, quote_id: str) -> HeldQuote:
    held = Records(session.home).quote(quote_id)
    if held is None:
        raise InvalidInput(
            f"this home keeps no quote '{quote_id}'",
            hint="ask for one with 'aitbc marketplace quote'",
        )
    if held.domain != session.market.domain:
        raise InvalidInput(f"quote {quote_id} is of another market", hint="ask for a new one")
    if held.request.buyer != session.address:
        raise WalletError(
            f"quote {quote_id} is for {held.request.buyer}, and the wallet in use is "
            f"{session.address}",
            hint="see 'aitbc wallet list' and 'aitbc config set wallet NAME'",
        )
    verify_quote(session.market, held.request, held.quote)
    return held
