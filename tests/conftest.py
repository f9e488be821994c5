"""The order of the tests, and how long the random ones go on."""

import pytest
from hypothesis import settings

from verification.known import known_to_hold

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

SHORT_VERSIONS = {
    "test_guards.py": "mutation",
    "test_proofs.py": "symbolic",
    "test_coverage.py": "coverage",
}
"""Of deep checks, by the file: worth their time where the whole was not run on the same sources."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first, by turns one that waits and one that works."""
    _leave_out_what_is_known(config, items)
    places = {name: 2 * place for place, name in enumerate(WAIT_LONG)}
    places |= {name: 2 * place + 1 for place, name in enumerate(WORK_LONG)}
    others = len(places) * 2
    items.sort(key=lambda item: places.get(item.path.name, others))


def _leave_out_what_is_known(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = known_to_hold()
    left_out = [item for item in items if SHORT_VERSIONS.get(item.path.name) in known]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
