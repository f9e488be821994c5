"""`aitbc marketplace quote` and `book`: a price that was verified, then its payment in escrow."""

import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from aitbc.buying import ways
from aitbc.buying.quotes import verify_quote
from aitbc.cli import arguments
from aitbc.cli.filtering import (
    CudaOption,
    MaxPriceOption,
    MinMemoryOption,
    RegionOption,
    WhereOption,
    read_filter,
)
from aitbc.cli.lookup import find_gpu
from aitbc.cli.output import Format
from aitbc.cli.paying import Payment, require_means
from aitbc.cli.quoting import Wish, quote_gpu, quote_where
from aitbc.cli.session import Session
from aitbc.cli.views import quote_view
from aitbc.errors import InvalidInput, WalletError
from aitbc.protocol.funding import PayBy
from aitbc.protocol.messages import MAX_COUNT
from aitbc.protocol.units import price_of
from aitbc.protocol.where import price_limit
from aitbc.protocol.wire import Gpu
from aitbc.records import HeldQuote, Records


class PayOption(StrEnum):
    """`--pay-by`: a way of paying with a token, or whichever fits."""

    AUTO = "auto"
    ALLOWANCE = PayBy.ALLOWANCE.value
    PERMIT = PayBy.PERMIT.value
    AUTHORIZATION = PayBy.AUTHORIZATION.value
    PERMIT2 = PayBy.PERMIT2.value


PayByOption = Annotated[PayOption, typer.Option(help="How the escrow gets the money of a token.")]
RelayOption = Annotated[
    bool | None,
    typer.Option(
        "--relay/--no-relay",
        help="Whether the coordinator sends your signed payment, and pays the gas. "
        "[default: where the wallet has no coin for gas]",
        show_default=False,
    ),
]
NoApproveOption = Annotated[
    bool, typer.Option("--no-approve", help="Fail where somebody needs an allowance.")
]

QUOTE_COLUMNS = {
    "id": "ID",
    "gpu_id": "GPU",
    "model": "MODEL",
    "region": "REGION",
    "price_per_hour": "PRICE/H",
    "amount": "AMOUNT",
    "expires_at": "EXPIRES",
}

CountOption = Annotated[int, typer.Option(help="How many GPUs, all or none.", min=1, max=MAX_COUNT)]
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
    count: CountOption = 1,
    start: StartOption = None,
    max_price: MaxPriceOption = None,
) -> None:
    """Ask what a GPU costs, and have it held for you for a short while.

    With --where it is the cheapest that fits and is free, with --count several of them: all, or
    none. The answer is verified and kept; pay for it with 'aitbc marketplace book --quote ID'.
    """
    if (gpu_id is None) == (where is None):
        raise InvalidInput("which GPU? name one with --gpu-id, or say with --where what it is like")
    wish = _wish(duration, start, count)
    if gpu_id is not None:
        quotes = [_named(session, find_gpu(session, gpu_id), wish, max_price)]
    else:
        quotes = quote_where(session, read_filter(session.market, where, max_price=max_price), wish)
    _show(session, quotes)


def _show(session: Session, quotes: Sequence[HeldQuote]) -> None:
    shown = [quote_view(held.quote, session.market) for held in quotes]
    if session.output.format is Format.JSON:
        # Whole, so that the price can be explained to anybody: see 'price explain'.
        for one, held in zip(shown, quotes, strict=True):
            one["signed"] = held.quote.model_dump(mode="json")
    if len(shown) == 1:
        session.output.record(shown[0])
    else:
        session.output.table(shown, QUOTE_COLUMNS)
    options = " ".join(f"--quote {held.quote.id}" for held in quotes)
    session.output.hint(f"to book: aitbc marketplace book {options}")


def book(
    session: Session,
    *,
    quote_ids: Annotated[
        list[str] | None,
        typer.Option(
            "--quote", help="A quote that you asked for. Several are paid at once.", metavar="ID"
        ),
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
    count: CountOption = 1,
    pay_by: PayByOption = PayOption.AUTO,
    relay: RelayOption = None,
    no_approve: NoApproveOption = False,
) -> None:
    """Book a GPU: lock its price in the escrow.

    The quote is verified against what the provider signed, the escrow's code and parameters
    against what this home pinned. You see what you will pay, who sends it and who pays the gas,
    and are asked. What is not delivered comes back to you.
    """
    how = way_of_paying(pay_by, relay=relay, no_approve=no_approve)
    chosen = [where, region, min_memory, cuda]
    if quote_ids:
        if count > 1 or any(
            value is not None for value in [gpu_id, duration, start, max_price, *chosen]
        ):
            raise InvalidInput("--quote says everything: leave the other options out")
        held = [_kept(session, quote_id) for quote_id in dict.fromkeys(quote_ids)]
        Payment(session, held, how).make()
        return
    if duration is None:
        raise InvalidInput("how long? give --duration, such as --duration 2h")
    if gpu_id is not None and any(value is not None for value in chosen):
        raise InvalidInput(
            "--gpu-id names one: leave --where, --region, --min-memory and --cuda out"
        )
    wish = _wish(duration, start, count)
    # Before a quote keeps others from the GPU: whoever cannot pay the least cannot pay the price.
    if gpu_id is not None:
        gpu = find_gpu(session, gpu_id)
        least = price_of(gpu.listing.floor_price, wish.seconds)
        require_means(session, session.address, least, how)
        quotes = [_named(session, gpu, wish, max_price)]
    else:
        require_means(session, session.address, count, how, count)
        wanted = read_filter(
            session.market,
            where,
            region=region,
            min_memory=min_memory,
            cuda=cuda,
            max_price=max_price,
        )
        quotes = quote_where(session, wanted, wish)
    Payment(session, quotes, how).make()


def way_of_paying(pay_by: PayOption, *, relay: bool | None, no_approve: bool) -> ways.Wish:
    """What the options of a payment say."""
    method = None if pay_by is PayOption.AUTO else PayBy(pay_by.value)
    return ways.Wish(method, relay, may_approve=not no_approve)


def _wish(duration: str, start: str | None, count: int) -> Wish:
    return Wish(
        seconds=arguments.duration("--duration", duration),
        starts_at=arguments.start_time("--start", start, int(time.time())),
        count=count,
    )


def _named(session: Session, gpu: Gpu, wish: Wish, max_price: str | None) -> HeldQuote:
    if wish.count > 1:
        raise InvalidInput("--gpu-id names one: leave --count out, or say with --where what fits")
    limit = price_limit(read_filter(session.market, None, max_price=max_price))
    return quote_gpu(session, gpu, wish, limit)


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
