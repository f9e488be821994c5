"""HTTP endpoints of signing in, and of what a wallet reads with it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request

from aitbc.protocol import wire
from aitbc.protocol.sign_in import Audience, SignIn
from aitbc_coordinator.api.dependencies import ContextDependency
from aitbc_coordinator.api.limits import client_of
from aitbc_coordinator.api.problems import declare
from aitbc_coordinator.cursor import chain_time
from aitbc_coordinator.market import repository, views
from aitbc_coordinator.rate_limit import RateLimit
from aitbc_coordinator.sessions import access
from aitbc_coordinator.sessions.dependencies import UNSIGNED, VisitorDependency
from aitbc_coordinator.sessions.verification import CODES

MOST_QUOTES = 200
MOST_SIGN_INS = 60
"""Requests in a minute that one client address may make for it."""

_EXAMPLE = SignIn(
    audience=Audience.of("https://market.example.com"),
    address="0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    chain_id=31_337,
    nonce="4f6c1c0e5a7b4d0f9a3e2b1c8d7e6f50",
    issued_at=1_800_000_000,
    expires_at=1_800_000_900,
)
SignInBody = Annotated[
    wire.SignInRequest,
    Body(examples=[{"message": _EXAMPLE.text(), "signature": "0x" + "1b" * 65}]),
]


def limit(request: Request) -> None:
    """Raises TooManyRequests: a nonce is a row, and a message takes a while to read."""
    sign_ins: RateLimit = request.app.state.sign_ins
    sign_ins.spend(client_of(request.scope))


router = APIRouter(prefix=wire.API, tags=["sessions"])


@router.post(
    "/sign-in/nonces",
    status_code=HTTPStatus.CREATED,
    summary="Begin to sign in",
    dependencies=[Depends(limit)],
)
def make_nonce(context: ContextDependency) -> wire.SignInNonce:
    """A nonce for an EIP-4361 message: good once, and for some minutes."""
    return access.issue_nonce(context)


@router.post(
    "/sign-in",
    status_code=HTTPStatus.CREATED,
    summary="Sign in with a wallet",
    responses=declare({403: (*CODES, "unknown-nonce"), 422: ("invalid-message",)}),
    dependencies=[Depends(limit)],
)
def sign_in(body: SignInBody, request: Request, context: ContextDependency) -> wire.AccessToken:
    """A token to read what is private to the wallet; it changes nothing and pays nothing.

    The message is an EIP-4361 message of version 1 for this coordinator's domain and URI and for
    the market's chain, with a nonce of this coordinator, issued now, and with an expiration time
    at most `session_seconds` later. Its address has its checksum, and its key signed the message.
    """
    audience: Audience = request.app.state.audience
    return access.sign_in(context, audience, body)


@router.delete(
    "/sign-in",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Sign out",
    responses=UNSIGNED,
)
def sign_out(visitor: VisitorDependency, context: ContextDependency) -> None:
    """The token of this request is good for nothing from then on."""
    access.sign_out(context, visitor.token)


@router.get("/quotes", summary="Your quotes that hold a GPU", responses=UNSIGNED)
def list_quotes(visitor: VisitorDependency, context: ContextDependency) -> wire.SignedQuotes:
    """Those that the wallet which signed in asked for and nobody has funded.

    The last to lapse come first, at most 200. Nobody else is told what somebody thinks of booking.
    """
    with context.database.read() as session:
        held = repository.quotes_held(session, chain_time(session), buyer=visitor.wallet)
        newest = sorted(held, key=lambda quote: (-quote.fund_by, quote.id))[:MOST_QUOTES]
        return views.quote_views(session, newest)
