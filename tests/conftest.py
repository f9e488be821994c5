"""The order of the tests, and how long the random ones go on."""

import pytest
from hypothesis import settings

# No deadline: how fast an example runs is a matter of the machine.
settings.register_profile("plain", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=2_000)
"""For `pytest --hypothesis-profile=deep`."""
settings.load_profile("plain")

LONGEST_FIRST = ("test_differential.py", "test_demo.py", "test_guide.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole markets first: they wait for their blocks, while the other workers do the rest."""

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        whole_market = item.path.parent.name == "integration"
        return not whole_market, item.path.name not in LONGEST_FIRST

    items.sort(key=turn)
