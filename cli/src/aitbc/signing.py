"""Signing messages with an unlocked wallet."""

from typing import TYPE_CHECKING

import coincurve

from aitbc.protocol import typed_data
from aitbc.protocol.messages import Message, SigningDomain

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class Signer:
    """A wallet's key, made ready to sign many messages."""

    def __init__(self, account: "LocalAccount") -> None:
        self.address = str(account.address)
        self._key = coincurve.PrivateKey(bytes(account.key))

    def sign(self, message: Message, domain: SigningDomain) -> str:
        """The signature over a message in a domain, as 0x-hex of 65 bytes."""
        return "0x" + typed_data.sign(self._key, message.digest(domain)).hex()


def sign(account: "LocalAccount", message: Message, domain: SigningDomain) -> str:
    """The wallet's signature over a message in a domain, as 0x-hex of 65 bytes."""
    return Signer(account).sign(message, domain)


def sign_text(account: "LocalAccount", text: str) -> str:
    """The wallet's signature over a text (EIP-191, `personal_sign`), as 0x-hex of 65 bytes."""
    from eth_account.messages import encode_defunct

    return "0x" + bytes(account.sign_message(encode_defunct(text=text)).signature).hex()
