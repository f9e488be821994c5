"""The systemd unit and the container file name what there is."""

import configparser
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.main import get_command

from aitbc.protocol.wire import DEFAULT_PORT
from aitbc_coordinator.api.health import ALIVE
from aitbc_coordinator.main import app
from aitbc_coordinator.settings import ENV_PREFIX, HOME_VARIABLE, Settings

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/aitbc-coordinator.service"
CONTAINER = ROOT / "deploy/Containerfile"
LOCKS = ("deploy/requirements.lock", "deploy/build.lock")
PACKAGES = {"aitbc": "cli", "aitbc_coordinator": "coordinator"}


def known_settings() -> set[str]:
    return {HOME_VARIABLE, *(ENV_PREFIX + name.upper() for name in Settings.model_fields)}


class Repeated(dict[str, object]):
    """Keeps every line of a key that stands in a section several times."""

    def __setitem__(self, key: str, value: object) -> None:
        if isinstance(value, list) and isinstance(self.get(key), list):
            value = [*self[key], *value]  # type: ignore[misc]
        super().__setitem__(key, value)


def commands() -> set[str]:
    return set(getattr(get_command(app), "commands"))  # noqa: B009  # not of click's own type


def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def test_it_runs_a_command_that_there_is() -> None:
    program, command = service()["ExecStart"].split()
    assert Path(program).name == "aitbc-coordinator"
    assert command in commands()


def test_it_sets_settings_that_there_are() -> None:
    assigned = dict(line.split("=", 1) for line in service()["Environment"].splitlines())
    assert set(assigned) <= known_settings()
    name = service()["LoadCredential"].partition(":")[0]
    assert assigned[ENV_PREFIX + "PASSPHRASE_FILE"] == f"%d/{name}"
    assert assigned[HOME_VARIABLE] == f"%S/{service()['StateDirectory']}"


def instructions(name: str) -> list[str]:
    """What stands behind each instruction of a name in the container file, in order."""
    text = CONTAINER.read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text()
    found = dict(re.findall(r"^([a-z0-9-]+)(==[^\s]+)", text, re.MULTILINE))
    assert found
    assert text.count("--hash=sha256:") >= len(found)
    return found


def test_a_container_is_made_of_what_there_is() -> None:
    copied = [shlex.split(line) for line in instructions("COPY")]
    sources = [source for words in copied for source in words[:-1] if "--from=build" not in words]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    sent = (ROOT / ".dockerignore").read_text().split()
    packaged = [
        f"!{name}/{part}" for name in PACKAGES.values() for part in ("pyproject.toml", "src")
    ]
    assert {"*", "!deploy/*.lock", *packaged} <= set(sent)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_container_has_the_versions_that_are_tested(lock: str) -> None:
    assert pins(lock).items() <= pins("requirements.lock").items()


def test_a_container_has_all_that_the_packages_need() -> None:
    needed = set()
    for folder in PACKAGES.values():
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        needed |= {re.split(r"[^a-z0-9-]", name)[0] for name in project["dependencies"]}
    assert needed - {"aitbc"} <= pins("deploy/requirements.lock").keys()


def test_a_container_runs_a_command_as_nobody() -> None:
    [user], [entry], [command] = (instructions(name) for name in ("USER", "ENTRYPOINT", "CMD"))
    assert int(user.partition(":")[0]) > 0
    assert entry == '["aitbc-coordinator"]'
    assert command.strip('[]"') in commands()


def test_a_container_sets_settings_that_there_are_and_its_health_is_asked_for() -> None:
    assigned = dict(word.split("=", 1) for line in instructions("ENV") for word in line.split())
    assert {name for name in assigned if name.startswith(ENV_PREFIX)} <= known_settings()
    assert instructions("VOLUME") == [assigned[HOME_VARIABLE]]
    assert instructions("EXPOSE") == [str(DEFAULT_PORT)]
    assert f"http://127.0.0.1:{DEFAULT_PORT}{ALIVE}" in instructions("HEALTHCHECK")[0]


def test_wheels_have_every_file_of_their_packages(tmp_path: Path) -> None:
    folders = [f"./{folder}" for folder in PACKAGES.values()]
    options = ("--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(tmp_path))
    pip = (sys.executable, "-m", "pip", "wheel", *options, *folders)
    subprocess.run(pip, cwd=ROOT, check=True, capture_output=True)
    for package, folder in PACKAGES.items():
        [wheel] = tmp_path.glob(f"{package}-*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        listed = subprocess.run(
            ("git", "ls-files", "."), cwd=ROOT / folder / "src", check=True, capture_output=True
        )
        assert set(listed.stdout.decode().split()) <= set(names)
