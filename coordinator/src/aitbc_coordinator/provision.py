"""`aitbc-coordinator init`: keys first, then, once an escrow names them, the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from aitbc.chain.escrow import Escrow, checked_escrow
from aitbc.chain.node import NODE_FAILURES, reason
from aitbc.chain.transactions import GWEI
from aitbc.errors import ChainError, InvalidInput, UntrustedMarket
from aitbc.protocol.artifacts import EscrowName
from aitbc.protocol.messages import Domain
from aitbc.protocol.types import Address
from aitbc_coordinator import home, nodes, signers
from aitbc_coordinator.deployment import deploy, read
from aitbc_coordinator.market.worth import why_not_counted
from aitbc_coordinator.settings import parts
from aitbc_coordinator.signers.external import External
from aitbc_coordinator.signers.protocols import TransactionSigner
from aitbc_coordinator.wish import Wish

NODE_HINT = "start the node, or name another with --rpc or AITBC_COORDINATOR_RPC_URL"


class Constructor(BaseModel):
    """What of a deployment's constructor arguments decides whose it is."""

    attester: Address


class Deployment(BaseModel):
    """An escrow as the deploy script records it. Without `chain_id`: on the node's chain."""

    model_config = ConfigDict(frozen=True)

    contract: EscrowName
    address: Address
    deploy_block: int = Field(ge=0)
    chain_id: int | None = None
    constructor: Constructor | None = None


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The operator's addresses, and the configuration once there is one.

    `note` says what the operator may not expect of it.
    """

    attester: str
    relayers: list[str]
    config: Path | None
    note: str | None = None


def provision(
    *,
    deployment: Deployment | None,
    record: Path | None,
    wish: Wish | None,
    relayers: int,
    rpc_url: str | None,
    public_rpc_url: str | None,
    assignments: list[str],
    say: Callable[[str], None],
) -> Provisioned:
    """Make what is missing in the home, and configure it once an escrow is known.

    It has at least so many `relayers` then, unless an external signer has their keys. `record` is
    the deploy script's file, in which the newest escrow of this attester is taken; a `wish` is
    deployed. Raises AitbcError; what was made until then stays, and the next run goes on from
    there.
    """
    if sum(way is not None for way in (deployment, record, wish)) > 1:
        raise InvalidInput(
            "an escrow is either deployed, or named, or in a record",
            hint="give --token or --native, or --escrow, or --deployment",
        )
    given = dict(home.parse_setting(assignment) for assignment in assignments)
    if rpc_url is not None:
        given["rpc_url"] = rpc_url
    if public_rpc_url is not None:
        given["public_rpc_url"] = public_rpc_url
    config = home.read_config()
    asked = deployment or wish
    home.check(config | given | ({} if asked is None else {"contract": asked.contract}))
    folder = home.make_home()
    passphrase_file = home.make_passphrase(folder, config.get("passphrase_file"))
    config |= {"passphrase_file": str(passphrase_file), **given}
    external = signers.connect_configured(config)
    attester, senders = _make_keys(external, relayers, passphrase_file)
    if record is not None:
        deployment = newest_deployment(record, attester)
    if wish is not None:
        relayer = next(iter(external[home.RELAYER]), None)
        deployment = _deployed(wish, folder, config, attester=attester, relayer=relayer, say=say)
    fee_bps = None
    if deployment is not None:
        escrow = _open_own(deployment, config.get("rpc_url"), attester)
        if wish is not None:
            wish.check(attester, escrow.parameters)
        fee_bps = escrow.parameters.fee_bps
        config |= {
            "chain_id": escrow.domain.chain_id,
            "contract": deployment.contract,
            "escrow": deployment.address,
            "deploy_block": deployment.deploy_block,
        }
    path = home.write_config(config)
    if "escrow" not in config:
        return Provisioned(attester, senders, None)
    note = why_not_counted(home.load_settings(), fee_bps)
    return Provisioned(attester, senders, path, note)


def _make_keys(
    external: Mapping[str, list[External]], relayers: int, passphrase_file: Path
) -> tuple[str, list[str]]:
    """Addresses of the attester and of the relayers, whose keys are made where they are missing.

    Raises AitbcError.
    """
    attesters, senders = external[home.ATTESTER], external[home.RELAYER]
    if senders and relayers > 1:
        raise InvalidInput(
            "--relayers makes keys in the home, and an external signer has the relayers' keys",
            hint="name all of theirs in relayer_address, with commas between",
        )
    names = [] if attesters else [home.ATTESTER]
    home.make_keys(
        passphrase_file, names if senders else [*names, *home.names_for_relayers(relayers)]
    )
    attester = attesters[0].address if attesters else home.attester_address()
    if senders:
        return attester, [signer.address for signer in senders]
    return attester, list(home.relayer_addresses().values())


def given_wish(
    *,
    token: str | None,
    native: bool,
    arbiter: str | None,
    fee_bps: int | None,
    fee_recipient: str | None,
    claim_window: int | None,
) -> Wish | None:
    """The market that is to be made; None when nothing is given. Raises InvalidInput."""
    fields = {
        "arbiter": arbiter,
        "fee_bps": fee_bps,
        "fee_recipient": fee_recipient,
        "claim_window": claim_window,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if not native and token is None and not given:
        return None
    if native == (token is not None):
        raise InvalidInput("say what the escrow is to hold: --token ADDRESS, or --native")
    if fee_recipient is None:
        raise InvalidInput("say who earns the fees: --fee-recipient ADDRESS")
    try:
        return Wish.model_validate({"token": token, **given})
    except ValidationError as error:
        raise InvalidInput(_first(error)) from error


def given_deployment(
    address: str | None, contract: str | None, deploy_block: int | None
) -> Deployment | None:
    """An escrow named by hand; None when nothing is given. Raises InvalidInput."""
    if address is None and contract is None and deploy_block is None:
        return None
    fields = {"address": address, "contract": contract, "deploy_block": deploy_block}
    try:
        return Deployment.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(
            _first(error),
            hint="give --escrow ADDRESS, --contract NAME and --deploy-block N together",
        ) from error


def _first(error: ValidationError) -> str:
    """What is wrong, and with which option."""
    first = error.errors()[0]
    words = first["msg"].removeprefix("Value error, ")
    return f"{first['loc'][0]}: {words}" if first["loc"] else words


def newest_deployment(record: Path, attester: str) -> Deployment:
    """The newest escrow of an attester in the deploy script's record. Raises InvalidInput."""
    try:
        entries = TypeAdapter(list[Deployment]).validate_python(_escrows(record))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{record} is not a record of deployments", hint="name the file that the deploy wrote"
        ) from error
    own = [
        entry for entry in entries if entry.constructor and entry.constructor.attester == attester
    ]
    if not own:
        raise InvalidInput(
            f"no escrow in {record} has the attester {attester}",
            hint=f"deploy one: {deploy_command(attester)}",
        )
    return max(own, key=lambda entry: entry.deploy_block)


def deploy_command(attester: str) -> str:
    """How to deploy an escrow for this attester, on a local chain, from another wallet."""
    return (
        'ape run deploy --network "ethereum:local:$RPC_URL" --account NAME '
        f"--attester {attester} --fee-recipient ADDRESS (--token ADDRESS | --native) "
        "(for other chains see docs/operator.md)"
    )


def _escrows(record: Path) -> list[dict[str, Any]]:
    entries = TypeAdapter(list[dict[str, Any]]).validate_json(record.read_bytes())
    known = get_args(EscrowName)
    return [entry for entry in entries if entry.get("contract") in known]


def _deployed(
    wish: Wish,
    folder: Path,
    config: dict[str, Any],
    *,
    attester: str,
    relayer: TransactionSigner | None,
    say: Callable[[str], None],
) -> Deployment:
    """The escrow of a wish, deployed now or before; with the home's own key without a `relayer`.

    Raises AitbcError.
    """
    if config.get("rpc_url") is None:
        raise InvalidInput("say which node to use: --rpc URL")
    if "escrow" in config and read(folder) is None:
        raise InvalidInput(
            f"this home has the escrow {config['escrow']} on chain {config['chain_id']}",
            hint="set AITBC_COORDINATOR_HOME to another folder for another market",
        )
    urls = parts(config["rpc_url"])
    try:
        chain_id = nodes.chain_id_of(urls)
        web3 = nodes.connect(urls, chain_id)
    except NODE_FAILURES as error:
        raise ChainError(reason(error), hint=NODE_HINT) from error
    made = deploy(
        web3,
        wish,
        relayer or home.unlock(home.relayer_names()[0], Path(config["passphrase_file"])),
        attester=attester,
        folder=folder,
        confirmations=home.number("confirmations", config),
        ceiling=home.number("maximum_fee_gwei", config) * GWEI,
        say=say,
    )
    return Deployment(
        contract=wish.contract,
        address=made.escrow,
        deploy_block=made.block,
        chain_id=chain_id,
    )


def _open_own(deployment: Deployment, rpc_url: str | None, attester: str) -> Escrow:
    """The deployed escrow, which must be this attester's. Raises AitbcError."""
    if rpc_url is None:
        raise InvalidInput("say which node to use: --rpc URL")
    urls = parts(rpc_url)
    try:
        chain_id = deployment.chain_id or nodes.chain_id_of(urls)
        domain = Domain(chain_id=chain_id, escrow=deployment.address)
        escrow = checked_escrow(nodes.connect(urls, chain_id), domain, deployment.contract)
        actual = escrow.parameters.attester
    except UntrustedMarket as error:
        raise ChainError(str(error), hint="check --escrow and --contract") from error
    except ChainError as error:
        raise ChainError(str(error), hint=NODE_HINT) from error
    except NODE_FAILURES as error:
        raise ChainError(reason(error), hint=NODE_HINT) from error
    if actual != attester:
        raise ChainError(
            f"the escrow's attester is {actual}, this coordinator's is {attester}",
            hint=f"deploy an escrow for this one: {deploy_command(attester)}",
        )
    return escrow
