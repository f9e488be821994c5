"""`aitbc operator`: how a coordinator does its work, for those who run it."""

from http import HTTPStatus
from typing import Any

from aitbc.cli.app import command, group
from aitbc.cli.output import Moment
from aitbc.cli.session import Session
from aitbc.errors import CoordinatorError
from aitbc.protocol.units import NATIVE_COIN, format_amount
from aitbc.protocol.wire import OperatorStatus

operator = group("Look after a coordinator that you run.")


@command(
    operator, "status", examples=["aitbc operator status", "aitbc operator status --format json"]
)
def status(session: Session) -> None:
    """How the coordinator does its work: its parts, what waits, and the relayers' coin.

    It signs in with your wallet, which the coordinator's operator_wallets must name.
    """
    with session.signed_in() as token:
        try:
            found = session.coordinator.operator_status(token)
        except CoordinatorError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            raise CoordinatorError(
                "this coordinator lets no operator look at it from elsewhere",
                hint=f"set operator_wallets to {session.address} in its config.toml",
                status=error.status,
                problem=error.problem,
            ) from error
    session.output.record(_view(found))


def _view(found: OperatorStatus) -> dict[str, Any]:
    return {
        "leads": found.leads,
        "followed_block": found.followed_block,
        "followed_at": Moment.of(found.followed_at),
        "waiting": found.waiting,
        "waiting_since": Moment.of(found.waiting_since),
        "stuck": found.stuck,
        "unclaimed": found.unclaimed,
        "alerts": found.alerts,
        "checks": found.checks,
        "relayers": None
        if found.relayers is None
        else [
            {
                "address": relayer.address,
                "balance": format_amount(relayer.balance, NATIVE_COIN.decimals),
            }
            for relayer in found.relayers
        ],
    }
