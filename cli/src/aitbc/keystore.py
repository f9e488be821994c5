"""Wallets as encrypted keystore files (Web3 Secret Storage v3), one file per name."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json

from aitbc.errors import InvalidInput, WalletError
from aitbc.files import write_private

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Keystore:
    """A folder of encrypted keys. Files are readable by their owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def address(self, name: str) -> str:
        """The address of a wallet, read without its passphrase. Raises WalletError."""
        from eth_utils.address import to_checksum_address

        return str(to_checksum_address(str(self._read(name)["address"])))

    def create(self, name: str, passphrase: str) -> str:
        """Make a new key; return its address. Raises InvalidInput for a name that is taken."""
        from eth_account import Account

        return self._write(name, Account.create().key, passphrase)

    def import_key(self, name: str, private_key: str, passphrase: str) -> str:
        """Store an existing private key (hex); return its address."""
        from eth_keys.constants import SECPK1_N

        digits = private_key.strip().removeprefix("0x")
        well_formed = re.fullmatch(r"[0-9a-fA-F]{64}", digits) is not None
        if not well_formed or not 0 < int(digits, 16) < SECPK1_N:
            raise InvalidInput("that is not a private key: expected 64 hex digits")
        return self._write(name, bytes.fromhex(digits), passphrase)

    def unlock(self, name: str, passphrase: str) -> "LocalAccount":
        """The account behind a name. Raises WalletError: no such wallet, or a wrong passphrase."""
        from eth_account import Account

        try:
            key = Account.decrypt(self._read(name), passphrase)
        except ValueError as error:
            raise WalletError(
                f"wrong passphrase for wallet '{name}'",
                hint="try again, or check the file in AITBC_PASSPHRASE_FILE",
            ) from error
        account: LocalAccount = Account.from_key(key)
        return account

    def _path(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise InvalidInput(
                f"'{name}' cannot name a wallet",
                hint="use up to 32 lower-case letters, digits, - and _",
            )
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, object]:
        path = self._path(name)
        try:
            content = from_json(path.read_bytes())
        except FileNotFoundError:
            raise WalletError(
                f"there is no wallet '{name}'",
                hint="make one with 'aitbc init' or 'aitbc wallet create'",
            ) from None
        except (OSError, ValueError) as error:
            raise WalletError(f"cannot read the wallet file {path}: {error}") from error
        if not isinstance(content, dict) or "address" not in content:
            raise WalletError(f"{path} is not a keystore file")
        return content

    def _write(self, name: str, key: bytes, passphrase: str) -> str:
        from eth_account import Account

        path = self._path(name)
        if not passphrase:
            raise InvalidInput("a wallet needs a passphrase")
        encrypted = Account.encrypt(key, passphrase)
        try:
            write_private(path, json.dumps(encrypted), replace=False)
        except FileExistsError:
            raise InvalidInput(
                f"wallet '{name}' exists already", hint="choose another name with --name"
            ) from None
        return self.address(name)


def read_passphrase(path: Path, variable: str) -> str:
    """The passphrase in a file, which the environment's `variable` may name.

    Raises WalletError for a file that cannot be read or is empty.
    """
    hint = f"check the file that {variable} names"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise WalletError(f"cannot read the passphrase in {path}: {reason}", hint=hint) from error
    passphrase = text.rstrip("\r\n")
    if not passphrase:
        raise WalletError(f"the passphrase in {path} is empty", hint=hint)
    return passphrase
