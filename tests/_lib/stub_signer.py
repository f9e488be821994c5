"""External signers over HTTP, with real keys: Web3Signer's `eth1` mode, and Clef's external API.

They read what they are sent as strictly as those do, and sign with eth_account, which shares no
code with what the coordinator checks messages by.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes

from http_stub import Answer, serving

QUANTITY = re.compile("0x(0|[1-9a-f][0-9a-f]*)")
DENIED = -32000


class Refused(Exception):
    """What is told to who asked."""


@dataclass
class StubSigner:
    """What it signs, and how, can be changed: then it lies."""

    accounts: Sequence[LocalAccount]
    chain_id: int = 31_337
    """Of Web3Signer, which is told its chain when it is started."""
    url: str = ""
    signs_as: LocalAccount | None = None
    """Another key than the one that is asked for."""
    alter: Callable[[dict[str, Any]], Any] = lambda asked: asked
    """What is signed in the place of a transaction or of typed data."""
    spoil: Callable[[Any], Any] = lambda result: result
    """What is answered in the place of a result."""
    answer: Answer | None = None
    """Sent in the place of any answer."""
    asked: list[str] = field(default_factory=list)
    """The methods, in order."""

    def respond(self, _method: str, _path: str, body: bytes) -> Answer | None:
        request = json.loads(body)
        assert request["jsonrpc"] == "2.0"
        self.asked.append(request["method"])
        if self.answer is not None:
            return self.answer
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        status = 200
        try:
            told["result"] = self.spoil(self.methods[request["method"]](*request["params"]))
        except Refused as error:
            told["error"] = {"code": DENIED, "message": str(error)}
            status = self.refusal_status
        return Answer(status, json.dumps(told).encode(), {"Content-Type": "application/json"})

    @property
    def methods(self) -> Mapping[str, Callable[..., Any]]:
        raise NotImplementedError

    refusal_status = 200

    def key(self, address: str) -> LocalAccount:
        assert re.fullmatch("0x[0-9a-fA-F]{40}", address), address
        for account in self.accounts:
            if account.address.lower() == address.lower():
                return self.signs_as or account
        raise Refused("Signing From Is Not An Unlocked Account")

    def signed(self, asked: Mapping[str, str], chain_id: int) -> str:
        """The raw transaction of an EIP-1559 request."""
        fields: dict[str, Any] = {"type": 2, "chainId": chain_id, "data": asked["data"]}
        for name in ("nonce", "gas", "value", "maxFeePerGas", "maxPriorityFeePerGas"):
            assert QUANTITY.fullmatch(asked[name]), (name, asked[name])
            fields[name] = int(asked[name], 16)
        if "to" in asked:
            fields["to"] = HexBytes(asked["to"])
        made = self.key(asked["from"]).sign_transaction(self.alter(fields))
        return HexBytes(made.raw_transaction).to_0x_hex()

    def signed_typed_data(self, address: str, document: dict[str, Any]) -> str:
        # Java's and Go's libraries read a decimal string; one in hex, only Go's.
        assert re.fullmatch("[0-9]+", document["domain"]["chainId"])
        changed = self.alter(document)
        signable = encode_typed_data(full_message=with_numbers(changed))
        return HexBytes(self.key(address).sign_message(signable).signature).to_0x_hex()


class StubWeb3Signer(StubSigner):
    refusal_status = 400

    @property
    def methods(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "eth_accounts": lambda: [account.address.lower() for account in self.accounts],
            "eth_signTransaction": lambda asked: self.signed(asked, self.chain_id),
            "eth_signTypedData": lambda address, text: self.signed_typed_data(
                address, json.loads(text)
            ),
        }


class StubClef(StubSigner):
    @property
    def methods(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "account_list": lambda: [account.address for account in self.accounts],
            "account_signTransaction": self._transaction,
            "account_signTypedData": self.signed_typed_data,
        }

    def _transaction(self, asked: dict[str, str]) -> dict[str, Any]:
        assert asked.get("input", asked["data"]) == asked["data"]
        raw = self.signed(asked, int(asked["chainId"], 16))
        return {"raw": raw, "tx": {"type": "0x2", "nonce": asked["nonce"]}}


STUBS: dict[str, type[StubSigner]] = {"web3signer": StubWeb3Signer, "clef": StubClef}


@contextmanager
def serving_signer(
    dialect: str, *accounts: LocalAccount, chain_id: int = 31_337
) -> Iterator[StubSigner]:
    stub = STUBS[dialect](accounts, chain_id)
    with serving(stub.respond) as stub.url:
        yield stub


def with_numbers(document: dict[str, Any]) -> dict[str, Any]:
    """Typed data whose decimal strings are numbers, as eth_account wants them."""
    types = document["types"]

    def read(kind: str, value: Any) -> Any:
        if kind.endswith("[]"):
            return [read(kind.removesuffix("[]"), item) for item in value]
        if kind in types:
            assert set(value) == {each["name"] for each in types[kind]}
            return {each["name"]: read(each["type"], value[each["name"]]) for each in types[kind]}
        return int(value) if kind.startswith("uint") else value

    return {
        **document,
        "domain": read("EIP712Domain", document["domain"]),
        "message": read(document["primaryType"], document["message"]),
    }


def new_key() -> LocalAccount:
    account: LocalAccount = Account.create()
    return account
