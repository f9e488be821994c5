"""Deploys one escrow and records it.

    ape run deploy --network ethereum:local:http://127.0.0.1:8545 --account TEST::0 \
        --attester 0x… --fee-recipient 0x… (--token ADDRESS | --native | --test-dollar)

What is deployed is the artifact that ships with the `aitbc` package, not a fresh compilation.
"""

import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click
from ape import project
from ape.api import AccountAPI, ProviderAPI, ReceiptAPI
from ape.cli import ConnectedProviderCommand, account_option, network_option
from ape.contracts import ContractContainer
from ape.exceptions import ApeException
from eth_utils import is_address, to_checksum_address
from ethpm_types import ContractType

from aitbc.protocol.artifacts import Artifact, ContractName, load_artifact, runtime_matches

ZERO_ADDRESS = "0x" + "00" * 20
MAX_FEE_BPS = 1_000
MAX_CLAIM_WINDOW = 90 * 86_400
RECORDS = "cli/src/aitbc/data/deployments"


class DeployCommand(ConnectedProviderCommand):
    """Turns what a node or ape refuses into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            click.ClickException: the node cannot be reached or refuses the deployment, or the
                record cannot be written.
        """
        try:
            return super().invoke(ctx)
        except (ApeException, OSError) as error:
            raise click.ClickException(str(error).splitlines()[0]) from error


class Address(click.ParamType):
    """An address, returned in checksum form."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_address(value):
            self.fail(f"{value!r} is not an address", param, ctx)
        return str(to_checksum_address(value))


@click.command(cls=DeployCommand)
@network_option()
@account_option(prompt=False)
@click.option("--attester", type=Address(), required=True, help="Whose completions count.")
@click.option("--fee-recipient", type=Address(), required=True, help="Who earns the fees.")
@click.option("--token", type=Address(), help="Escrow of this ERC-20 token.")
@click.option("--native", is_flag=True, help="Escrow of the chain's own coin.")
@click.option("--test-dollar", is_flag=True, help="Deploy a test dollar and its escrow.")
@click.option("--fee-bps", type=click.IntRange(0, MAX_FEE_BPS), default=100, show_default=True)
@click.option(
    "--claim-window",
    type=click.IntRange(1, MAX_CLAIM_WINDOW),
    default=86_400,
    show_default=True,
    help="Seconds after the end of a booking in which it can be settled.",
)
@click.option("--arbiter", type=Address(), default=ZERO_ADDRESS, help="Default: no disputes.")
@click.option(
    "--record",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Folder of the deployment records. [default: {RECORDS}]",
)
def cli(
    *,
    provider: ProviderAPI,
    account: AccountAPI | None,
    attester: str,
    fee_recipient: str,
    token: str | None,
    native: bool,
    test_dollar: bool,
    fee_bps: int,
    claim_window: int,
    arbiter: str,
    record: Path | None,
) -> None:
    """Deploy an escrow and record its address, deploy block and constructor arguments."""
    if account is None:
        raise click.UsageError("say which account pays for the deployment: --account NAME")
    if sum((token is not None, native, test_dollar)) != 1:
        raise click.UsageError(
            "say what the escrow holds: --token ADDRESS, --native or --test-dollar"
        )
    _check_parties(attester, arbiter, fee_recipient)
    if token is not None and not provider.get_code(token):
        raise click.BadParameter(f"there is no contract at {token}", param_hint="--token")

    folder = record or project.path / RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    if test_dollar:
        token = str(_deploy(account, "TestDollar").contract_address)
    parties = (attester, arbiter, fee_bps, fee_recipient, claim_window)
    name: ContractName = "NativeEscrow" if native else "TokenEscrow"
    receipt = _deploy(account, name, *(parties if native else (token, *parties)))
    address = str(receipt.contract_address)
    artifact = load_artifact(name)
    if not runtime_matches(artifact, bytes(provider.get_code(address))):
        raise click.ClickException(f"the code at {address} is not that of {name}")

    entry = {
        "contract": name,
        "address": address,
        "chain_id": provider.chain_id,
        "deploy_block": receipt.block_number,
        "deploy_tx": receipt.txn_hash,
        "constructor": {
            "token": token or ZERO_ADDRESS,
            "attester": attester,
            "arbiter": arbiter,
            "feeBps": fee_bps,
            "feeRecipient": fee_recipient,
            "claimWindow": claim_window,
        },
        "sources_sha256": artifact.sources_sha256,
    }
    path = append_record(folder, entry)
    click.echo(f"{name} at {address}, recorded in {path}")


def append_record(folder: Path, entry: dict[str, Any]) -> Path:
    """Appends `entry` to `<folder>/<chain_id>.json`, whole or not at all; returns that path."""
    path = folder / f"{entry['chain_id']}.json"
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entries = json.loads(path.read_text()) if path.is_file() else []
        entries.append(entry)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(json.dumps(entries, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    finally:
        os.close(lock)
    return path


def _check_parties(attester: str, arbiter: str, fee_recipient: str) -> None:
    if attester == ZERO_ADDRESS:
        raise click.BadParameter("must not be the zero address", param_hint="--attester")
    if arbiter == attester:
        raise click.BadParameter("must not be the attester", param_hint="--arbiter")
    if fee_recipient == ZERO_ADDRESS:
        raise click.BadParameter("must not be the zero address", param_hint="--fee-recipient")


def _deploy(account: AccountAPI, name: ContractName, *args: object) -> ReceiptAPI:
    return account.call(_container(load_artifact(name))(*args))


def _container(artifact: Artifact) -> ContractContainer:
    return ContractContainer(
        ContractType.model_validate(
            {
                "contractName": artifact.name,
                "abi": artifact.abi,
                "deploymentBytecode": {"bytecode": "0x" + artifact.bytecode.hex()},
                "runtimeBytecode": {"bytecode": "0x" + artifact.runtime.hex()},
            }
        )
    )
