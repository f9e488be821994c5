"""The regions of the market and the clock that each lives by (IANA time zones)."""

from zoneinfo import ZoneInfo

DEFAULT_REGION = "global"

REGIONS: dict[str, str] = {
    "global": "UTC",
    "us-west": "America/Los_Angeles",
    "us-central": "America/Chicago",
    "us-east": "America/New_York",
    "ca-central": "America/Toronto",
    "sa-east": "America/Sao_Paulo",
    "eu-west": "Europe/London",
    "eu-central": "Europe/Berlin",
    "eu-north": "Europe/Stockholm",
    "me-central": "Asia/Dubai",
    "af-south": "Africa/Johannesburg",
    "ap-south": "Asia/Kolkata",
    "ap-southeast": "Asia/Singapore",
    "ap-northeast": "Asia/Tokyo",
    "au-southeast": "Australia/Sydney",
}


def check_region(region: str) -> str:
    """The region itself; raises ValueError, naming the known ones, when it is none of them."""
    if region not in REGIONS:
        raise ValueError(f"unknown region '{region}': choose one of {', '.join(REGIONS)}")
    return region


def time_zone(region: str) -> ZoneInfo:
    return ZoneInfo(REGIONS[check_region(region)])
