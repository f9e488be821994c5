"""Files that are their owner's only, written whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Put a file in its place atomically. It and the folders made for it are their owner's only.

    Raises FileExistsError where there is one that must not be replaced.
    """
    make_private_folder(path.parent)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            Path(draft).replace(path)
        else:
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink(missing_ok=True)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only."""
    if not folder.parent.exists():
        make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
