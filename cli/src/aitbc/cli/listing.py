"""A provider's listing: made of what was said and detected, and changed version by version."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from aitbc.cli import arguments
from aitbc.errors import AitbcError, InvalidInput
from aitbc.protocol import availability
from aitbc.protocol.messages import Listing
from aitbc.protocol.units import MAX_AMOUNT

if TYPE_CHECKING:
    from aitbc.provider.detect import DetectedGpu

ALWAYS = "always"
NO_MAINTENANCE = "none"

_REMEDIES = {
    "name": ("--name", "use 1 to 64 letters, digits, spaces and . : + ( ) # / -"),
    "model": ("--model", "use up to 96 letters, digits, spaces and . : + ( ) # / -"),
    "gpu_uuid": ("--gpu", "the GPU's UUID is malformed"),
    "memory_gib": ("--memory", "write whole GiB from 1 to 4096, such as 24"),
    "cuda_version": ("--cuda-version", "write a version such as 12.1"),
    "base_price": ("--base-price", "write more than 0, such as 0.05"),
    "floor_price": ("--floor-price", "write more than 0, such as 0.02"),
    "ceiling_price": ("--ceiling-price", "write more than 0, such as 0.10"),
}


def describe_hardware(
    memory: int | None, cuda_version: str | None, model: str | None, index: int | None
) -> dict[str, Any]:
    """The hardware's part of a listing: what was said, completed by the driver.

    Raises InvalidInput where the driver does not help and memory or CUDA version were left out, or
    a GPU of this machine was asked for.
    """
    needed = memory is None or cuda_version is None or index is not None
    try:
        detected = _detect(index)
    except InvalidInput:
        if needed:
            raise
        detected = {}
    return _completed(memory, cuda_version, model, detected, ours=needed)


def describe_several(
    memory: int | None, cuda_version: str | None, model: str | None, count: int
) -> list[dict[str, Any]]:
    """As `describe_hardware`, of the machine's first `count` GPUs, where it has so many."""
    needed = memory is None or cuda_version is None
    try:
        found = _detected_here()
    except InvalidInput:
        if needed:
            raise
        found = []
    if len(found) < count and needed:
        raise InvalidInput(
            f"--count {count}: this machine has {len(found)} GPU(s)",
            hint="give --memory and --cuda-version for GPUs that are elsewhere",
        )
    detected = [_described(gpu) for gpu in found[:count]] if len(found) >= count else [{}] * count
    return [_completed(memory, cuda_version, model, one, ours=needed) for one in detected]


def _completed(
    memory: int | None,
    cuda_version: str | None,
    model: str | None,
    detected: dict[str, Any],
    *,
    ours: bool,
) -> dict[str, Any]:
    """What was said, completed by what was detected, if that is the GPU; `ours` says that it is."""
    if not ours and detected.get("memory_gib") != memory:
        # Of another size than was said: the GPU to be listed is not this machine's.
        detected = {}
    said = {"memory_gib": memory, "cuda_version": cuda_version, "model": model}
    given = {field: value for field, value in said.items() if value is not None}
    return {"model": "", "gpu_uuid": ""} | detected | given


def read_available(texts: Sequence[str] | None) -> dict[str, Any]:
    """The windows of a listing from what options say; without any, nothing. Raises InvalidInput."""
    if not texts:
        return {}
    if [text.strip().lower() for text in texts] == [ALWAYS]:
        return {"available": ""}
    return {"available": arguments.checked("--available", availability.canonical, texts)}


def read_maintenance(text: str | None, now: int) -> dict[str, Any]:
    """The maintenance of a listing from an option; without it, nothing. Raises InvalidInput."""
    if text is None:
        return {}
    if text == NO_MAINTENANCE:
        return {"maintenance_from": 0, "maintenance_until": 0}
    begin, separator, end = text.partition("..")
    if not separator:
        raise InvalidInput(
            f"--maintenance: '{text}' has no end: write START..END, such as +2h..+5h",
            hint=f"or '{NO_MAINTENANCE}', for none",
        )
    begins, ends = (arguments.start_time("--maintenance", one, now) for one in (begin, end))
    if begins >= ends:
        raise InvalidInput(f"--maintenance: {text} ends before it begins")
    if ends > now + availability.MAINTENANCE_DAYS * 86_400:
        raise InvalidInput(
            f"--maintenance: {text} ends more than {availability.MAINTENANCE_DAYS} days from now",
            hint="take the GPU off the market instead: aitbc marketplace gpu unregister",
        )
    return {"maintenance_from": begins, "maintenance_until": ends}


def _detect(index: int | None) -> dict[str, Any]:
    found = _detected_here()
    chosen = [gpu for gpu in found if gpu.index == (index or 0)]
    if not chosen:
        raise InvalidInput(f"--gpu: this machine has no GPU {index}: see 'gpu detect'")
    if index is None and len(found) > 1:
        raise InvalidInput(
            f"this machine has {len(found)} GPUs: choose one with --gpu INDEX, "
            f"or list them all with --count {len(found)}"
        )
    return _described(chosen[0])


def _detected_here() -> "list[DetectedGpu]":
    from aitbc.provider.detect import detect

    try:
        return detect()
    except AitbcError as error:
        raise InvalidInput(
            f"the GPU cannot be detected ({error})", hint="give --memory and --cuda-version"
        ) from error


def _described(gpu: "DetectedGpu") -> dict[str, Any]:
    return {
        "model": gpu.name,
        "gpu_uuid": gpu.uuid,
        "memory_gib": gpu.memory_gib,
        "cuda_version": gpu.cuda_version,
    }


def make_listing(fields: dict[str, Any]) -> Listing:
    """A listing, or InvalidInput that names the option at fault."""
    try:
        listing = Listing(**fields)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        option, remedy = _REMEDIES[field]
        raise InvalidInput(f"{option} '{fields[field]}' cannot be used: {remedy}") from error
    if not listing.prices_in_order:
        raise InvalidInput(
            "the base price must lie between the floor and the ceiling",
            hint="give --floor-price and --ceiling-price that suit it",
        )
    return listing


def change_listing(present: Listing, changes: dict[str, Any]) -> Listing:
    """The next version of a listing."""
    base = changes.get("base_price")
    if base is not None:
        if present.floor_price == default_floor(present.base_price):
            changes.setdefault("floor_price", default_floor(base))
        if present.ceiling_price == default_ceiling(present.base_price):
            changes.setdefault("ceiling_price", default_ceiling(base))
    version = {"version": present.version + 1, "signed_at": int(time.time())}
    return make_listing(present.model_dump() | changes | version)


def default_floor(base: int) -> int:
    return max(1, base // 2)


def default_ceiling(base: int) -> int:
    return min(MAX_AMOUNT, base * 2)
