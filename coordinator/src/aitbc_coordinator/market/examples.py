"""Bodies as the OpenAPI document shows them. Their signatures are of the right shape only."""

from typing import Any

_PROVIDER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
_BUYER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
_SIGNATURE = "0x" + "1b" * 65

LISTING: dict[str, Any] = {
    "listing": {
        "provider": _PROVIDER,
        "salt": "8264919374652910",
        "version": 1,
        "name": "My-GPU",
        "model": "NVIDIA GeForce RTX 4090",
        "gpu_uuid": "GPU-5c8d9a0e-7f0b-4a3d-9c39-1b6a2f0d4e77",
        "memory_gib": 24,
        "cuda_version": "12.1",
        "region": "us-west",
        "base_price": "50000",
        "floor_price": "25000",
        "ceiling_price": "100000",
        "strategy": "market-balance",
        "available": "mon 18:00-tue 08:00,fri 18:00-mon 08:00",
        "maintenance_from": 0,
        "maintenance_until": 0,
        "signed_at": 1800000000,
    },
    "signature": _SIGNATURE,
}

UNLISTING: dict[str, Any] = {
    "unlisting": {
        "provider": _PROVIDER,
        "salt": "8264919374652910",
        "version": 2,
        "signed_at": 1800000000,
    },
    "signature": _SIGNATURE,
}

QUOTE_REQUEST: dict[str, Any] = {
    "request": {
        "buyer": _BUYER,
        "gpu_id": "",
        "where": 'memory>=24 model~"A100" price<0.8',
        "count": 1,
        "starts_at": 0,
        "duration": 3600,
        "max_price": "60000",
        "salt": "1029384756",
        "signed_at": 1800000000,
    },
    "signature": _SIGNATURE,
}
