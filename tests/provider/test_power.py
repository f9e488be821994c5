"""A floor from the power limit that a driver library, made for the test, tells the real pynvml."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from driver import environment

import samples
from aitbc.cli.power import power_limit
from aitbc.errors import InvalidInput
from aitbc.profile import Profile, save_profile
from aitbc.provider import detect
from aitbc.provider.detect import DetectedGpu
from checks import USAGE, assert_refused
from local_market import BIN


def suggest(library: Path, tmp_path: Path, *options: str, **variables: str) -> Any:
    save_profile(tmp_path / "home", Profile(market=samples.market()))
    return subprocess.run(
        [str(BIN / "aitbc"), "marketplace", "price", "suggest", "--kwh", "0.30", *options],
        env=environment(library, tmp_path, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "gpus", "power"),
    [
        ((), "1", "power limit of GPU 0, NVIDIA GeForce RTX 4090"),
        (("--gpu", "1"), "2", "power limit of GPU 1, NVIDIA L4"),
    ],
)
def test_the_power_limit_is_the_driver_s(
    libraries: dict[str, Path], tmp_path: Path, options: tuple[str, ...], gpus: str, power: str
) -> None:
    library = libraries["complete"]
    done = suggest(library, tmp_path, *options, "--format", "json", FAKE_NVML_GPUS=gpus)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["watts"], said["power"], said["floor_price"]) == (450, power, "0.1755")


@pytest.mark.parametrize(
    ("library", "options", "variables", "says", "hint"),
    [
        ("complete", (), {}, "this machine has 2 GPUs", "--gpu INDEX"),
        ("complete", ("--gpu", "7"), {}, "not one of this machine", "--watts N"),
        ("complete", ("--gpu", "0"), {"FAKE_NVML_POWER": "0"}, "does not say", "--watts N"),
        ("complete", (), {"FAKE_NVML_GPUS": "0"}, "reports no GPU", "--watts N"),
        ("none", (), {}, "Shared Library Not Found", "--watts N"),
    ],
)
def test_a_power_that_cannot_be_read(
    *,
    libraries: dict[str, Path],
    tmp_path: Path,
    library: str,
    options: tuple[str, ...],
    variables: dict[str, str],
    says: str,
    hint: str,
) -> None:
    done = suggest(libraries.get(library, tmp_path), tmp_path, *options, **variables)
    assert_refused(done, USAGE, says)
    assert hint in done.stderr


def test_a_listed_gpu_is_found_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    def gpu(index: int, watts: int) -> DetectedGpu:
        return DetectedGpu(index, "L4", f"GPU-{index}", 24, "12.4", "550", watts)

    monkeypatch.setattr(detect, "detect", lambda: [gpu(0, 70), gpu(1, 72)])
    assert power_limit("GPU-1", None) == (72, "power limit of GPU 1, L4")
    for elsewhere in ("GPU-2", ""):
        with pytest.raises(InvalidInput, match="not one of this machine"):
            power_limit(elsewhere, None)
