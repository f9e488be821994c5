"""The environment of a machine with a driver library of a test's choice."""

from pathlib import Path

from local_market import clean_environment


def environment(library: Path, tmp_path: Path, **variables: str) -> dict[str, str]:
    return {
        **clean_environment(),
        "AITBC_HOME": str(tmp_path / "home"),
        "LD_LIBRARY_PATH": str(library),
        "FAKE_NVML_SHUTDOWN": str(tmp_path / "shutdown"),
        **variables,
    }
