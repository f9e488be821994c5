"""The `aitbc` program: its commands, and how a run of it ends."""

import os
import sys
import traceback
from typing import Annotated

import typer

from aitbc import __version__
from aitbc.cli.app import FORMAT_VARIABLE, DebugOption, Globals, YesOption, command
from aitbc.cli.audit import app as audit
from aitbc.cli.booking import booking
from aitbc.cli.exits import EXIT_FAILED
from aitbc.cli.failures import failure_of
from aitbc.cli.marketplace import marketplace
from aitbc.cli.operator import operator
from aitbc.cli.output import Format
from aitbc.cli.provider import app as provider
from aitbc.cli.setup import config, init
from aitbc.cli.wallet import wallet

_EPILOG = """\b
Environment:
  AITBC_HOME              your profile, wallets and records (default ~/.aitbc)
  AITBC_PASSPHRASE_FILE   file with the wallet's passphrase (default: you are asked)
  AITBC_COORDINATOR_URL   used instead of the profile's coordinator_url
  AITBC_RPC_URL           used instead of the profile's rpc_url
  AITBC_FORMAT            table or json

\b
Exit codes:
  0 done   1 failed   2 usage   3 cancelled   4 no wallet, or not authorised

\b
Start with:
  aitbc init
"""

app = typer.Typer(
    help="A GPU market in which nobody can take your money.",
    epilog=_EPILOG,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    output_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            envvar=FORMAT_VARIABLE,
            help="table for people, json for programs.",
            show_default=False,
        ),
    ] = None,
    *,
    assume_yes: YesOption = False,
    debug: DebugOption = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", show_default=False)
    ] = False,
) -> None:
    context.obj.add(output_format, assume_yes=assume_yes, debug=debug)
    if version:
        typer.echo(f"aitbc {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


command(
    app,
    "init",
    examples=[
        "aitbc init",
        "aitbc init --coordinator http://127.0.0.1:8700 --rpc http://127.0.0.1:8545",
    ],
)(init)
for _group, _name in (
    (config, "config"),
    (wallet, "wallet"),
    (marketplace, "marketplace"),
    (booking, "booking"),
    (provider, "provider"),
    (audit, "audit"),
    (operator, "operator"),
):
    app.add_typer(_group, name=_name)


def run(arguments: list[str]) -> int:
    """Run the program; its exit status."""
    settings = Globals.guess(arguments)
    try:
        status = _run(arguments, settings)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has left: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return status


def _run(arguments: list[str], settings: Globals) -> int:
    try:
        # What a command returns is None; what typer.Exit carries is an exit status.
        return app(arguments, prog_name="aitbc", standalone_mode=False, obj=settings) or 0
    except (Exception, KeyboardInterrupt) as error:
        if settings.debug:
            traceback.print_exception(error)
        failure = failure_of(error)
        settings.output().failure(failure)
        return failure.exit_code
