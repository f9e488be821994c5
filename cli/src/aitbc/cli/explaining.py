"""A quote's price, computed again and told step by step, and what in the quote differs from it."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from aitbc.buying.quotes import Check, hour_checks, own_checks
from aitbc.cli.output import Moment
from aitbc.cli.session import Session
from aitbc.errors import InvalidInput, UntrustedMarket
from aitbc.protocol import pricing
from aitbc.protocol.pricing import NO_HOUR, PricingInputs
from aitbc.protocol.units import format_amount, price_of
from aitbc.protocol.wire import Market, SignedQuote

MAX_FILE_BYTES = 1024 * 1024
_QUOTE_ID = re.compile(r"q-[0-9a-z]{10}")


def read_quote(session: Session, text: str) -> tuple[SignedQuote, list[Check]]:
    """The quote of an id or of a file, and what of it does not hold by itself.

    A quote of an id is the coordinator's, and is also compared with the hours that it publishes.
    Raises InvalidInput for what is neither, CoordinatorError, UntrustedMarket.
    """
    if _QUOTE_ID.fullmatch(text) is None:
        signed = _quote_of_file(text)
        return signed, _differences(own_checks(session.market, signed))
    signed = session.coordinator.quote(text)
    if signed.id != text:
        raise UntrustedMarket(
            f"asked for quote {text}, the coordinator answers with {signed.id}",
            hint="do not act on it",
        )
    until = signed.inputs.hour.starts_at
    published = session.coordinator.hours(signed.inputs.region, until=until, limit=2)
    found = _differences(own_checks(session.market, signed))
    return signed, found + _differences(hour_checks(signed.inputs, published.items))


def explanation(signed: SignedQuote, differences: list[Check], market: Market) -> dict[str, Any]:
    """All of it as one record."""
    inputs = signed.inputs
    return {
        "id": signed.id,
        "booking_id": signed.booking_id,
        "gpu_id": signed.gpu_id,
        "strategy": inputs.strategy,
        "region": inputs.region,
        "starts_at": Moment(inputs.starts_at),
        "ends_at": Moment(inputs.ends_at),
        "price_per_hour": format_amount(signed.price.per_hour, market.decimals),
        "amount": format_amount(signed.terms.amount, market.decimals),
        "symbol": market.symbol,
        "verified": not differences,
        "market_hour": _hour_view(inputs),
        "steps": _steps(inputs, market),
        "differences": [
            {"what": check.what, "found": _shown(check.found), "expected": _shown(check.expected)}
            for check in differences
        ],
    }


def _differences(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if not check.holds]


def _quote_of_file(text: str) -> SignedQuote:
    path = Path(text)
    if not path.is_file():
        raise InvalidInput(
            f"'{text}' is neither a quote's id, as q-5d0x8m2kqa, nor a file",
            hint="save one with 'aitbc marketplace quote --gpu-id GPU --duration 1h --format json'",
        )
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    try:
        document = from_json(content)
        # What 'quote' prints, what a home keeps of a quote, or the coordinator's own answer.
        return SignedQuote.model_validate(document.get("signed", document.get("quote", document)))
    except (ValueError, AttributeError) as error:
        reason = _first_problem(error) if isinstance(error, ValidationError) else "it is not JSON"
        raise InvalidInput(
            f"{path} holds no quote: {reason}",
            hint="save one with 'aitbc marketplace quote … --format json'",
        ) from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'quote'}: {first['msg']}"


def _hour_view(inputs: PricingInputs) -> dict[str, Any] | None:
    hour = inputs.hour
    if hour == NO_HOUR:
        return None
    return {
        "starts_at": Moment(hour.starts_at),
        "listed": hour.listed,
        "booked": hour.booked,
        "utilisation_percent": format_amount(hour.utilisation_bps, 2),
        "level_before_percent": format_amount(hour.level_before_bps, 2),
        "level_percent": format_amount(hour.level_bps, 2),
    }


def _steps(inputs: PricingInputs, market: Market) -> list[dict[str, Any]]:
    """From the base price to the amount, by this program's own computation."""
    try:
        price = pricing.price(inputs)
    except ValueError:
        return []
    total = inputs.base_price
    rows = [_step("base price", None, total, "signed by the provider", market)]
    for factor in price.factors:
        total += factor.change
        rows.append(_step(factor.name, factor.change, total, factor.reason, market))
    rows.append(_step("price per hour", None, price.per_hour, "within floor and ceiling", market))
    amount = price_of(price.per_hour, inputs.seconds)
    reason = f"{inputs.seconds} s / 3600 * the price per hour, rounded up"
    return [*rows, _step("amount", None, amount, reason, market)]


def _step(
    name: str, change: int | None, result: int, reason: str, market: Market
) -> dict[str, Any]:
    sign = "+" if change is not None and change > 0 else ""
    shown = None if change is None else sign + format_amount(change, market.decimals)
    result_shown = format_amount(result, market.decimals)
    return {"step": name, "change": shown, "result": result_shown, "reason": reason}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{factor.name} {factor.change}" for factor in value) or "none"
    return str(value)
