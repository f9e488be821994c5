"""What heartbeats say of a GPU: a reading of NVML as JSON text."""

import json
from collections.abc import Callable
from dataclasses import asdict

from aitbc.errors import CoordinatorError
from aitbc.provider.detect import NoGpuFound, detect, telemetry

NOTHING = "{}"


def present_uuids() -> set[str]:
    """The UUIDs of the GPUs that this machine's driver sees now; none where it has no driver."""
    try:
        return {gpu.uuid for gpu in detect()}
    except NoGpuFound:
        return set()


def telemetry_source(uuid_of: Callable[[str], str]) -> Callable[[str | None], str]:
    """A function from a listed GPU's id to its telemetry.

    `uuid_of` gives the UUID of a listing, and may raise CoordinatorError. Telemetry earns
    nothing: where a GPU is not on this machine, or does not answer, it is `{}`.
    """
    try:
        index_of = {gpu.uuid: gpu.index for gpu in detect()}
    except NoGpuFound:
        return lambda _: NOTHING
    uuids: dict[str, str] = {}

    def read(gpu_id: str | None) -> str:
        if gpu_id is None:
            return NOTHING
        try:
            uuid = uuids[gpu_id] = uuids.get(gpu_id) or uuid_of(gpu_id)
            if uuid not in index_of:
                return NOTHING
            return json.dumps({"gpu_uuid": uuid, **asdict(telemetry(index_of[uuid]))})
        except (CoordinatorError, NoGpuFound):
            return NOTHING

    return read
