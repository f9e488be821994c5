"""The regions that this market knows."""

from aitbc.protocol.regions import REGIONS
from aitbc_coordinator.errors import Invalid


def require_region(region: str) -> None:
    """Raises Invalid for a region that does not exist."""
    if region not in REGIONS:
        raise Invalid(
            "unknown-region",
            f"unknown region '{region}'",
            hint=f"choose one of {', '.join(REGIONS)}",
        )
