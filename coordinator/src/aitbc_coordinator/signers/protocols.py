"""What signs for a coordinator, wherever its key is."""

from typing import Any, Protocol

from eth_account.datastructures import SignedTransaction
from eth_typing import ChecksumAddress

from aitbc.errors import AitbcError
from aitbc.protocol.messages import Message, SigningDomain


class SignerError(AitbcError):
    """An external signer does not answer, refuses, or answers with what must not be used."""

    code = "signer"


class MessageSigner(Protocol):
    """A key that signs the market's messages, as the attester's does."""

    @property
    def address(self) -> str: ...

    def sign(self, message: Message, domain: SigningDomain) -> str:
        """The 65-byte signature as 0x-hex. Raises SignerError."""


class TransactionSigner(Protocol):
    """A key that signs EIP-1559 transactions, as a relayer's does."""

    @property
    def address(self) -> ChecksumAddress: ...

    def sign_transaction(self, transaction: dict[str, Any], /) -> SignedTransaction:
        """Raises SignerError."""
