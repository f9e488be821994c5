"""The compiled contracts that ship with this package, and whether code on a chain is theirs."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

EscrowName = Literal["NativeEscrow", "TokenEscrow"]
ContractName = Literal[EscrowName, "TestDollar"]


@dataclass(frozen=True)
class Artifact:
    """A compiled contract."""

    name: str
    sources: tuple[str, ...]
    """Paths of the project's files it was compiled from."""
    sources_sha256: str
    """See `sources_sha256`."""
    compiler: Mapping[str, Any]
    """`version` and `settings` of the compiler."""
    immutables: Mapping[str, tuple[tuple[int, int], ...]]
    """Where each immutable stands in the runtime code: (start, length) in bytes."""
    abi: tuple[Mapping[str, Any], ...]
    bytecode: bytes
    """Creation code, to be followed by the encoded constructor arguments."""
    runtime: bytes
    """Deployed code, with zeros where the immutables go."""


@cache
def load_artifact(name: ContractName) -> Artifact:
    """Returns the shipped artifact of a contract."""
    file = resources.files("aitbc.data") / "contracts" / f"{name}.json"
    raw = json.loads(file.read_text(encoding="utf-8"))
    return Artifact(
        name=raw["name"],
        sources=tuple(raw["sources"]),
        sources_sha256=raw["sources_sha256"],
        compiler=raw["compiler"],
        immutables={
            name: tuple((start, length) for start, length in places)
            for name, places in raw["immutables"].items()
        },
        abi=tuple(raw["abi"]),
        bytecode=bytes.fromhex(raw["bytecode"].removeprefix("0x")),
        runtime=bytes.fromhex(raw["runtime"].removeprefix("0x")),
    )


def runtime_matches(artifact: Artifact, code: bytes) -> bool:
    """Whether `code`, found at an address, is the artifact's but for the values of immutables.

    The values are not judged here, only that each immutable has one: see `immutable_values`.
    """
    if len(code) != len(artifact.runtime):
        return False
    masked = bytearray(code)
    for places in artifact.immutables.values():
        if len({code[start : start + length] for start, length in places}) != 1:
            return False
        for start, length in places:
            masked[start : start + length] = artifact.runtime[start : start + length]
    return bytes(masked) == artifact.runtime


def immutable_values(artifact: Artifact, code: bytes) -> dict[str, bytes]:
    """The 32-byte word that each immutable holds in `code`.

    Raises:
        ValueError: `code` is not the artifact's.
    """
    if not runtime_matches(artifact, code):
        raise ValueError(f"the code is not that of {artifact.name}")
    return {
        name: code[places[0][0] : places[0][0] + places[0][1]]
        for name, places in artifact.immutables.items()
    }


def sources_sha256(root: Path, sources: Iterable[str], compiler: Mapping[str, Any]) -> str:
    """The checksum of what a contract is compiled from, in hexadecimal.

    Args:
        root: The repository.
        sources: Paths of the files below `root`.
        compiler: `version` and `settings` of the compiler.

    Raises:
        OSError: a file cannot be read.
    """
    inputs = {
        "compiler": compiler,
        "sources": {
            path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in sources
        },
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
