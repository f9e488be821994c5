"""The one hash by which signed messages commit to a JSON document."""

import json

from eth_hash.auto import keccak
from pydantic import BaseModel


def canonical_digest(document: BaseModel) -> str:
    """keccak-256 (0x-hex) of a document as JSON with sorted keys and without spaces."""
    text = json.dumps(document.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return "0x" + keccak(text.encode()).hex()
