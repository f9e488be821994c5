"""The secret that receivers verify messages with, as Standard Webhooks has it.

A file with one secret a line, `whsec_` and 24 to 64 random bytes in base64. Of several, each signs:
so one is replaced without a moment in which its receiver knows none of them.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from aitbc.errors import InvalidInput
from aitbc.files import write_private
from aitbc_coordinator.settings import ENV_PREFIX, Settings, home_path

PREFIX = "whsec_"
SHORTEST_BYTES, LONGEST_BYTES = 24, 64
MADE_BYTES = 32
FEWEST_KINDS = 12
"""Random bytes have more that differ; a placeholder often has less."""
PUBLISHED = frozenset({"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
"""In every tutorial."""
VARIABLE = ENV_PREFIX + "WEBHOOK_SECRET_FILE"


@dataclass(frozen=True, slots=True)
class Secret:
    """Never shown, not even by mistake."""

    keys: Sequence[bytes] = field(repr=False)

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The header `webhook-signature`."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        made = (hmac.digest(key, signed, "sha256") for key in self.keys)
        return " ".join("v1," + base64.b64encode(signature).decode() for signature in made)


def secret_path(settings: Settings) -> Path:
    return settings.webhook_secret_file or home_path() / "webhook-secret"


def open_secret(settings: Settings) -> Secret:
    """The configured secret; in the home one is made where there is none. Raises InvalidInput."""
    path = secret_path(settings)
    if settings.webhook_secret_file is None and not path.exists():
        made = PREFIX + base64.b64encode(secrets.token_bytes(MADE_BYTES)).decode()
        with suppress(FileExistsError):
            write_private(path, made + "\n", replace=False)
    return read_secret(path)


def read_secret(path: Path) -> Secret:
    """Raises InvalidInput for a file that has no secret in it, or one that can be guessed."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise _refused(f"cannot read the webhook's secret in {path}: {reason}") from None
    if not lines:
        raise _refused(f"the webhook's secret in {path} is empty")
    return Secret(tuple(_key(line, path) for line in lines))


def _key(text: str, path: Path) -> bytes:
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if encoded == text or not SHORTEST_BYTES <= len(key) <= LONGEST_BYTES:
        raise _refused(
            f"the webhook's secret in {path} is not '{PREFIX}' and "
            f"{SHORTEST_BYTES} to {LONGEST_BYTES} bytes in base64"
        )
    if encoded in PUBLISHED or len(set(key)) < FEWEST_KINDS or key.isascii():
        raise _refused(f"the webhook's secret in {path} is not random")
    return key


def _refused(message: str) -> InvalidInput:
    return InvalidInput(
        message,
        hint=f"write {PREFIX} and the output of 'openssl rand -base64 32' into a file of your own "
        f"and name it in {VARIABLE}, or leave that out: one is made in the home",
    )
