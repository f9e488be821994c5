"""Set up everything that the scripts need, from the lock files. Safe to run again at any time.

Runs on the system's Python with nothing installed. Says what it does on standard error.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
BIN = VENV / "bin"
LOG = VENV / "setup.log"
MINIMUM_NODE = 20
PYTHON_INPUTS = ("requirements.lock", "cli/pyproject.toml", "coordinator/pyproject.toml")
NODE_INPUTS = ("package.json", "package-lock.json")


class SetupFailed(Exception):
    """One line that says what is missing and how to get it."""


def main() -> int:
    try:
        with open(ROOT / ".setup.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            virtual_environment()
            python_packages()
            node_packages(find_node())
            contract_tools()
    except SetupFailed as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def virtual_environment() -> None:
    if (BIN / "python").exists():
        return
    say("making the Python environment in .venv")
    shutil.rmtree(VENV, ignore_errors=True)
    make = [sys.executable, "-m", "venv", str(VENV)]
    made = subprocess.run(make, capture_output=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupFailed("Python's venv module is missing (on Debian: apt install python3-venv)")


def python_packages() -> None:
    stamp = Stamp("python", PYTHON_INPUTS)
    if stamp.fresh():
        return
    say("installing Python packages from requirements.lock (a minute or two)")
    pip = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", "requirements.lock"])
    editable = ["-e", "./cli", "-e", "./coordinator"]
    run([*pip, "--no-deps", "--no-build-isolation", *editable])
    stamp.write()


def find_node() -> Path:
    """A folder with `node` >= 20 and `npm`: the system's, or one from PyPI in the environment."""
    for name in (shutil.which("node"), str(BIN / "node")):
        if name and Path(name).exists() and node_major(name) >= MINIMUM_NODE:
            folder = Path(name).parent
            if (folder / "npm").exists():
                return folder
    say("installing Node.js from PyPI")
    pip = [str(BIN / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", "requirements-node.lock"])
    return BIN


def node_major(node: str) -> int:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = answer.stdout.strip().removeprefix("v").split(".")[0]
    return int(version) if answer.returncode == 0 and version.isdigit() else 0


def node_packages(node: Path) -> None:
    stamp = Stamp("node", NODE_INPUTS)
    if stamp.fresh() and (ROOT / "node_modules").is_dir():
        return
    say("installing the node, the compiler and the contract packages from package-lock.json")
    run([str(node / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], first=node)
    stamp.write()


def contract_tools() -> None:
    """Put npm's compiler where py-solc-x looks for one, anvil and forge beside the Python tools."""
    link(VENV / "solcx" / "solc-v0.8.37", ROOT / "scripts" / "solc")
    for tool in ("anvil", "forge"):
        packages = (ROOT / "node_modules" / "@foundry-rs").glob(f"{tool}-*/bin/{tool}")
        packaged = next(packages, None) or shutil.which(tool)
        if packaged is None:
            raise SetupFailed(
                f"{tool} is missing for this platform: install Foundry, then run this again"
            )
        link(BIN / tool, Path(packaged))


def link(place: Path, target: Path) -> None:
    if place.is_symlink() and place.readlink() == target:
        return
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


class Stamp:
    """Remembers which inputs an installation was made from."""

    def __init__(self, name: str, inputs: Sequence[str]) -> None:
        self.path = VENV / f".{name}.stamp"
        digest = hashlib.sha256(sys.version.encode())
        for item in inputs:
            digest.update((ROOT / item).read_bytes())
        self.value = digest.hexdigest()

    def fresh(self) -> bool:
        return self.path.exists() and self.path.read_text() == self.value

    def write(self) -> None:
        self.path.write_text(self.value)


def run(command: Sequence[str], first: Path | None = None) -> None:
    """Run a command with its output in the log; `first` leads the PATH."""
    path = os.pathsep.join([str(first), os.environ["PATH"]]) if first else os.environ["PATH"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    LOG.write_text(done.stdout)
    if done.returncode != 0:
        reason = next((line for line in done.stdout.splitlines() if "rror" in line), "see the log")
        raise SetupFailed(f"'{' '.join(command[:4])} …' failed: {reason} (log: {LOG})")


def say(what: str) -> None:
    print(f"setup: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
