"""What was found so far, kept so that an interrupted matrix goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from repository import ROOT

FOLDER = ROOT / ".build" / "faults"
INPUTS = (
    *("coordinator/src", "coordinator/pyproject.toml", "cli/src", "contracts", "requirements.lock"),
    *("scripts/_lib/faults", "scripts/_lib/local_market.py", "scripts/_lib/wallets.py"),
)
"""What a result depends on; the tests and the documents are not among it."""


@dataclass(frozen=True)
class Kept:
    """One finding. `passages` and `outcomes` are those of a run in which nobody is killed."""

    position: int
    wrong: list[str]
    seconds: int
    passages: dict[str, int] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)


class State:
    """Findings by name, of one state of the tree."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._found: dict[str, Kept] = {}
        if path.exists() and not fresh:
            found = json.loads(path.read_text(encoding="utf-8"))
            self._found = {name: Kept(**kept) for name, kept in found.items()}

    def find(self, name: str) -> Kept | None:
        return self._found.get(name)

    def keep(self, name: str, kept: Kept) -> None:
        """Remember it at once: whole, or not at all."""
        self._found[name] = kept
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".new")
        shown = {name: asdict(kept) for name, kept in self._found.items()}
        written.write_text(json.dumps(shown), encoding="utf-8")
        os.replace(written, self._path)


def path_of_tree(bookings: int) -> Path:
    """Where findings about what is checked out are kept."""
    digest = hashlib.sha256(str(bookings).encode())
    for command in (("ls-tree", "-r", "HEAD"), ("diff", "HEAD")):
        digest.update(_git(*command, "--", *INPUTS))
    for name in _git("ls-files", "-o", "--exclude-standard", "--", *INPUTS).decode().split():
        digest.update((ROOT / name).read_bytes())
    return FOLDER / f"{digest.hexdigest()[:16]}.json"


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
