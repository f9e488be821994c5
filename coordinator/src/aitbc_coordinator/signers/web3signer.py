"""The dialect of Web3Signer in its `eth1` mode."""

import json
from typing import Any

from aitbc_coordinator.signers.rpc import Rpc


class Web3Signer:
    """Takes the chain from its own `--chain-id`."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def accounts(self) -> Any:
        return self._rpc.call("eth_accounts")

    def transaction(self, fields: dict[str, str]) -> Any:
        return self._rpc.call("eth_signTransaction", fields)

    def typed_data(self, address: str, document: dict[str, Any]) -> Any:
        # As a text: earlier versions take nothing else.
        return self._rpc.call("eth_signTypedData", address, json.dumps(document))
