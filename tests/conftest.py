"""The order of the tests, and how long the random ones go on."""

import pytest
from hypothesis import settings

# No deadline: how fast an example runs is a matter of the machine.
settings.register_profile("plain", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=2_000)
"""For `pytest --hypothesis-profile=deep`."""
settings.load_profile("plain")

WAIT_LONG = (
    *("test_documents.py", "test_demo.py", "test_disputed_market.py", "test_conservation.py"),
    *("test_guide.py", "test_extended_booking.py", "test_silent_machine.py", "test_gasless.py"),
    *("test_kill_matrix.py", "test_takeover.py", "test_bad_input.py", "test_lying_coordinator.py"),
    "test_webhooks_arrive.py",
)
"""Whole markets, which wait for their blocks."""
WORK_LONG = (
    *("test_guards.py", "test_proofs.py", "test_market_bench.py", "test_differential.py"),
    *("test_settlement_histories.py", "test_coverage.py", "test_gas.py"),
)
"""Compilers, provers and long histories, which take a core each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, by turns one that waits and one that works."""
    places = {name: 2 * place for place, name in enumerate(WAIT_LONG)}
    places |= {name: 2 * place + 1 for place, name in enumerate(WORK_LONG)}
    others = len(places) * 2
    items.sort(key=lambda item: places.get(item.path.name, others))
