"""People of a market and what they sign."""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

import samples
from aitbc.protocol import messages, wire
from aitbc_coordinator.settings import Settings

NOW = 1_800_000_000
ESCROW = "0x" + "E5" * 20
CHAIN_ID = 31_337


_SETTINGS = (
    "chain_id",
    "contract",
    "escrow",
    "deploy_block",
    "confirmations",
    "quote_seconds",
    "minimum_seconds",
    "maximum_seconds",
    "maximum_lead_seconds",
    "heartbeat_allowance",
    "unreachable_seconds",
)


def market_of(settings: Settings, attester: str, **changes: Any) -> wire.Market:
    """The market that a coordinator with these settings announces."""
    fields = {name: getattr(settings, name) for name in _SETTINGS}
    return samples.market(attester=attester, **(fields | changes))


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True)
class Wallet:
    """Somebody who signs messages for one escrow."""

    account: LocalAccount
    domain: messages.Domain

    @property
    def address(self) -> str:
        return str(self.account.address)

    def sign(self, message: messages.Message, domain: messages.Domain | None = None) -> str:
        signed = self.account.sign_message(message.signable(domain or self.domain))
        return "0x" + bytes(signed.signature).hex()


def listing(provider: Wallet, **changes: Any) -> wire.SignedListing:
    """A provider's signed listing, ordinary but for `changes`."""
    fields = {"model": "NVIDIA RTX 4090", "signed_at": NOW}
    message = samples.listing(provider.address, **(fields | changes))
    return wire.SignedListing(listing=message, signature=provider.sign(message))


def unlisting(provider: Wallet, **changes: Any) -> wire.SignedUnlisting:
    fields = {"provider": provider.address, "salt": 1, "version": 2, "signed_at": NOW}
    message = messages.Unlisting(**(fields | changes))
    return wire.SignedUnlisting(unlisting=message, signature=provider.sign(message))


def quote_request(buyer: Wallet, gpu_id: str, **changes: Any) -> wire.SignedQuoteRequest:
    fields = {
        "buyer": buyer.address,
        "gpu_id": gpu_id,
        "starts_at": 0,
        "duration": 3600,
        "max_price": 10**9,
        "salt": 1,
        "signed_at": NOW,
    }
    message = messages.QuoteRequest(**(fields | changes))
    return wire.SignedQuoteRequest(request=message, signature=buyer.sign(message))
