"""GPUs are read by the real pynvml from a driver library, made for the test."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from driver import environment

from aitbc.provider.detect import DetectedGpu, kernel_disagreement, marketed_gib
from local_market import BIN


def detect(
    library: Path, tmp_path: Path, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "aitbc"), "marketplace", "gpu", "detect", *options],
        env=environment(library, tmp_path, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_gpus(libraries: dict[str, Path], tmp_path: Path) -> None:
    done = detect(libraries["complete"], tmp_path, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {
            "index": 0,
            "name": "NVIDIA GeForce RTX 4090",
            "uuid": "GPU-00000001",
            "memory_gib": 24,
            "cuda_version": "12.4",
            "driver_version": "550.54.14",
        },
        {
            "index": 1,
            "name": "NVIDIA L4",
            "uuid": "GPU-00000002",
            "memory_gib": 24,
            "cuda_version": "12.4",
            "driver_version": "550.54.14",
        },
    ]
    assert (tmp_path / "shutdown").read_text() == "shut down\n"


@pytest.mark.parametrize(
    ("library", "variables", "says"),
    [
        ("complete", {"FAKE_NVML_INIT": "9"}, "no NVIDIA GPU can be read here: Driver Not Loaded"),
        ("complete", {"FAKE_NVML_GPUS": "0"}, "the NVIDIA driver reports no GPU"),
        ("bare", {}, "the NVIDIA driver does not answer: Function Not Found"),
        ("none", {}, "no NVIDIA GPU can be read here: NVML Shared Library Not Found"),
    ],
)
def test_no_gpu_is_one_line_that_names_the_flags(
    libraries: dict[str, Path],
    tmp_path: Path,
    library: str,
    variables: dict[str, str],
    says: str,
) -> None:
    done = detect(libraries.get(library, tmp_path), tmp_path, **variables)
    assert done.returncode == 1
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error == f"error: {says}"
    assert "--memory" in hint
    assert "--cuda-version" in hint
    # A library that started is stopped, whatever failed in between.
    started = library != "none" and "FAKE_NVML_INIT" not in variables
    assert (tmp_path / "shutdown").exists() == started


HERE = {"model": "NVIDIA GeForce RTX 4090", "gpu_uuid": "GPU-00000001"}
NOWHERE = {"model": "", "gpu_uuid": ""}


@pytest.mark.parametrize(
    ("gpus", "said", "expected"),
    [
        ("1", (24, "12.1", None, None), {**HERE, "memory_gib": 24, "cuda_version": "12.1"}),
        ("1", (24, "12.1", "Mine", None), {**HERE, "model": "Mine", "cuda_version": "12.1"}),
        ("1", (None, None, None, None), {**HERE, "memory_gib": 24, "cuda_version": "12.4"}),
        ("1", (80, "12.1", None, None), {**NOWHERE, "memory_gib": 80}),
        ("1", (80, "12.1", None, 0), {**HERE, "memory_gib": 80}),
        ("2", (24, "12.1", None, None), {**NOWHERE, "memory_gib": 24}),
        ("2", (24, "12.1", None, 0), HERE),
        ("0", (24, "12.1", None, None), {**NOWHERE, "cuda_version": "12.1"}),
        ("2", (24, None, None, None), "choose one with --gpu INDEX"),
        ("1", (24, "12.1", None, 3), "has no GPU 3"),
        ("0", (None, "12.1", None, None), "cannot be detected"),
        ("0", (24, "12.1", None, 0), "cannot be detected"),
    ],
)
def test_the_driver_completes_what_was_said(
    libraries: dict[str, Path],
    tmp_path: Path,
    gpus: str,
    said: tuple[object, ...],
    expected: dict[str, object] | str,
) -> None:
    environ = environment(libraries["complete"], tmp_path, FAKE_NVML_GPUS=gpus)
    found = described(f"describe_hardware(*{said!r})", environ)
    if isinstance(expected, str):
        assert expected in found
    else:
        assert found | expected == found


def described(call: str, env: dict[str, str]) -> Any:
    """What a function of `listing` answers on a machine, or the text of its error."""
    code = (
        "from aitbc.cli.listing import describe_hardware, describe_several\n"
        "from aitbc.errors import InvalidInput\n"
        "try:\n"
        f"    print({call})\n"
        "except InvalidInput as error:\n"
        "    print(repr(str(error)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return eval(done.stdout)


@pytest.mark.parametrize(
    ("gpus", "said", "uuids"),
    [
        ("2", (None, None, None, 2), ["GPU-00000001", "GPU-00000002"]),
        ("3", (None, None, None, 2), ["GPU-00000001", "GPU-00000002"]),
        ("2", (24, "12.1", None, 2), ["GPU-00000001", "GPU-00000002"]),
        ("2", (80, "12.1", None, 2), ["", ""]),
        ("2", (24, "12.1", None, 3), ["", "", ""]),
        ("0", (24, "12.1", None, 2), ["", ""]),
        ("1", (None, None, None, 2), "--count 2: this machine has 1 GPU(s)"),
        ("0", (None, "12.1", None, 2), "cannot be detected"),
    ],
)
def test_the_driver_completes_several(
    libraries: dict[str, Path],
    tmp_path: Path,
    gpus: str,
    said: tuple[object, ...],
    uuids: list[str] | str,
) -> None:
    environ = environment(libraries["complete"], tmp_path, FAKE_NVML_GPUS=gpus)
    found = described(f"describe_several(*{said!r})", environ)
    if isinstance(uuids, str):
        assert uuids in found
    else:
        assert [one["gpu_uuid"] for one in found] == uuids


def test_telemetry_of_a_listed_gpu(libraries: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "from aitbc.provider.telemetry import telemetry_source\n"
        "read = telemetry_source({'g-here': 'GPU-00000002', 'g-else': 'GPU-9'}.__getitem__)\n"
        "print([read('g-here'), read('g-else'), read(None)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(libraries["complete"], tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    here, elsewhere, unknown = eval(done.stdout)
    assert json.loads(here) == {
        "gpu_uuid": "GPU-00000002",
        "utilisation_percent": 87,
        "memory_used_mib": 1234,
        "temperature_celsius": 64,
        "power_watts": None,
    }
    assert elsewhere == unknown == "{}"


@pytest.mark.parametrize(
    ("mib", "gib"),
    [
        (24564, 24),  # RTX 4090
        (23034, 24),  # L4, with error correction
        (15360, 16),  # T4
        (16160, 16),  # V100
        (46068, 48),  # A40
        (81559, 80),  # H100
        (143771, 141),  # H200
        (11172, 11),  # GTX 1080 Ti
        (9856, 10),  # a slice of an H100
        (512, 1),
        (102_400, 100),  # a size that nobody sells yet
        (409_600, 400),
    ],
)
def test_memory_is_the_size_that_a_gpu_is_sold_with(mib: int, gib: int) -> None:
    assert marketed_gib(mib << 20) == gib


GPU = DetectedGpu(0, "NVIDIA L4", "GPU-1", 24, "12.4", "550")


def kernel_list(folder: Path, *uuids: str) -> Path:
    for index, uuid in enumerate(uuids):
        gpu = folder / f"0000:0{index}:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(
            f"Model: \t\t NVIDIA L4\nIRQ:   \t\t 42\nGPU UUID: \t {uuid}\nVideo BIOS: \t ??.??\n"
        )
    return folder


def test_the_kernel_is_a_second_witness(tmp_path: Path) -> None:
    assert kernel_disagreement([GPU], tmp_path / "absent") is None
    assert kernel_disagreement([GPU], kernel_list(tmp_path / "same", "GPU-1")) is None
    assert kernel_disagreement([GPU], kernel_list(tmp_path / "idle", "GPU-????????")) is None
    more = kernel_disagreement([GPU], kernel_list(tmp_path / "more", "GPU-1", "GPU-2"))
    assert more == "NVML reports 1 GPU(s), the kernel 2"
    other = kernel_disagreement([GPU], kernel_list(tmp_path / "other", "GPU-2"))
    assert other == "the kernel lists GPU-2, NVML does not"
