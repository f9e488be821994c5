"""The coordinator's keys, wherever they are: in its home, or with an external signer."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from aitbc.signing import Signer
from aitbc_coordinator import home
from aitbc_coordinator.settings import Settings, parts
from aitbc_coordinator.signers.external import External, Remote, url_of
from aitbc_coordinator.signers.protocols import MessageSigner, TransactionSigner
from aitbc_coordinator.signers.rpc import secrets_of


class Keys(NamedTuple):
    """What signs for a coordinator."""

    attester: MessageSigner
    relayers: Sequence[TransactionSigner]
    """At least one; the first is preferred."""


def open_attester(settings: Settings) -> MessageSigner:
    """Raises WalletError, or SignerError where an external signer lacks the key."""
    remote = _attester(settings)
    if remote is not None:
        return connect(remote)
    return Signer(home.unlock(home.ATTESTER, settings.passphrase_file))


def open_all(settings: Settings) -> Keys:
    """All keys, side by side, as a keystore takes a second. Raises as `open_attester`."""
    with ThreadPoolExecutor() as pool:
        attester = pool.submit(open_attester, settings)
        remotes = _relayers(settings)
        relayers: Iterable[TransactionSigner] = (
            pool.map(connect, remotes)
            if remotes
            else home.unlock_all(home.relayer_addresses(), settings.passphrase_file).values()
        )
        return Keys(attester.result(), list(relayers))


def attester_address(settings: Settings) -> str:
    """Read without unlocking or asking anything. Raises WalletError."""
    remote = _attester(settings)
    return home.attester_address() if remote is None else remote.address


def relayer_addresses(settings: Settings) -> list[str]:
    """As `attester_address`, of all relayers."""
    remotes = _relayers(settings)
    if remotes:
        return [remote.address for remote in remotes]
    return list(home.relayer_addresses().values())


def connect(remote: Remote) -> External:
    """A signer that has the key. Raises SignerError."""
    signer = External(remote)
    signer.require_key()
    return signer


def connect_configured(config: dict[str, Any]) -> dict[str, list[External]]:
    """The external signers of a configuration that may lack other settings, by role.

    Of the attester there is at most one. Raises InvalidInput and SignerError.
    """
    return {
        role: [
            connect(remote)
            for remote in Remote.all_of(
                role,
                home.value(f"{role}_signer", config),
                parts(home.value(f"{role}_address", config) or ""),
            )
        ]
        for role in (home.ATTESTER, home.RELAYER)
    }


def secrets(settings: Settings) -> Iterable[str]:
    """What of the signers' URLs may be a key."""
    for signer in (settings.attester_signer, settings.relayer_signer):
        if signer:
            yield from secrets_of(url_of(signer))


def _attester(settings: Settings) -> Remote | None:
    address = settings.attester_address
    found = Remote.all_of(home.ATTESTER, settings.attester_signer, [address] if address else [])
    return found[0] if found else None


def _relayers(settings: Settings) -> list[Remote]:
    return Remote.all_of(home.RELAYER, settings.relayer_signer, settings.relayer_addresses)
