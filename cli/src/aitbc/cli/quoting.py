"""Asking a coordinator for quotes: what is signed, and what of the answer is believed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from aitbc.buying.quotes import verify_minimum, verify_quotes
from aitbc.cli import arguments
from aitbc.cli.filtering import NothingFits
from aitbc.cli.session import Session
from aitbc.client import TooSmall, Unmatched
from aitbc.errors import CoordinatorError
from aitbc.protocol.messages import QuoteRequest
from aitbc.protocol.units import MAX_AMOUNT, format_amount
from aitbc.protocol.where import Where, price_limit, show
from aitbc.protocol.wire import Gpu, Market, SignedQuote, SignedQuoteRequest
from aitbc.records import HeldQuote, Records
from aitbc.signing import sign


@dataclass(frozen=True, slots=True)
class Wish:
    """When a buyer wants GPUs, and how many. `starts_at` 0 is as soon as possible."""

    seconds: int
    starts_at: int = 0
    count: int = 1


def quote_gpu(session: Session, gpu: Gpu, wish: Wish, max_price: int | None = None) -> HeldQuote:
    """A verified quote for a GPU, which is kept. `max_price` is base units per hour.

    Raises UntrustedMarket where it is not what was asked for, and CoordinatorError.
    """
    limit = gpu.listing.ceiling_price if max_price is None else max_price
    (held,) = _ask(session, _request(session, wish, limit, gpu_id=gpu.id))
    if held.quote.gpu.listing != gpu.listing:
        raise CoordinatorError(
            f"GPU {gpu.id} was changed by its provider while it was quoted",
            hint="look at it and ask again: aitbc marketplace gpu show " + gpu.id,
            problem="changed",
        )
    return held


def quote_where(session: Session, where: Where, wish: Wish) -> list[HeldQuote]:
    """Verified quotes for as many GPUs as are wished, which are kept.

    Raises NothingFits where there are fewer, and as `quote_gpu`.
    """
    limit = price_limit(where)
    text = show(where, session.market.decimals)
    request = _request(session, wish, MAX_AMOUNT if limit is None else limit, where=text)
    try:
        return _ask(session, request)
    except Unmatched as error:
        raise NothingFits(error) from error


def _request(
    session: Session, wish: Wish, max_price: int, *, gpu_id: str = "", where: str = ""
) -> QuoteRequest:
    return QuoteRequest(
        buyer=session.address,
        gpu_id=gpu_id,
        where=where,
        count=wish.count,
        starts_at=wish.starts_at,
        duration=wish.seconds,
        max_price=max_price,
        salt=arguments.random_salt(),
        signed_at=int(time.time()),
    )


def _ask(session: Session, request: QuoteRequest) -> list[HeldQuote]:
    market = session.market
    signature = sign(session.account, request, market.domain)
    try:
        answer = session.coordinator.request_quotes(
            SignedQuoteRequest(request=request, signature=signature)
        )
    except TooSmall as error:
        raise _too_small(market, error) from error
    verify_quotes(market, request, answer.items)
    return _kept(session, request, answer.items)


def _kept(
    session: Session, request: QuoteRequest, quotes: Sequence[SignedQuote]
) -> list[HeldQuote]:
    records, domain = Records(session.home), session.market.domain
    held = [HeldQuote(domain=domain, request=request, quote=signed) for signed in quotes]
    for one in held:
        records.keep_quote(one)
    return held


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
