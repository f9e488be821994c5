"""What endpoints are given of whoever signed in."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from aitbc_coordinator.api.dependencies import ContextDependency
from aitbc_coordinator.api.problems import declare
from aitbc_coordinator.errors import CHALLENGE, NotSignedIn, Unauthorised
from aitbc_coordinator.sessions import access

_scheme = HTTPBearer(
    scheme_name="SignedIn", description="A token of `POST /v1/sign-in`", auto_error=False
)

UNSIGNED = declare({401: (NotSignedIn.code,)})
"""`responses=` of every endpoint that needs a token."""
UNSIGNED[401]["headers"] = {
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": CHALLENGE}}
}


class Visitor(NamedTuple):
    """Who asks, and by which token."""

    wallet: str
    token: str


def get_visitor(
    context: ContextDependency,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)],
) -> Visitor:
    """Raises NotSignedIn."""
    if credentials is None:
        raise NotSignedIn("this is for wallets that signed in, and the request has no token")
    token = credentials.credentials
    return Visitor(access.wallet_of(context, token), token)


VisitorDependency = Annotated[Visitor, Depends(get_visitor)]


def require_operator(visitor: VisitorDependency, context: ContextDependency) -> None:
    """Raises NotSignedIn, and Unauthorised for a wallet that is not an operator's."""
    if visitor.wallet not in context.settings.operators:
        raise Unauthorised(
            "not-an-operator",
            f"{visitor.wallet} is not a wallet of this coordinator's operators",
            hint="sign in with one that operator_wallets names",
        )
