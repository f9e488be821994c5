"""Signing the market's messages with an unlocked wallet."""

from typing import TYPE_CHECKING

from aitbc.protocol.messages import Domain, Message

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


def sign(account: "LocalAccount", message: Message, domain: Domain) -> str:
    """The wallet's signature over a message in a domain, as 0x-hex of 65 bytes."""
    return "0x" + bytes(account.sign_message(message.signable(domain)).signature).hex()
