"""What a command works with: profile, wallet, coordinator and escrow, each opened on first use."""

import getpass
import os
import sys
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aitbc.access import signed_in
from aitbc.cli.output import Output
from aitbc.client import Coordinator
from aitbc.errors import AitbcError, WalletError
from aitbc.keystore import Keystore, read_passphrase
from aitbc.profile import (
    COORDINATOR_VARIABLE,
    RPC_VARIABLE,
    Profile,
    home_path,
    load_profile,
)
from aitbc.protocol.wire import Market

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from aitbc.chain.escrow import Escrow

PASSPHRASE_VARIABLE = "AITBC_PASSPHRASE_FILE"  # noqa: S105  (the name of a variable)


class Session:
    """One run of the program by one user."""

    def __init__(self, output: Output) -> None:
        self.output = output

    @cached_property
    def home(self) -> Path:
        return home_path()

    @cached_property
    def profile(self) -> Profile:
        """What the home's `config.toml` says; the environment is not in it."""
        return load_profile(self.home)

    @property
    def coordinator_url(self) -> str:
        return os.environ.get(COORDINATOR_VARIABLE) or self.profile.coordinator_url

    @property
    def rpc_url(self) -> str:
        """Raises AitbcError where no node is configured."""
        url = os.environ.get(RPC_VARIABLE) or self.profile.rpc_url
        if not url:
            raise AitbcError(
                "no node is configured", hint="choose one: aitbc config set rpc_url URL"
            )
        return url

    @property
    def market(self) -> Market:
        """The pinned market. Raises AitbcError where none is."""
        if self.profile.market is None:
            raise AitbcError("no market is pinned yet", hint="run 'aitbc init' first")
        return self.profile.market

    @cached_property
    def coordinator(self) -> Coordinator:
        return Coordinator(self.coordinator_url)

    @cached_property
    def keystore(self) -> Keystore:
        return Keystore(self.home / "keystore")

    @cached_property
    def address(self) -> str:
        """The wallet's address; needs no passphrase. Raises WalletError where there is none."""
        return self.keystore.address(self.profile.wallet)

    @cached_property
    def account(self) -> "LocalAccount":
        """The unlocked wallet. Raises WalletError."""
        self.keystore.address(self.profile.wallet)
        return self.keystore.unlock(self.profile.wallet, self.passphrase())

    @cached_property
    def escrow(self) -> "Escrow":
        """The pinned market's escrow, its code and parameters checked on the node just now.

        Raises ChainError, UntrustedMarket.
        """
        from aitbc.chain.escrow import open_checked

        return open_checked(self.rpc_url, self.market)

    def signed_in(self) -> AbstractContextManager[str]:
        """A token by which the coordinator tells this wallet what is private to it.

        Raises WalletError, CoordinatorError.
        """
        chain_id = self.market.chain_id
        return signed_in(self.coordinator, self.account, chain_id)

    def passphrase(self, *, new: bool = False) -> str:
        """From the file that AITBC_PASSPHRASE_FILE names, else asked for without an echo.

        A new one is asked for twice. Raises WalletError where it cannot be had.
        """
        path = os.environ.get(PASSPHRASE_VARIABLE)
        if path:
            return read_passphrase(Path(path).expanduser(), PASSPHRASE_VARIABLE)
        if not sys.stdin.isatty():
            raise WalletError(
                "the wallet needs a passphrase, and there is no terminal to ask for it",
                hint=f"put it into a file and name that file in {PASSPHRASE_VARIABLE}",
            )
        passphrase = getpass.getpass("new passphrase: " if new else "passphrase: ")
        if new and passphrase != getpass.getpass("the same again: "):
            raise WalletError("the two passphrases differ", hint="try again")
        if not passphrase:
            raise WalletError("the passphrase is empty", hint="try again")
        return passphrase
