"""Nobody funds an escrow that its attester has retired."""

from aitbc.cli import arguments
from aitbc.cli.session import Session
from aitbc.errors import CoordinatorError, UntrustedMarket
from aitbc.profile import save_profile
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.wire import Market


def require_in_use(session: Session) -> None:
    """Raises UntrustedMarket where the pinned market's escrow is retired.

    What was seen once is kept in the profile, whatever the coordinator says later. One that cannot
    be asked now may have retired it: its quotes are good for a minute, and so is what it said then.
    """
    pinned = session.market
    if pinned.retirement is None:
        try:
            told = session.coordinator.market().retirement
        except CoordinatorError as error:
            session.output.note(f"cannot ask whether the escrow is retired: {error}")
            return
        pinned = pinned.model_copy(update={"retirement": told})
    if pinned.retirement is None:
        return
    _require_signed(pinned)
    if session.profile.market != pinned:
        save_profile(session.home, session.profile.model_copy(update={"market": pinned}))
    refuse_retired(pinned)


def refuse_retired(market: Market) -> None:
    """Raises UntrustedMarket for a market whose escrow is retired."""
    if market.retirement is None:
        return
    _require_signed(market)
    retirement = market.retirement.retirement
    hint = "look for another market; what is booked already goes on and is paid"
    if retirement.successor != ZERO_ADDRESS:
        hint = (
            f"the escrow that follows is {retirement.successor}: ask its operator for the URL, then"
            " 'aitbc init --coordinator URL --reset-market'"
        )
    raise UntrustedMarket(
        f"the escrow {market.escrow} is retired since {arguments.shown_time(retirement.retired_at)}"
        ": nobody is to fund it",
        hint=hint,
    )


def _require_signed(market: Market) -> None:
    signed = market.retirement
    if signed is None:
        return
    if signed.retirement.signer(market.domain, signed.signature) != market.attester:
        raise UntrustedMarket(
            "the coordinator says that its escrow is retired, and its attester did not sign that",
            hint="do not use this coordinator before its operator has explained it",
        )
