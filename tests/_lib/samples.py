"""An ordinary market and an ordinary listing, for tests to vary."""

from typing import Any

from aitbc.protocol.messages import Listing
from aitbc.protocol.types import ZERO_ADDRESS
from aitbc.protocol.wire import Market


def market(**changes: Any) -> Market:
    """A market in its chain's coin, without disputes."""
    fields: dict[str, Any] = {
        "name": "test market",
        "chain_id": 31_337,
        "contract": "NativeEscrow",
        "escrow": "0x" + "e5" * 20,
        "token": None,
        "symbol": "ETH",
        "decimals": 18,
        "attester": "0x" + "a1" * 20,
        "arbiter": ZERO_ADDRESS,
        "fee_bps": 100,
        "fee_recipient": "0x" + "fe" * 20,
        "claim_window": 86_400,
        "deploy_block": 1,
        "rpc_url": None,
        "confirmations": 1,
        "quote_seconds": 60,
        "minimum_seconds": 1,
        "maximum_seconds": 86_400,
        "maximum_lead_seconds": 86_400,
        "heartbeat_allowance": 30,
        "unreachable_seconds": 180,
    }
    return Market.model_validate(fields | changes)


def listing(provider: str, **changes: Any) -> Listing:
    """A provider's GPU."""
    fields: dict[str, Any] = {
        "provider": provider,
        "salt": 1,
        "version": 1,
        "name": "My-GPU",
        "model": "",
        "gpu_uuid": "",
        "memory_gib": 24,
        "cuda_version": "12.1",
        "region": "us-west",
        "base_price": 36_000,
        "floor_price": 18_000,
        "ceiling_price": 72_000,
        "strategy": "market-balance",
        "signed_at": 1_800_000_000,
    }
    return Listing.model_validate(fields | changes)
