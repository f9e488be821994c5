"""An operator's node, and a log that the program may configure."""

from collections.abc import Iterator

import pytest
from operators import logging_restored

from local_market import Node


@pytest.fixture
def own_log() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("node"))
    yield made
    made.stop()
