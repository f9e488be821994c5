"""The power that a GPU of this machine is allowed to draw."""

from aitbc.errors import InvalidInput

_HINT = "give --watts N: the board power that its maker states"


def power_limit(gpu_uuid: str | None, index: int | None) -> tuple[int, str]:
    """Watts of the GPU with a UUID, of that with an index, or of the only one; and whose they are.

    Raises InvalidInput where that GPU is not here, or does not say.
    """
    from aitbc.provider.detect import NoGpuFound, detect

    try:
        found = detect()
    except NoGpuFound as error:
        raise InvalidInput(f"its power cannot be read here ({error})", hint=_HINT) from error
    if gpu_uuid is not None:
        found = [gpu for gpu in found if gpu.uuid == gpu_uuid]
    if index is not None:
        found = [gpu for gpu in found if gpu.index == index]
    if not found:
        raise InvalidInput("that GPU is not one of this machine", hint=_HINT)
    if len(found) > 1:
        raise InvalidInput(f"this machine has {len(found)} GPUs", hint="choose one: --gpu INDEX")
    (gpu,) = found
    if gpu.power_limit_watts is None:
        raise InvalidInput(f"{gpu.name} does not say its power limit", hint=_HINT)
    return gpu.power_limit_watts, f"power limit of GPU {gpu.index}, {gpu.name}"
