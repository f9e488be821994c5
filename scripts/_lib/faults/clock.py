"""A clock of the coordinator's own, which can be set while it runs."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """Right until it is set. Processes that are started with `env` go by it."""

    def __init__(self, folder: Path) -> None:
        library = folder / "clock.so"
        options = ("-O2", "-Wall", "-Werror", "-shared", "-fPIC")
        command = ["cc", *options, "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
        self._file = folder / "clock"
        self.set(0)
        self.env = {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """Let it be so many seconds ahead of the machine's; behind, if negative."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))
