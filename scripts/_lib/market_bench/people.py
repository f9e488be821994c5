"""Providers and buyers, and what they sign before the clock starts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, cycle

from eth_account import Account
from eth_account.signers.local import LocalAccount

from aitbc.protocol import messages, wire
from aitbc.protocol.messages import Domain
from aitbc.signing import sign
from aitbc_coordinator.context import utc_now

COIN = 10**18
MODELS = (
    ("NVIDIA RTX 4090", 24, COIN // 500),
    ("NVIDIA A100-SXM4-80GB", 80, COIN // 200),
    ("NVIDIA H100", 80, COIN // 100),
    ("Tesla T4", 16, COIN // 1000),
    ("NVIDIA L40S", 48, COIN // 250),
)
"""Name, memory in GiB, and the usual base price of an hour in base units."""
REGIONS = ("us-west", "us-east", "eu-central", "eu-west", "ap-southeast")
CUDA_VERSIONS = ("12.1", "12.4", "13.0")
PRICE_STEPS = 100
"""Base prices are spread over twice the usual one, in so many steps."""
MATCH = 'memory>=24 cuda>=12.1 model~"4090" region in us-west,us-east'
NO_MATCH = {
    "class": 'memory>=24 cuda>=12.1 model~"T4" region in us-west,us-east',
    "price": 'memory>=24 model~"4090" price<0.0001',
    "standing": 'memory>=24 model~"4090" reliability>0.98 verified',
}
"""What no GPU meets, though some meet each condition on the GPU itself: by what stands in the way.
"""
PEOPLE = 16
DURATION = 3600
"""Of what buyers ask for, in seconds."""


@dataclass(frozen=True)
class People:
    """Some providers and buyers of one market."""

    domain: Domain
    providers: tuple[LocalAccount, ...] = field(
        default_factory=lambda: tuple(Account.create() for _ in range(PEOPLE))
    )
    buyers: tuple[LocalAccount, ...] = field(
        default_factory=lambda: tuple(Account.create() for _ in range(PEOPLE))
    )
    _numbers: Iterator[int] = field(default_factory=count)

    def listings(self, amount: int) -> list[bytes]:
        """Bodies that register GPUs: every model in every region, at many prices."""
        return [self._listing(next(self._numbers)) for _ in range(amount)]

    def _listing(self, number: int) -> bytes:
        provider = self.providers[number % len(self.providers)]
        (model, memory, usual), place = MODELS[number % len(MODELS)], number // len(MODELS)
        region, place = REGIONS[place % len(REGIONS)], place // len(REGIONS)
        base_price = usual // 2 + usual * secrets.randbelow(PRICE_STEPS) // PRICE_STEPS
        listing = messages.Listing(
            provider=provider.address,
            salt=secrets.randbits(64),
            version=1,
            name=f"gpu-{number}",
            model=model,
            gpu_uuid=f"GPU-{number:032x}",
            memory_gib=memory,
            cuda_version=CUDA_VERSIONS[place % len(CUDA_VERSIONS)],
            region=region,
            base_price=base_price,
            floor_price=base_price // 2,
            ceiling_price=base_price * 2,
            strategy="market-balance",
            signed_at=utc_now(),
        )
        signed = wire.SignedListing(listing=listing, signature=sign(provider, listing, self.domain))
        return signed.model_dump_json().encode()

    def requests(self, where: str, starts: Iterable[int]) -> list[bytes]:
        """Bodies that ask for a GPU for an hour, one for each start (UTC seconds)."""
        buyers = cycle(self.buyers)
        return [self._request(next(buyers), where, starts_at) for starts_at in starts]

    def _request(self, buyer: LocalAccount, where: str, starts_at: int) -> bytes:
        request = messages.QuoteRequest(
            buyer=buyer.address,
            gpu_id="",
            where=where,
            starts_at=starts_at,
            duration=DURATION,
            max_price=COIN,
            salt=secrets.randbits(64),
            signed_at=utc_now(),
        )
        signature = sign(buyer, request, self.domain)
        return (
            wire.SignedQuoteRequest(request=request, signature=signature).model_dump_json().encode()
        )
