"""Signing in (EIP-4361): what a wallet signs to read what is its own at one coordinator."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self
from urllib.parse import urlsplit

STATEMENT = "Read what is private to this wallet. This pays nothing and agrees to nothing."
LONGEST_MESSAGE = 1_000
"""Characters."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URI = re.compile(r"https?://[!-~]+")


class Audience(NamedTuple):
    """Whom a message is for: where clients reach a coordinator."""

    domain: str
    """Host, and port unless it is the scheme's own."""
    uri: str
    """With scheme, domain and path, and no slash at its end."""

    @classmethod
    def of(cls, url: str) -> Self:
        """The coordinator's at this URL; user, query and fragment are left out.

        Raises ValueError for what is no http(s) URL in ASCII.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        shown = f"[{host}]" if ":" in host else host
        domain = shown if port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{shown}:{port}"
        uri = f"{parts.scheme}://{domain}{parts.path.rstrip('/')}"
        if not host or _URI.fullmatch(uri) is None:
            raise ValueError("write a URL such as https://market.example.com")
        return cls(domain, uri)


@dataclass(frozen=True, slots=True)
class SignIn:
    """The message. Times are UTC seconds."""

    audience: Audience
    address: str
    chain_id: int
    nonce: str
    issued_at: int
    expires_at: int

    def text(self) -> str:
        """What the wallet signs, by EIP-191."""
        return (
            f"{self.audience.domain} wants you to sign in with your Ethereum account:\n"
            f"{self.address}\n"
            f"\n{STATEMENT}\n\n"
            f"URI: {self.audience.uri}\n"
            "Version: 1\n"
            f"Chain ID: {self.chain_id}\n"
            f"Nonce: {self.nonce}\n"
            f"Issued At: {_iso(self.issued_at)}\n"
            f"Expiration Time: {_iso(self.expires_at)}"
        )


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
