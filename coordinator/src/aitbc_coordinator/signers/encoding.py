"""What is asked of a signer, in JSON that both dialects read."""

from collections.abc import Mapping
from typing import Any

from hexbytes import HexBytes

from aitbc.protocol.messages import Message, SigningDomain, domain_type

_QUANTITIES = ("nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas", "value", "chainId")


def transaction_json(transaction: Mapping[str, Any], sender: str) -> dict[str, str]:
    """An EIP-1559 transaction's fields: quantities as hex, no `to` where it makes a contract."""
    fields = {name: hex(transaction[name]) for name in _QUANTITIES}
    fields |= {"from": sender, "data": HexBytes(transaction["data"]).to_0x_hex()}
    receiver = HexBytes(transaction.get("to") or b"")
    return fields | ({"to": receiver.to_0x_hex()} if receiver else {})


def typed_data_json(message: Message, domain: SigningDomain) -> dict[str, Any]:
    """A message as EIP-712 typed data: numbers as decimal strings, which lose no digit."""
    name = type(message).__name__
    return {
        "types": {"EIP712Domain": domain_type(domain), **message.types()},
        "primaryType": name,
        "domain": {key: _value(value) for key, value in domain.as_dict().items()},
        "message": _value(message),
    }


def _value(value: Any) -> Any:
    if isinstance(value, Message):
        return {key: _value(item) for key, item in value.by_field().items()}
    if isinstance(value, tuple | list):
        return [_value(item) for item in value]
    return str(value)
