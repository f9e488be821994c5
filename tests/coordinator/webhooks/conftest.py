"""A receiver of webhooks, and a coordinator that is configured for it."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from post_office import SECRET, Scene
from signed import Clock

import webhook_receiver
from aitbc_coordinator.context import Context
from aitbc_coordinator.webhooks.courier import open_courier


@pytest.fixture
def endpoint() -> Iterator[webhook_receiver.Receiver]:
    with webhook_receiver.receiving() as made:
        yield made


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def scene(
    context: Context, clock: Clock, endpoint: webhook_receiver.Receiver, secret_file: Path
) -> Scene:
    # Receivers refuse what was signed at another time than theirs.
    clock.now = int(time.time())
    update = {"webhook_url": endpoint.url, "webhook_secret_file": secret_file}
    configured = replace(context, settings=context.settings.model_copy(update=update))
    messenger = open_courier(configured)
    assert messenger is not None
    return Scene(configured, clock, endpoint, messenger)
