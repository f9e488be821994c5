"""The commands of the user's guide, exactly as printed, in a bare environment."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local_market import LocalMarket, User, clean_environment

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (
    "aitbc init",
    'aitbc marketplace gpu register --name "My-GPU" --memory 24 --cuda-version 12.1'
    " --base-price 0.05",
    "aitbc marketplace gpu list --region us-west",
    "aitbc marketplace gpu update --gpu-id $ID --strategy utilization-guard",
    "aitbc marketplace gpu update --gpu-id $ID --base-price 0.06",
    "aitbc marketplace earnings --gpu-id $ID",
    "aitbc marketplace status --gpu-id $ID",
    "aitbc marketplace gpu --help",
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with nothing but `pip install -e ./cli`."""
    venv = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(venv)]
    install = [*pip, "install", "-q", "--no-compile", "-e", "./cli"]
    subprocess.run(install, cwd=ROOT, check=True, timeout=240)
    return venv / "bin"


def shell(command: str, bare: Path, user: User, **variables: str) -> str:
    env = {
        **clean_environment(),
        **user.env,
        **variables,
        "PATH": f"{bare}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euc", command], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(900)
def test_the_guide_works_letter_for_letter(bare: Path, token_market: LocalMarket) -> None:
    user = token_market.user("newcomer")
    shell(GUIDE[0], bare, user)
    shell(GUIDE[1], bare, user)
    (anywhere,) = own_listed(bare, user)
    shell("aitbc marketplace gpu unregister --gpu-id $ID", bare, user, ID=anywhere["id"])
    shell(GUIDE[1] + " --region us-west", bare, user)
    (gpu,) = own_listed(bare, user)
    assert gpu["id"] != anywhere["id"]
    for command in GUIDE[2:]:
        shell(command, bare, user, ID=gpu["id"])
    (changed,) = own_listed(bare, user)
    assert (changed["region"], changed["base_price"]) == ("us-west", "0.06")
    assert changed["strategy"] == "utilization-guard"


def own_listed(bare: Path, user: User) -> list[dict[str, Any]]:
    shown = shell("aitbc marketplace gpu list --mine --format json", bare, user)
    return [gpu for gpu in json.loads(shown) if gpu["listed"]]
