"""A key that an external signer holds, and what it signs, checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from eth_account.datastructures import SignedTransaction
from eth_utils.address import to_checksum_address

from aitbc.errors import InvalidInput
from aitbc.protocol.messages import Message, SigningDomain
from aitbc_coordinator.signers import checks
from aitbc_coordinator.signers.clef import Clef
from aitbc_coordinator.signers.encoding import transaction_json, typed_data_json
from aitbc_coordinator.signers.protocols import SignerError
from aitbc_coordinator.signers.rpc import TIMEOUT_SECONDS, Rpc
from aitbc_coordinator.signers.web3signer import Web3Signer


class Dialect(Protocol):
    """How one program is asked. Nothing that it answers has been checked."""

    def accounts(self) -> Any: ...

    def transaction(self, fields: dict[str, str]) -> Any: ...

    def typed_data(self, address: str, document: dict[str, Any]) -> Any: ...


_DIALECTS: dict[str, Callable[[Rpc], Dialect]] = {"web3signer": Web3Signer, "clef": Clef}


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a key is, as it is configured. `role` is the attester or a relayer."""

    role: str
    signer: str = field(repr=False)
    address: str

    @classmethod
    def all_of(cls, role: str, signer: str, addresses: Sequence[str]) -> "list[Remote]":
        """None where the keys are in the home. Raises InvalidInput for one setting of two."""
        if bool(signer) == bool(addresses):
            return [cls(role, signer, address) for address in addresses]
        missing = f"{role}_address" if signer else f"{role}_signer"
        raise InvalidInput(
            f"the setting '{missing}' is missing",
            hint=f"an external signer needs both, {role}_signer and {role}_address",
        )

    @property
    def url(self) -> str:
        return url_of(self.signer)

    @property
    def dialect(self) -> str:
        return self.signer.partition(":")[0]


def url_of(signer: str) -> str:
    """Of a setting such as `clef:http://127.0.0.1:8550`."""
    return signer.partition(":")[2]


class External:
    """Both a MessageSigner and a TransactionSigner. Every answer is checked before it is used."""

    def __init__(self, remote: Remote, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.address = to_checksum_address(remote.address)
        self._name = f"the {remote.role}'s signer ({remote.dialect})"
        rpc = Rpc(self._name, remote.url, timeout_seconds)
        self._dialect = _DIALECTS[remote.dialect](rpc)

    def require_key(self) -> None:
        """Raises SignerError unless the signer answers, and says that it has the key."""
        accounts = self._dialect.accounts()
        listed = accounts if isinstance(accounts, list) else []
        if self.address.lower() not in {str(account).lower() for account in listed}:
            raise SignerError(
                f"{self._name} does not have the key of {self.address}",
                hint="load the key into it, or correct the address in the settings",
            )

    def sign(self, message: Message, domain: SigningDomain) -> str:
        answer = self._dialect.typed_data(self.address, typed_data_json(message, domain))
        try:
            return checks.check_signature(message, domain, answer, self.address)
        except checks.Unfit as error:
            raise self._unfit(error) from error

    def sign_transaction(self, transaction: dict[str, Any], /) -> SignedTransaction:
        answer = self._dialect.transaction(transaction_json(transaction, self.address))
        try:
            return checks.check_transaction(transaction, answer, self.address)
        except checks.Unfit as error:
            raise self._unfit(error) from error

    def _unfit(self, error: checks.Unfit) -> SignerError:
        return SignerError(
            f"{self._name} was asked to sign as {self.address}, and it signed {error}",
            hint="its answer is not used: check that it is set up for this chain and this key",
        )
