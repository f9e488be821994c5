"""Wallets that open at once.

Their keystore files are like any other, but their key is derived in two rounds: nothing of worth
hangs on these passphrases, and the program reads the cost from the file.
"""

import json
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from aitbc.files import write_private
from local_market import OperatorKeys


def give_wallet(
    keystore: Path,
    passphrase_file: Path,
    *,
    name: str = "default",
    account: LocalAccount | None = None,
) -> str:
    """Put a wallet into a keystore's folder, with a new key or that of `account`; its address."""
    owner = account or Account.create()
    passphrase = passphrase_file.read_text().strip()
    encrypted = Account.encrypt(owner.key, passphrase, kdf="scrypt", iterations=2)
    write_private(keystore / f"{name}.json", json.dumps(encrypted), replace=False)
    return str(owner.address)


def give_operator_keys(home: Path, passphrase_file: Path) -> OperatorKeys:
    """Put a coordinator's two keys into its home."""
    attester, relayer = (
        give_wallet(home / "keys", passphrase_file, name=name) for name in ("attester", "relayer")
    )
    return OperatorKeys(attester, relayer)
