"""Signing messages with an unlocked wallet."""

from typing import TYPE_CHECKING

from aitbc.protocol.messages import Message, SigningDomain

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


def sign(account: "LocalAccount", message: Message, domain: SigningDomain) -> str:
    """The wallet's signature over a message in a domain, as 0x-hex of 65 bytes."""
    return "0x" + bytes(account.sign_message(message.signable(domain)).signature).hex()
