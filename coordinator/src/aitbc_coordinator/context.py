"""What every part of a running coordinator shares."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from aitbc.protocol.messages import Message
from aitbc.protocol.wire import Market
from aitbc_coordinator.database import Database
from aitbc_coordinator.metrics import Metrics
from aitbc_coordinator.rate_limit import RateLimit, RequestLimit
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.signers.protocols import MessageSigner


def utc_now() -> int:
    """UTC seconds."""
    return int(time.time())


@dataclass(frozen=True, slots=True)
class Attester:
    """The key that signs quotes, receipts and completions. It never sends a transaction."""

    signer: MessageSigner = field(repr=False)
    market: Market

    def sign(self, message: Message) -> str:
        """The 65-byte signature as 0x-hex. Raises SignerError where the key is not at hand."""
        return self.signer.sign(message, self.market.domain)


@dataclass(frozen=True, slots=True)
class Context:
    settings: Settings
    database: Database
    market: Market
    attester: Attester
    now: Callable[[], int] = utc_now
    metrics: Metrics = field(default_factory=Metrics)
    wallets: RateLimit | RequestLimit = field(init=False)
    """Spent by whoever signed what is new: by a repetition, which anybody can send, never."""

    def __post_init__(self) -> None:
        limit = RateLimit(self.settings.wallet_requests_per_minute)
        object.__setattr__(self, "wallets", limit)

    def of_request(self) -> Self:
        """What one request is given: its wallet is counted once, however often it is repeated."""
        made = copy.copy(self)
        if isinstance(self.wallets, RateLimit):
            object.__setattr__(made, "wallets", RequestLimit(self.wallets))
        return made
