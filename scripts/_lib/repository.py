"""What git knows of the tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit(*paths: str) -> str:
    """The commit that is checked out; `-dirty` where the tree, or `paths` in it, has changes."""
    head = _git("rev-parse", "HEAD")
    return head + "-dirty" if _git("status", "--porcelain", "--", *paths) else head


def is_unchanged_since(commit: str, *paths: str) -> bool:
    """Whether `paths` are as in a commit; False where they, or the commit, are not known."""
    compared = _run("diff", "--quiet", commit, "--", *paths).returncode == 0
    return compared and _git("ls-files", "--others", "--exclude-standard", "--", *paths) == ""


def _git(*arguments: str) -> str:
    done = _run(*arguments)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
