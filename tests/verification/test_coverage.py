"""What the tests of the contracts reach."""

import pytest

from verification import checks


@pytest.mark.timeout(900)
def test_every_line_and_branch_of_the_contracts_is_reached() -> None:
    found: list[str] = []
    finding = checks.coverage(found.append)
    assert found == []
    assert finding.holds
