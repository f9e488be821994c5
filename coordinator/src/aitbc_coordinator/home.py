"""A coordinator's home: its passphrase, its keys, and its configuration."""

import os
import re
import secrets
import tomllib
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from eth_account.signers.local import LocalAccount
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from aitbc.errors import InvalidInput, WalletError
from aitbc.files import make_private_folder, write_private
from aitbc.keystore import Keystore, read_passphrase
from aitbc_coordinator.settings import ENV_PREFIX, Settings, config_path, home_path

ATTESTER = "attester"
RELAYER = "relayer"
"""The first relayer's key; the others are `relayer-2`, `relayer-3` and so on."""
PASSPHRASE_BYTES = 32
SETTABLE = sorted(Settings.model_fields)
PASSPHRASE_VARIABLE = ENV_PREFIX + "PASSPHRASE_FILE"


def make_home() -> Path:
    """The home, made if there is none; readable by its owner only."""
    home = home_path()
    make_private_folder(home)
    return home


def make_passphrase(home: Path, configured: str | None) -> Path:
    """The passphrase's file: the environment's, else the configured one, else one in the home.

    Only the last one is made when there is none, and no key that another one opens. Raises
    WalletError.
    """
    named = os.environ.get(PASSPHRASE_VARIABLE) or configured
    path = Path(named).expanduser().absolute() if named else home / "passphrase"
    if not named and not path.exists() and not _keystore().names():
        write_private(path, secrets.token_urlsafe(PASSPHRASE_BYTES) + "\n", replace=False)
    read_passphrase(path, PASSPHRASE_VARIABLE)
    return path


def make_keys(passphrase_file: Path, names: Collection[str]) -> None:
    """Make the keys of some names that there are none of.

    Raises WalletError, and makes none, where the passphrase does not open those that there are.
    """
    keystore = _keystore()
    there = set(names) & set(keystore.names())
    unlock_all(there, passphrase_file)
    passphrase = read_passphrase(passphrase_file, PASSPHRASE_VARIABLE)
    missing = [name for name in names if name not in there]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: keystore.create(name, passphrase), missing))


def attester_address() -> str:
    """Read without the passphrase. Raises WalletError."""
    return _keystore().address(ATTESTER)


def relayer_addresses() -> dict[str, str]:
    """Those of all relayers by their keys' names, read without the passphrase.

    Raises WalletError where there is none, or one key has two names.
    """
    keystore = _keystore()
    names: dict[str, str] = {}
    for name in relayer_names() or [RELAYER]:
        earlier = names.setdefault(keystore.address(name), name)
        if earlier != name:
            raise WalletError(
                f"{earlier} and {name} in {keystore.folder} are the same key",
                hint="remove one of the two files: a key sends each transaction once",
            )
    return {name: address for address, name in names.items()}


def relayer_names() -> list[str]:
    """Of the relayers' keys that there are, by their numbers."""
    pattern = re.compile(rf"{RELAYER}(-([2-9]|[1-9]\d+))?")
    found = [name for name in _keystore().names() if pattern.fullmatch(name)]
    return sorted(found, key=lambda name: (len(name), name))


def names_for_relayers(count: int) -> list[str]:
    """The names of the relayers' keys that there are, and of as many new ones as make `count`."""
    there = relayer_names()
    numbered = [RELAYER, *(f"{RELAYER}-{number}" for number in range(2, count + len(there) + 1))]
    free = [name for name in numbered if name not in there]
    return there + free[: max(0, count - len(there))]


def unlock_all(names: Iterable[str], passphrase_file: Path) -> dict[str, LocalAccount]:
    """The keys of several names, by name; side by side, as each takes a second. See `unlock`."""
    wanted = list(names)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: unlock(name, passphrase_file), wanted)
        return dict(zip(wanted, found, strict=True))


def unlock(name: str, passphrase_file: Path) -> LocalAccount:
    """The key of a name. Raises WalletError."""
    keystore = _keystore()
    try:
        return keystore.unlock(name, read_passphrase(passphrase_file, PASSPHRASE_VARIABLE))
    except WalletError as error:
        raise WalletError(
            str(error),
            hint=f"check {passphrase_file} and {keystore.folder}; "
            "'aitbc-coordinator init' makes missing keys",
        ) from error


def _keystore() -> Keystore:
    return Keystore(home_path() / "keys")


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
    write_private(path, tomli_w.dumps(values))
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


def value(name: str, config: dict[str, Any]) -> Any:
    """A setting, as long as others are missing. Raises InvalidInput.

    As always, the environment wins over the configuration.
    """
    default = Settings.model_fields[name].default
    given = os.environ.get(ENV_PREFIX + name.upper(), config.get(name, default))
    return default if given == default else parse_setting(f"{name}={given}")[1]


def number(name: str, config: dict[str, Any]) -> int:
    """As `value`, of a setting that is a number."""
    return int(value(name, config))


def check(config: dict[str, Any]) -> None:
    """Raises InvalidInput where a configuration could never be used, whatever it still lacks.

    The environment adds to it what it does not say.
    """
    try:
        Settings(**config)
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] != "missing":
                hint = f"give another value with --set, or edit {config_path()}"
                if _name(problem) not in config:
                    hint = f"correct the environment's {ENV_PREFIX + _name(problem).upper()}"
                raise InvalidInput(_unusable(problem), hint=hint) from error
    except SettingsError as error:
        raise InvalidInput(str(error), hint=f"edit {config_path()}") from error


def load_settings() -> Settings:
    """The settings of this environment. Raises InvalidInput, naming what is missing or wrong."""
    read_config()
    try:
        return Settings()
    except ValidationError as error:
        # What is there and wrong is told before what is missing.
        first = min(error.errors(), key=lambda problem: problem["type"] == "missing")
        name = _name(first)
        missing = first["type"] == "missing"
        raise InvalidInput(
            f"the setting '{name}' is missing" if missing else _unusable(first),
            hint=f"run 'aitbc-coordinator init', or set {ENV_PREFIX + name.upper()}, "
            f"or edit {config_path()}",
        ) from error
    except SettingsError as error:
        raise InvalidInput(str(error), hint=f"edit {config_path()}") from error


def _unusable(problem: ErrorDetails) -> str:
    return f"the setting '{_name(problem)}' cannot be used: {problem['msg']}"


def _name(problem: ErrorDetails) -> str:
    return str(problem["loc"][0])
