"""The HTTP endpoint that takes buyers' signed payments."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Request

from aitbc.protocol import wire
from aitbc_coordinator.api.problems import declare
from aitbc_coordinator.settlement import examples
from aitbc_coordinator.settlement.fundings import Fundings, relay_off

router = APIRouter(prefix=wire.API, tags=["settlement"])

FundingBody = Annotated[wire.FundingRequest, Body(examples=[examples.FUNDING])]


@router.post(
    "/fundings",
    status_code=HTTPStatus.ACCEPTED,
    summary="Have a signed payment sent",
    responses=declare(
        {
            403: ("wrong-signer",),
            404: ("unknown-quote",),
            409: (
                "market-retired",
                "relay-off",
                "relay-budget",
                "gas-too-dear",
                "quote-expired",
                "funding-accepted",
            ),
            422: ("would-fail",),
            503: (
                "chain-replaced",
                "node-unavailable",
                "database-unavailable",
                "signer-unavailable",
            ),
        }
    ),
)
def post_funding(body: FundingBody, request: Request) -> wire.AcceptedFunding:
    """For buyers without gas: the coordinator sends the payment of a live quote, within a budget.

    Which methods it sends is in the market's `relays`. The signature is good for these terms only,
    and until `terms.fund_by`. That it was accepted does not say that it will be sent: watch the
    booking's slot in the escrow. Sending the same request again is harmless.
    """
    fundings: Fundings | None = request.app.state.fundings
    if fundings is None:
        raise relay_off("this coordinator sends no payments of buyers")
    return fundings.accept(body)
