"""A unit test fails for every guard of the contracts that is dropped."""

import pytest

from verification.mutation import run_campaign
from verification.workshop import Verdict


@pytest.mark.timeout(900)
def test_no_guard_can_be_dropped() -> None:
    campaign = run_campaign(print, guards_only=True)
    assert campaign.unexplained == []
    assert campaign.count(Verdict.KILLED) >= 20
