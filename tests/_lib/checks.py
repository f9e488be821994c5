"""What the tests of the program ask of a run."""

import hashlib
import subprocess
from pathlib import Path

FAILED, USAGE, CANCELLED, NOT_AUTHORISED = 1, 2, 3, 4


def fingerprint(home: Path) -> str:
    """A hash over every file of a home: its name and what is in it."""
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*")):
        content = path.read_bytes() if path.is_file() else b"/"
        digest.update(f"{path.relative_to(home)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def assert_refused(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    """One error line that contains `says`, the exit code, no data and no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert says in errors[0], done.stderr
    assert "Traceback" not in done.stderr
