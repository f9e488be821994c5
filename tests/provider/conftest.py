"""A driver library, made for the test, which the real pynvml loads."""

import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a `libnvidia-ml.so.1`: one complete, one that lacks most symbols."""
    found: dict[str, Path] = {}
    for name, flags in (("complete", []), ("bare", ["-DBARE_NVML"])):
        folder = tmp_path_factory.mktemp(name)
        target = folder / "libnvidia-ml.so.1"
        options = ["-Wall", "-Werror", "-shared", "-fPIC", *flags]
        subprocess.run(["cc", *options, "-o", str(target), str(SOURCE)], check=True)
        found[name] = folder
    return found
