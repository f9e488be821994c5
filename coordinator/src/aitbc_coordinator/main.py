"""The `aitbc-coordinator` program. Exit codes: 0 done, 1 failed, 2 usage."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aitbc.errors import AitbcError, InvalidInput
from aitbc_coordinator import __version__

EXIT_FAILED = 1
EXIT_USAGE = 2

_EPILOG = """\b
Environment:
  AITBC_COORDINATOR_HOME             keys, configuration, database (default ~/.aitbc-coordinator)
  AITBC_COORDINATOR_PASSPHRASE_FILE  file with the passphrase of the keys
  AITBC_COORDINATOR_<SETTING>        any setting of config.toml, such as DATABASE_URL

\b
Exit codes:
  0 done   1 failed   2 usage

\b
Start with:
  aitbc-coordinator init
"""

app = typer.Typer(
    help="Run the coordinator of an aitbc market.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Contract(StrEnum):
    NATIVE = "NativeEscrow"
    TOKEN = "TokenEscrow"  # noqa: S105  # a contract's name


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", show_default=False)
    ] = False,
) -> None:
    if version:
        typer.echo(f"aitbc-coordinator {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def init(
    *,
    rpc: Annotated[
        str | None,
        typer.Option(help="The node's URL.", envvar="AITBC_COORDINATOR_RPC_URL"),
    ] = None,
    escrow: Annotated[str | None, typer.Option(help="Address of the market's escrow.")] = None,
    contract: Annotated[Contract | None, typer.Option(help="Which escrow it is.")] = None,
    deploy_block: Annotated[
        int | None, typer.Option(min=0, help="Block that the escrow was deployed in.")
    ] = None,
    deployment: Annotated[
        Path | None,
        typer.Option(help="The deploy script's record; the newest escrow of this attester counts."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Deploy an escrow that holds this ERC-20 token.")
    ] = None,
    native: Annotated[
        bool,
        typer.Option(
            "--native", help="Deploy an escrow that holds the chain's coin.", show_default=False
        ),
    ] = False,
    fee_recipient: Annotated[
        str | None, typer.Option(help="Deploy: who earns the fees, for ever.")
    ] = None,
    fee_bps: Annotated[
        int | None,
        typer.Option(help="Deploy: hundredths of a percent (default 100)."),
    ] = None,
    arbiter: Annotated[
        str | None, typer.Option(help="Deploy: who divides what is disputed (default: nobody).")
    ] = None,
    claim_window: Annotated[
        int | None,
        typer.Option(help="Deploy: seconds after a booking in which to settle (default a day)."),
    ] = None,
    relayers: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="How many relayers' keys there are to be; what is missing is made."
        ),
    ] = 1,
    public_rpc: Annotated[
        str | None, typer.Option(help="A node that clients are told they may use.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout.", show_default=False)
    ] = False,
) -> None:
    """Make the coordinator's keys, and with --token or --native its escrow, and configure it.

    It can be run again at any time: it keeps what there is and adds what is missing. The first
    relayer's key pays for the deployment.
    """
    from aitbc_coordinator import provision

    wish = provision.given_wish(
        token=token,
        native=native,
        arbiter=arbiter,
        fee_bps=fee_bps,
        fee_recipient=fee_recipient,
        claim_window=claim_window,
    )
    found = provision.provision(
        deployment=provision.given_deployment(escrow, contract, deploy_block),
        record=deployment,
        wish=wish,
        relayers=relayers,
        rpc_url=rpc,
        public_rpc_url=public_rpc,
        assignments=settings or [],
        say=lambda what: typer.echo(what, err=True),
    )
    if wish is not None:
        migrate()
    config = None if found.config is None else str(found.config)
    if as_json:
        shown = {"attester": found.attester, "relayers": found.relayers, "config": config}
        typer.echo(json.dumps(shown))
    else:
        lines = [("attester", found.attester), *(("relayer", each) for each in found.relayers)]
        for name, value in [*lines, ("config", config or "not complete yet")]:
            typer.echo(f"{name:<9} {value}")
    if found.config is None:
        typer.echo("next: give the first relayer coin for gas, then deploy the escrow:", err=True)
        options = "(--token ADDRESS | --native) --fee-recipient ADDRESS"
        typer.echo(f"  aitbc-coordinator init --rpc URL {options}", err=True)
        typer.echo(f"or from another wallet: {provision.deploy_command(found.attester)}", err=True)
        typer.echo("then: aitbc-coordinator init --rpc URL --deployment FILE", err=True)
    else:
        if found.note is not None:
            typer.echo(f"note: {found.note}", err=True)
        typer.echo("next: give each relayer coin for gas, then: aitbc-coordinator serve", err=True)


@app.command()
def doctor(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout.", show_default=False)
    ] = False,
) -> None:
    """Look whether the coordinator has all that it needs, and say what to do; change nothing.

    Exits with 1 if something is missing that it cannot work without.
    """
    from aitbc_coordinator import doctor, home

    findings = doctor.examine(home.load_settings())
    if as_json:
        typer.echo(json.dumps({"findings": [finding._asdict() for finding in findings]}))
    else:
        for finding in findings:
            typer.echo(f"{finding.part:<9} {finding.state:<7} {finding.words}")
            if finding.hint:
                typer.echo(f"{'':<18}{finding.hint}")
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from aitbc_coordinator import home, serve

    serve.open_database(home.load_settings()).close()


@app.command()
def rebuild(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout.", show_default=False)
    ] = False,
) -> None:
    """Read the escrow's whole history anew, and replace what was followed of it, or change nothing.

    Every coordinator of the database must be stopped. What the chain does not say is kept.
    """
    from aitbc_coordinator import home
    from aitbc_coordinator import rebuild as rebuilding

    found = rebuilding.rebuild(home.load_settings())
    if as_json:
        typer.echo(json.dumps(found._asdict()))
        return
    reach = "no block yet" if found.last_block is None else f"up to block {found.last_block}"
    typer.echo(f"followed {found.events} events of {found.bookings} bookings, {reach}")
    if found.changed == 0:
        typer.echo("every booking is as it was")
        return
    typer.echo(f"{found.changed} bookings are not as they were: {', '.join(found.named)}")
    if found.changed > len(found.named):
        typer.echo(f"and {found.changed - len(found.named)} more")


@app.command()
def retire(
    *,
    successor: Annotated[
        str | None, typer.Option(help="Address of the escrow that follows this one.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.", show_default=False)] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout.", show_default=False)
    ] = False,
) -> None:
    """Sign that nobody is to fund this escrow any more. This cannot be taken back.

    From then on nothing new is booked, by this coordinator or by any client that has seen it. What
    is booked goes on and is paid: keep the coordinator running until all of it is settled.
    """
    from aitbc_coordinator import home
    from aitbc_coordinator import retire as retiring

    settings = home.load_settings()
    if not yes:
        typer.confirm(f"Retire the escrow {settings.escrow} for good?", abort=True, err=True)
    signed = retiring.retire(settings, successor)
    if as_json:
        typer.echo(signed.model_dump_json())
    else:
        for name, value in signed.retirement.model_dump().items():
            typer.echo(f"{name:<10} {value}")


@app.command()
def serve(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="0 picks a free port.", show_default=False)
    ] = None,
) -> None:
    """Serve the market until SIGTERM or Ctrl-C.

    Prints one line to stdout once it listens: 'listening on http://HOST:PORT'.
    """
    from aitbc_coordinator import home
    from aitbc_coordinator import serve as server

    settings = home.load_settings()
    server.serve(settings if port is None else settings.model_copy(update={"port": port}))


@app.command()
def worker() -> None:
    """Follow the escrow and settle what is due until SIGTERM or Ctrl-C, without serving the API.

    Any number of 'serve' and 'worker' may run over one PostgreSQL: one of them does the work, and
    the next one goes on when it ends, however it ends. Prints one line to stdout once it runs:
    'working for ESCROW on chain ID'.
    """
    from aitbc_coordinator import home
    from aitbc_coordinator import serve as server

    server.work(home.load_settings())


def main() -> None:
    """Run the program and exit with its status."""
    try:
        app()
    except AitbcError as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        sys.exit(EXIT_USAGE if isinstance(error, InvalidInput) else EXIT_FAILED)
    except OSError as error:
        typer.echo(f"error: cannot use {error.filename}: {error.strerror}", err=True)
        sys.exit(EXIT_FAILED)
