"""Bodies as the OpenAPI document shows them. Their signatures are of the right shape only."""

from typing import Any

_SIGNATURE = "0x" + "1b" * 65

GRANT: dict[str, Any] = {
    "grant": {
        "provider": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "session_key": "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
        "expires_at": 1802592000,
    },
    "signature": _SIGNATURE,
}

FUNDING: dict[str, Any] = {
    "terms": {
        "buyer": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "provider": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "amount": "50000",
        "fund_by": 1800000060,
        "starts_at": 1800000060,
        "ends_at": 1800003660,
        "listing": "0x" + "5e" * 32,
        "salt": "8264919374652910",
    },
    "method": "authorization",
    "nonce": None,
    "signature": _SIGNATURE,
}

HEARTBEAT: dict[str, Any] = {
    "heartbeat": {
        "booking_id": "0x" + "4c" * 32,
        "sequence": 12,
        "covers_from": 1800000110,
        "covers_until": 1800000120,
        "telemetry": '{"gpu_percent":97}',
    },
    "signature": _SIGNATURE,
}

PRESENCE: dict[str, Any] = {
    "presence": {
        "provider": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "gpus": [
            {"gpu_id": "g-7k3m9q", "gpu_uuid": "GPU-5c8d9a0e-7f0b-4a3d-9c39-1b6a2f0d4e77"},
            {"gpu_id": "g-2h8x4r", "gpu_uuid": ""},
        ],
        "signed_at": 1800000110,
    },
    "signature": _SIGNATURE,
}
