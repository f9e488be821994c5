"""Somebody who signs in, honestly or not."""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from fastapi.testclient import TestClient
from signed import CHAIN_ID, NOW

from aitbc.protocol.sign_in import Audience, SignIn
from aitbc.signing import sign_text

URL = "https://market.example.com/gpus"
AUDIENCE = Audience("market.example.com", URL)
SIGN_IN = "/v1/sign-in"
PRIVATE = "/v1/quotes"
"""What no one reads without a token."""


@dataclass(frozen=True)
class Visitor:
    """A wallet before the API."""

    account: LocalAccount
    client: TestClient

    def nonce(self) -> str:
        answer = self.client.post(f"{SIGN_IN}/nonces")
        assert answer.status_code == 201, answer.text
        return str(answer.json()["nonce"])

    def message(self, **changes: Any) -> str:
        """A message that is good here, but for `changes`."""
        fields: dict[str, Any] = {
            "audience": AUDIENCE,
            "address": self.account.address,
            "chain_id": CHAIN_ID,
            "nonce": changes.get("nonce") or self.nonce(),
            "issued_at": NOW,
            "expires_at": NOW + 900,
        }
        return SignIn(**(fields | changes)).text()

    def send(self, message: str, signature: str | None = None) -> Any:
        """The answer to a message, signed by this wallet unless somebody else signed it."""
        signed = {"message": message, "signature": signature or sign_text(self.account, message)}
        return self.client.post(SIGN_IN, json=signed)

    def token(self, **changes: Any) -> str:
        answer = self.send(self.message(**changes))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def get(self, path: str, token: str) -> Any:
        return self.client.get(path, headers=bearer(token))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def assert_not_signed_in(answer: Any) -> None:
    """401, as RFC 9110 and RFC 9457 want it."""
    assert (answer.status_code, answer.json()["code"]) == (401, "not-signed-in"), answer.text
    assert answer.headers["www-authenticate"] == 'Bearer realm="aitbc"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]


def refused(answer: Any, status: int, code: str) -> str:
    """Its detail, after a check that it is refused as it should be."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]
    return str(answer.json()["detail"])
