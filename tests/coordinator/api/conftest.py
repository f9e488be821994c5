"""What tests of the API share."""

from typing import Any

import pytest

from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context


@pytest.fixture
def document(context: Context) -> dict[str, Any]:
    """The API's OpenAPI document."""
    return create_app(context, checks=dict, alerts=list).openapi()
