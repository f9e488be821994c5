"""Opaque cursors: the place in a list where its next page begins."""

import base64
import binascii
import re

from aitbc_coordinator.errors import Invalid


def encode(*key: object) -> str:
    """A row's sort key as a cursor."""
    text = ":".join(map(str, key))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, shape: re.Pattern[str]) -> tuple[str, ...]:
    """The sort key that a cursor stands for: the groups of `shape`, which is that of its text.

    Raises Invalid when it stands for none.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    match = shape.fullmatch(text)
    if match is None:
        raise Invalid("invalid", "cursor: not one that this coordinator gave out")
    return match.groups()
