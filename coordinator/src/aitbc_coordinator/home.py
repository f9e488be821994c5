"""A coordinator's home: its passphrase, its two keys, and its configuration."""

import os
import secrets
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from eth_account.signers.local import LocalAccount
from pydantic import TypeAdapter, ValidationError
from pydantic_settings import SettingsError

from aitbc.errors import InvalidInput, WalletError
from aitbc.keystore import Keystore
from aitbc_coordinator.settings import ENV_PREFIX, Settings, config_path, home_path

ATTESTER = "attester"
RELAYER = "relayer"
PASSPHRASE_BYTES = 32
SETTABLE = sorted(set(Settings.model_fields) - {"home"})
_PASSPHRASE_VARIABLE = ENV_PREFIX + "PASSPHRASE_FILE"


def make_home() -> Path:
    """The home, made if there is none; readable by its owner only."""
    home = home_path()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return home


def make_passphrase(home: Path, configured: str | None) -> Path:
    """The passphrase's file: the environment's, else the configured one, else one in the home.

    Only the last one is made when there is none. Raises WalletError.
    """
    named = os.environ.get(_PASSPHRASE_VARIABLE) or configured
    path = Path(named).expanduser().absolute() if named else home / "passphrase"
    if not named and not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(PASSPHRASE_BYTES) + "\n")
    read_passphrase(path)
    return path


def read_passphrase(path: Path) -> str:
    """Raises WalletError for a file that cannot be read or is empty."""
    try:
        passphrase = path.read_text().strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise WalletError(
            f"cannot read the passphrase file {path}: {reason}",
            hint=f"name the right file in {_PASSPHRASE_VARIABLE}",
        ) from error
    if not passphrase:
        raise WalletError(
            f"the passphrase file {path} is empty", hint="write the passphrase on its first line"
        )
    return passphrase


def make_keys(home: Path, passphrase: str) -> dict[str, str]:
    """Addresses of the attester and the relayer, whose keys are made if there are none."""
    keystore = Keystore(home / "keys")
    there = keystore.names()
    return {
        name: keystore.address(name) if name in there else keystore.create(name, passphrase)
        for name in (ATTESTER, RELAYER)
    }


def attester_address(settings: Settings) -> str:
    """Read without the passphrase. Raises WalletError."""
    return _keystore(settings).address(ATTESTER)


def unlock(settings: Settings, name: str) -> LocalAccount:
    """The key of the attester or the relayer. Raises WalletError."""
    keystore = _keystore(settings)
    try:
        return keystore.unlock(name, read_passphrase(settings.passphrase_file))
    except WalletError as error:
        raise WalletError(
            str(error),
            hint=f"check {settings.passphrase_file} and {keystore.folder}; "
            "'aitbc-coordinator init' makes missing keys",
        ) from error


def _keystore(settings: Settings) -> Keystore:
    return Keystore(settings.home / "keys")


def read_config() -> dict[str, Any]:
    """What `config.toml` says, nothing where there is none. Raises InvalidInput."""
    path = config_path()
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read {path}: {error}", hint="correct or remove it") from error


def write_config(values: dict[str, Any]) -> Path:
    """Replace `config.toml`, whole or not at all. Returns its path."""
    path = config_path()
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            tomli_w.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    return path


def parse_setting(assignment: str) -> tuple[str, Any]:
    """`key=value` as the key and the value that `config.toml` holds. Raises InvalidInput."""
    key, equals, text = assignment.partition("=")
    if not equals or key not in SETTABLE:
        raise InvalidInput(
            f"'{assignment}' does not set anything: write KEY=VALUE",
            hint=f"keys: {', '.join(SETTABLE)}",
        )
    info = Settings.model_fields[key]
    field: Any = Annotated[info.annotation, info]
    adapter: TypeAdapter[Any] = TypeAdapter(field)
    try:
        return key, adapter.dump_python(adapter.validate_python(text), mode="json")
    except ValidationError as error:
        raise InvalidInput(f"{key}: {error.errors()[0]['msg']}") from error


def load_settings() -> Settings:
    """The settings of this environment. Raises InvalidInput, naming what is missing or wrong."""
    read_config()
    try:
        return Settings()
    except ValidationError as error:
        # What is there and wrong is told before what is missing.
        first = min(error.errors(), key=lambda problem: problem["type"] == "missing")
        name = str(first["loc"][0])
        variable = ENV_PREFIX + name.upper()
        missing = first["type"] == "missing"
        raise InvalidInput(
            f"the setting '{name}' is missing"
            if missing
            else f"the setting '{name}' cannot be used: {first['msg']}",
            hint=f"run 'aitbc-coordinator init', or set {variable}, or edit {config_path()}",
        ) from error
    except SettingsError as error:
        raise InvalidInput(str(error), hint=f"edit {config_path()}") from error
