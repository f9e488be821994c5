"""Whether what a signer answers is what it was asked for, by the right key."""

from collections.abc import Mapping
from typing import Any

from eth_account import Account
from eth_account.datastructures import SignedTransaction
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes

from aitbc.protocol.messages import Message, SigningDomain
from aitbc.protocol.typed_data import HALF_CURVE_ORDER

DYNAMIC_FEE = 2
"""The type of EIP-1559's transactions."""


class Unfit(Exception):
    """What is wrong with an answer, in words that follow `it signed`."""


def check_transaction(asked: Mapping[str, Any], raw: Any, address: str) -> SignedTransaction:
    """A signed transaction, after a look at each of its fields. Raises Unfit."""
    signed = _bytes(raw)
    if signed[:1] != bytes([DYNAMIC_FEE]):
        raise Unfit("no EIP-1559 transaction")
    try:
        found = TypedTransaction.from_bytes(HexBytes(signed)).as_dict()
    except Exception as error:  # The libraries below raise of their own many kinds.
        raise Unfit("what is no transaction") from error
    expected = {
        "type": DYNAMIC_FEE,
        "accessList": (),
        "to": bytes(HexBytes(asked.get("to") or b"")),
        "data": bytes(HexBytes(asked["data"])),
        **{name: asked[name] for name in ("chainId", "nonce", "value", "gas")},
        **{name: asked[name] for name in ("maxFeePerGas", "maxPriorityFeePerGas")},
    }
    signature = {name: found.pop(name, None) for name in ("v", "r", "s")}
    for name in sorted({*expected, *found}):
        if name not in found or found[name] != expected.get(name):
            raise Unfit(f"another {name} than was asked")
    if not 0 < signature["s"] <= HALF_CURVE_ORDER:
        raise Unfit("with the twin of a signature, which anybody can make")
    try:
        signer = Account.recover_transaction(signed)
    except Exception as error:
        raise Unfit("with no signature") from error
    if signer != address:
        raise Unfit(f"as {signer}")
    return SignedTransaction(
        raw_transaction=HexBytes(signed), hash=HexBytes(keccak(signed)), **signature
    )


def check_signature(message: Message, domain: SigningDomain, raw: Any, address: str) -> str:
    """A message's signature, as contracts take it. Raises Unfit."""
    signature = "0x" + _bytes(raw).hex()
    signer = message.signer(domain, signature, on_chain=True)
    if signer is None:
        raise Unfit("with what no contract takes for a signature")
    if signer != address:
        raise Unfit(f"something else than was asked, or as {signer}")
    return signature


def _bytes(raw: Any) -> bytes:
    if not isinstance(raw, str) or not raw.startswith("0x"):
        raise Unfit("nothing: the answer is no hex")
    try:
        return bytes.fromhex(raw[2:])
    except ValueError as error:
        raise Unfit("nothing: the answer is no hex") from error
