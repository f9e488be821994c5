"""The dialect of Clef's external API."""

from typing import Any

from aitbc_coordinator.signers.rpc import Rpc


class Clef:
    """Asks a person where its rules do not decide."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def accounts(self) -> Any:
        return self._rpc.call("account_list")

    def transaction(self, fields: dict[str, str]) -> Any:
        answer = self._rpc.call("account_signTransaction", fields)
        return answer.get("raw") if isinstance(answer, dict) else None

    def typed_data(self, address: str, document: dict[str, Any]) -> Any:
        return self._rpc.call("account_signTypedData", address, document)
