"""The shipped artifacts are what the sources compile to, and no other code passes for theirs."""

import shutil
from pathlib import Path
from typing import get_args

import pytest

from aitbc.protocol.artifacts import (
    Artifact,
    ContractName,
    EscrowName,
    immutable_values,
    load_artifact,
    runtime_matches,
    sources_sha256,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES: tuple[ContractName, ...] = get_args(ContractName)
ESCROWS: tuple[EscrowName, ...] = get_args(EscrowName)


def deployed(artifact: Artifact) -> bytearray:
    """Runtime code in which the n-th immutable holds the number n."""
    code = bytearray(artifact.runtime)
    for number, places in enumerate(artifact.immutables.values(), start=1):
        for start, length in places:
            code[start : start + length] = number.to_bytes(length, "big")
    return code


@pytest.mark.parametrize("name", NAMES)
def test_the_artifact_is_that_of_the_sources(name: ContractName) -> None:
    artifact = load_artifact(name)

    current = sources_sha256(ROOT, artifact.sources, artifact.compiler)

    assert current == artifact.sources_sha256, "stale: run `ape run compile`"


@pytest.mark.parametrize("name", NAMES)
def test_every_source_counts(name: ContractName, tmp_path: Path) -> None:
    artifact = load_artifact(name)
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts")

    for source in artifact.sources:
        with (tmp_path / source).open("a") as file:
            file.write("\n")
        changed = sources_sha256(tmp_path, artifact.sources, artifact.compiler)
        assert changed != artifact.sources_sha256
        shutil.copy(ROOT / source, tmp_path / source)


@pytest.mark.parametrize("name", NAMES)
def test_the_compiler_counts(name: ContractName) -> None:
    artifact = load_artifact(name)
    other = {**artifact.compiler, "version": "0.8.36"}

    assert sources_sha256(ROOT, artifact.sources, other) != artifact.sources_sha256


def test_the_escrows_share_the_core_and_the_interface() -> None:
    for name in ESCROWS:
        assert {"contracts/EscrowCore.sol", "contracts/interfaces/IEscrow.sol"} <= set(
            load_artifact(name).sources
        )


@pytest.mark.parametrize("name", ESCROWS)
def test_deployed_code_matches_whatever_its_immutables(name: ContractName) -> None:
    artifact = load_artifact(name)
    code = bytes(deployed(artifact))

    assert runtime_matches(artifact, code)
    assert [int.from_bytes(v, "big") for v in immutable_values(artifact, code).values()] == list(
        range(1, len(artifact.immutables) + 1)
    )


@pytest.mark.parametrize("name", ESCROWS)
def test_other_code_does_not_match(name: ContractName) -> None:
    artifact = load_artifact(name)
    code = deployed(artifact)
    altered = bytes([code[0] ^ 1]) + bytes(code[1:])

    assert not runtime_matches(artifact, b"")
    assert not runtime_matches(artifact, bytes(code[:-1]))
    assert not runtime_matches(artifact, bytes(code) + b"\x00")
    assert not runtime_matches(artifact, altered)
    with pytest.raises(ValueError, match=name):
        immutable_values(artifact, altered)


@pytest.mark.parametrize("name", ESCROWS)
def test_an_immutable_has_one_value_everywhere(name: ContractName) -> None:
    artifact = load_artifact(name)
    code = deployed(artifact)
    start, length = artifact.immutables["attester"][-1]
    code[start + length - 1] ^= 1

    assert len(artifact.immutables["attester"]) > 1
    assert not runtime_matches(artifact, bytes(code))


def test_the_two_escrows_are_not_taken_for_each_other() -> None:
    native, token = (load_artifact(name) for name in ESCROWS)

    assert not runtime_matches(native, bytes(deployed(token)))
    assert not runtime_matches(token, bytes(deployed(native)))
