"""The systemd unit names what there is."""

import configparser
from pathlib import Path

from typer.main import get_command

from aitbc_coordinator.main import app
from aitbc_coordinator.settings import ENV_PREFIX, HOME_VARIABLE, Settings

UNIT = Path(__file__).resolve().parents[2] / "deploy/aitbc-coordinator.service"


class Repeated(dict[str, object]):
    """Keeps every line of a key that stands in a section several times."""

    def __setitem__(self, key: str, value: object) -> None:
        if isinstance(value, list) and isinstance(self.get(key), list):
            value = [*self[key], *value]  # type: ignore[misc]
        super().__setitem__(key, value)


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_it_runs_a_command_that_there_is() -> None:
    program, command = service()["ExecStart"].split()
    assert Path(program).name == "aitbc-coordinator"
    commands = getattr(get_command(app), "commands")  # noqa: B009  # not of click's own type
    assert command in commands


def test_it_sets_settings_that_there_are() -> None:
    assigned = dict(line.split("=", 1) for line in service()["Environment"].splitlines())
    settings = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert set(assigned) <= settings | {HOME_VARIABLE}
    name = service()["LoadCredential"].partition(":")[0]
    assert assigned[ENV_PREFIX + "PASSPHRASE_FILE"] == f"%d/{name}"
    assert assigned[HOME_VARIABLE] == f"%S/{service()['StateDirectory']}"
