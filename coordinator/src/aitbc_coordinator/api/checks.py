"""What the application is given to learn whether its background work goes well."""

from collections.abc import Callable, Mapping, Sequence

Checks = Callable[[], Mapping[str, str]]
"""By part: `ok`, or in one line why it cannot do its work."""
Alerts = Callable[[], Sequence[str]]
"""What needs a person while every part does its work, a line each."""
