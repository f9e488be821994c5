"""The coordinator's two keys, wherever they are: in its home, or with an external signer."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aitbc.signing import Signer
from aitbc_coordinator import home
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.signers.external import External, Remote
from aitbc_coordinator.signers.protocols import MessageSigner, TransactionSigner
from aitbc_coordinator.signers.rpc import secrets_of


def open_attester(settings: Settings) -> MessageSigner:
    """Raises WalletError, or SignerError where an external signer lacks the key."""
    remote = _attester(settings)
    if remote is not None:
        return connect(remote)
    return Signer(home.unlock(home.ATTESTER, settings.passphrase_file))


def open_relayer(settings: Settings) -> TransactionSigner:
    """Raises as `open_attester`."""
    remote = _relayer(settings)
    if remote is not None:
        return connect(remote)
    return home.unlock(home.RELAYER, settings.passphrase_file)


def open_both(settings: Settings) -> tuple[MessageSigner, TransactionSigner]:
    """Attester and relayer, side by side, as a keystore takes a second. Raises as each."""
    with ThreadPoolExecutor() as pool:
        attester = pool.submit(open_attester, settings)
        relayer = pool.submit(open_relayer, settings)
        return attester.result(), relayer.result()


def attester_address(settings: Settings) -> str:
    """Read without unlocking or asking anything. Raises WalletError."""
    remote = _attester(settings)
    return home.attester_address() if remote is None else remote.address


def relayer_address(settings: Settings) -> str:
    """As `attester_address`."""
    remote = _relayer(settings)
    return home.relayer_address() if remote is None else remote.address


def connect(remote: Remote) -> External:
    """A signer that has the key. Raises SignerError."""
    signer = External(remote)
    signer.require_key()
    return signer


def connect_configured(config: dict[str, Any]) -> dict[str, External]:
    """The external signers of a configuration that may lack other settings, by role.

    Raises InvalidInput and SignerError.
    """
    found = {}
    for role in (home.ATTESTER, home.RELAYER):
        signer = home.value(f"{role}_signer", config)
        remote = Remote.of(role, signer, home.value(f"{role}_address", config))
        if remote is not None:
            found[role] = connect(remote)
    return found


def secrets(settings: Settings) -> Iterable[str]:
    """What of the signers' URLs may be a key."""
    for remote in (_attester(settings), _relayer(settings)):
        if remote is not None:
            yield from secrets_of(remote.url)


def _attester(settings: Settings) -> Remote | None:
    return Remote.of(home.ATTESTER, settings.attester_signer, settings.attester_address)


def _relayer(settings: Settings) -> Remote | None:
    return Remote.of(home.RELAYER, settings.relayer_signer, settings.relayer_address)
