"""`aitbc-coordinator retire`: the attester signs that nobody is to fund its escrow any more.

The escrow itself cannot be told: it stays as it is, and what is booked is delivered and paid as
ever. Whoever quotes refuses from then on, and a client that has seen the signature never funds.
"""

from functools import partial

from aitbc.errors import InvalidInput
from aitbc.protocol import messages, wire
from aitbc.protocol.types import ZERO_ADDRESS, parse_address
from aitbc_coordinator import retirement, serve, signers
from aitbc_coordinator.context import Attester, utc_now
from aitbc_coordinator.settings import Settings


def retire(settings: Settings, successor: str | None) -> wire.SignedRetirement:
    """Retire the configured escrow, once: what was signed first stands. Raises AitbcError."""
    named = _successor(settings, successor)
    serve.configure_logs(settings)
    attester = signers.open_attester(settings)
    _, market = serve.open_market(settings, attester.address)
    message = messages.Retirement(retired_at=utc_now(), successor=named)
    signature = Attester(attester, market).sign(message)
    signed = wire.SignedRetirement(retirement=message, signature=signature)
    database = serve.open_database(settings)
    try:
        return database.transact(partial(retirement.keep, signed=signed))
    finally:
        database.close()


def _successor(settings: Settings, text: str | None) -> str:
    if text is None:
        return ZERO_ADDRESS
    try:
        address = parse_address(text)
    except ValueError as error:
        raise InvalidInput(f"--successor: {error}") from error
    if address == settings.escrow:
        raise InvalidInput(
            "--successor: that is the escrow which is to be retired",
            hint="name the escrow of the new market, or leave it out",
        )
    return address
