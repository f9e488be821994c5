"""How often an address may ask, whatever it asks for."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from aitbc_coordinator.api import health
from aitbc_coordinator.api.problems import refusal
from aitbc_coordinator.errors import TooManyRequests
from aitbc_coordinator.rate_limit import RateLimit

EXEMPT = frozenset(health.PATHS)
"""Who watches the process must see it, however much it is asked."""
_SUBNET_BITS = 64
"""What one customer of an IPv6 network has at the least: its addresses are one client."""


class AddressLimit:
    """Refuses requests of an address that has asked too often."""

    def __init__(self, app: ASGIApp, limit: RateLimit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in EXEMPT:
            try:
                self._limit.spend(client_of(scope))
            except TooManyRequests as error:
                await refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def client_of(scope: Scope) -> str:
    """The IPv4 address or IPv6 network that a request comes from."""
    try:
        address = ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return "a client without an address"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address.packed, _SUBNET_BITS), strict=False))
