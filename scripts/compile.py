"""Compiles the escrows into the artifacts that ship with the `aitbc` package.

ape run compile            writes cli/src/aitbc/data/contracts/*.json
ape run compile --check    exits 1 if what is there is not what the sources compile to
"""

import json
from pathlib import Path
from typing import Any

import click
import solcx
from ape import compilers, project
from ape.logging import logger

from aitbc.protocol.artifacts import sources_sha256

CONTRACTS = {
    "NativeEscrow": "contracts/NativeEscrow.sol",
    "TokenEscrow": "contracts/TokenEscrow.sol",
    "TestDollar": "contracts/test/TestDollar.sol",
}
ARTIFACTS = Path("cli/src/aitbc/data/contracts")
OUTPUTS = [
    "abi",
    "metadata",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
]


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if an artifact is stale.")
def cli(*, check: bool) -> None:
    """Compile the escrows into the artifacts that ship with the aitbc package."""
    stale = []
    for name, document in compile_artifacts().items():
        path = project.path / ARTIFACTS / f"{name}.json"
        if path.is_file() and path.read_text() == document:
            continue
        stale.append(name)
        if not check:
            path.write_text(document)
            logger.success(f"wrote {path.relative_to(project.path)}")
    if check and stale:
        raise click.ClickException(f"stale: {', '.join(stale)}. Run `ape run compile`.")
    if not stale:
        logger.success("artifacts are up to date")


def compile_artifacts() -> dict[str, str]:
    """The text of each artifact file, by contract name, compiled with the settings of ape."""
    paths = [project.path / source for source in CONTRACTS.values()]
    [(version, standard_input)] = compilers.solidity.get_standard_input_json(
        paths, project=project
    ).items()
    standard_input["settings"]["outputSelection"] = {"*": {"*": OUTPUTS, "": ["ast"]}}
    output = solcx.compile_standard(
        standard_input, base_path=project.path, solc_version=version.base_version
    )
    variables = dict(_variables(output["sources"]))
    return {
        name: _artifact(name, output["contracts"][source][name], variables)
        for name, source in CONTRACTS.items()
    }


def _artifact(name: str, contract: dict[str, Any], variables: dict[str, str]) -> str:
    metadata = json.loads(contract["metadata"])
    sources = sorted(path for path in metadata["sources"] if path.startswith("contracts/"))
    compiler = {
        "version": metadata["compiler"]["version"],
        "settings": {k: v for k, v in metadata["settings"].items() if k != "compilationTarget"},
    }
    runtime = contract["evm"]["deployedBytecode"]
    immutables = {
        variables[node]: sorted([ref["start"], ref["length"]] for ref in references)
        for node, references in runtime["immutableReferences"].items()
    }
    artifact = {
        "name": name,
        "sources": sources,
        "sources_sha256": sources_sha256(project.path, sources, compiler),
        "compiler": compiler,
        "immutables": dict(sorted(immutables.items())),
        "abi": contract["abi"],
        "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
        "runtime": "0x" + runtime["object"],
    }
    return json.dumps(artifact, indent=1) + "\n"


def _variables(node: Any) -> Any:
    """Yields (id, name) of every variable declared anywhere below a syntax tree."""
    if isinstance(node, list):
        for item in node:
            yield from _variables(item)
    elif isinstance(node, dict):
        if node.get("nodeType") == "VariableDeclaration":
            yield str(node["id"]), node["name"]
        for value in node.values():
            yield from _variables(value)
