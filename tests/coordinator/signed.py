"""People of a market and what they sign."""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from aitbc.protocol import messages, wire

NOW = 1_800_000_000
ESCROW = "0x" + "E5" * 20
CHAIN_ID = 31_337


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
    fields: dict[str, Any] = {
        "provider": provider.address,
        "salt": 1,
        "version": 1,
        "name": "My-GPU",
        "model": "NVIDIA RTX 4090",
        "gpu_uuid": "",
        "memory_gib": 24,
        "cuda_version": "12.1",
        "region": "us-west",
        "base_price": 36_000,
        "floor_price": 18_000,
        "ceiling_price": 72_000,
        "strategy": "market-balance",
        "signed_at": NOW,
    }
    message = messages.Listing(**(fields | changes))
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
