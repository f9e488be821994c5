"""The GPUs of this machine, as NVML reports them, with the kernel's own list as a witness."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml  # type: ignore[import-untyped]  # nvidia-ml-py ships no types

from aitbc.errors import AitbcError

KERNEL_LIST = Path("/proc/driver/nvidia/gpus")

MARKETED_GIB = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80),
    *(94, 96, 128, 141, 180, 192, 256, 288),
)
MILLIWATTS = 1_000
ECC_SHARE = 16
"""Error correction takes up to one part in so many of a GPU's memory."""


class NoGpuFound(AitbcError):
    """There is no NVIDIA GPU here, or its driver does not answer."""

    code = "no-gpu"


@dataclass(frozen=True, slots=True)
class DetectedGpu:
    """One GPU. `memory_gib` is the size that it is sold with, `cuda_version` the driver's."""

    index: int
    name: str
    uuid: str
    memory_gib: int
    cuda_version: str
    driver_version: str
    power_limit_watts: int | None = None
    """None where it does not say."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One reading; None where a GPU does not say."""

    utilisation_percent: int | None
    memory_used_mib: int | None
    temperature_celsius: int | None
    power_watts: int | None


def detect() -> list[DetectedGpu]:
    """The GPUs of this machine by NVML's index. Raises NoGpuFound when there is none."""
    with _nvml():
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        cuda = _cuda_version(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        found = [_describe(i, cuda, driver) for i in range(pynvml.nvmlDeviceGetCount())]
    if not found:
        raise _no_gpu("the NVIDIA driver reports no GPU")
    return found


def telemetry(index: int) -> Telemetry:
    """One reading of the GPU at NVML's `index`. Raises NoGpuFound when it cannot be reached."""
    with _nvml():
        gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
        return Telemetry(
            utilisation_percent=_supported(lambda: pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            memory_used_mib=_supported(lambda: pynvml.nvmlDeviceGetMemoryInfo(gpu).used >> 20),
            temperature_celsius=_supported(
                lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
            ),
            power_watts=_supported(lambda: pynvml.nvmlDeviceGetPowerUsage(gpu) // MILLIWATTS),
        )


def kernel_disagreement(gpus: list[DetectedGpu], kernel_list: Path = KERNEL_LIST) -> str | None:
    """What the kernel's driver says otherwise than NVML, as one line; None where they agree.

    A system without the kernel's list has no second witness, and nothing to disagree with.
    """
    if not kernel_list.is_dir():
        return None
    texts = [file.read_text() for file in sorted(kernel_list.glob("*/information"))]
    if len(texts) != len(gpus):
        return f"NVML reports {len(gpus)} GPU(s), the kernel {len(texts)}"
    # An idle GPU's UUID reads as question marks until something opens it.
    kernel = {uuid for text in texts if "?" not in (uuid := _kernel_uuid(text))}
    unknown = sorted(kernel - {gpu.uuid for gpu in gpus})
    return f"the kernel lists {', '.join(unknown)}, NVML does not" if unknown else None


def marketed_gib(total_bytes: int) -> int:
    """The size a GPU is sold with, given its usable memory: 24564 MiB is 24, 23034 (ECC) too."""
    mib = total_bytes >> 20
    nearest = max(1, (mib + 512) // 1024)
    for size in MARKETED_GIB:
        if size >= nearest:
            return size if mib * ECC_SHARE >= size * 1024 * (ECC_SHARE - 1) - 1024 else nearest
    return nearest


@contextmanager
def _nvml() -> Iterator[None]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _no_gpu(f"no NVIDIA GPU can be read here: {error}") from error
    try:
        try:
            yield
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise _no_gpu(f"the NVIDIA driver does not answer: {error}") from error


def _describe(index: int, cuda: str, driver: str) -> DetectedGpu:
    gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
    return DetectedGpu(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(gpu)),
        uuid=str(pynvml.nvmlDeviceGetUUID(gpu)),
        memory_gib=marketed_gib(int(pynvml.nvmlDeviceGetMemoryInfo(gpu).total)),
        cuda_version=cuda,
        driver_version=driver,
        power_limit_watts=_supported(
            lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) // MILLIWATTS
        ),
    )


def _cuda_version(number: int) -> str:
    """NVML writes 12.4 as 12040."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _supported(read: Callable[[], Any]) -> int | None:
    try:
        return int(read())
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None


def _kernel_uuid(information: str) -> str:
    fields = dict(line.split(":", 1) for line in information.splitlines() if ":" in line)
    return fields.get("GPU UUID", "?").strip()


def _no_gpu(message: str) -> NoGpuFound:
    return NoGpuFound(
        message,
        hint="describe the GPU yourself: --memory GIB --cuda-version X.Y [--model NAME]",
    )
