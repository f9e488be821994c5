"""How commands are declared: shared options, one session per run, groups that explain themselves.

    app = group("Work with wallets.")

    @command(app, "show", examples=["aitbc wallet show"])
    def show(session: Session, name: Annotated[str, typer.Argument()] = "default") -> None:
        \"""Show a wallet.\"""

Every command so declared also takes `--format`, `--yes` and `--debug`.
"""

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from aitbc.cli.failures import Cancelled
from aitbc.cli.output import Format, Output
from aitbc.cli.session import Session

FORMAT_VARIABLE = "AITBC_FORMAT"

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="table for people, json for programs.", show_default=False),
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Agree to every question.", show_default=False)
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of a failure.", show_default=False)
]

_SHARED = {
    "output_format": (FormatOption, None),
    "assume_yes": (YesOption, False),
    "debug": (DebugOption, False),
}


@dataclass(slots=True)
class Globals:
    """What the shared options say; those of the command add to those before it."""

    format: Format = Format.TABLE
    assume_yes: bool = False
    debug: bool = False

    def add(self, output_format: Format | None, *, assume_yes: bool, debug: bool) -> None:
        self.format = output_format or self.format
        self.assume_yes |= assume_yes
        self.debug |= debug

    def output(self) -> Output:
        return Output(self.format, assume_yes=self.assume_yes)

    @classmethod
    def guess(cls, arguments: Sequence[str]) -> "Globals":
        """What can be told before the arguments are parsed: how to report that they cannot be."""
        asked = [os.environ.get(FORMAT_VARIABLE, "")]
        for index, argument in enumerate(arguments):
            if argument == "--format":
                asked += arguments[index + 1 : index + 2]
            elif argument.startswith("--format="):
                asked.append(argument.partition("=")[2])
        chosen = Format.JSON if asked[-1] == Format.JSON else Format.TABLE
        return cls(format=chosen, debug="--debug" in arguments)


def group(about: str) -> typer.Typer:
    """A group of commands; alone, it shows its help."""
    app = typer.Typer(help=about, rich_markup_mode=None, add_completion=False)

    @app.callback(invoke_without_command=True)
    def explain(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return app


def command(
    app: typer.Typer, name: str, *, examples: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a command of a group. Its function takes a Session first, then what typer reads."""

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]

        @wraps(function)
        def run(context: typer.Context, **values: Any) -> None:
            settings: Globals = context.obj
            shared = {key: values.pop(key) for key in _SHARED}
            settings.add(**shared)
            try:
                function(Session(settings.output()), **values)
            except KeyboardInterrupt:
                # Caught here: typer would turn it into an exit status of its own.
                raise Cancelled("cancelled") from None

        signature = inspect.Signature(
            [
                inspect.Parameter("context", _KIND, annotation=typer.Context),
                *(parameter.replace(kind=_KIND) for parameter in own),
                *(
                    inspect.Parameter(key, _KIND, annotation=annotation, default=default)
                    for key, (annotation, default) in _SHARED.items()
                ),
            ]
        )
        run.__signature__ = signature  # type: ignore[attr-defined]  # typer reads this
        run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        app.command(name, epilog=_epilog(examples))(run)
        return function

    return declare


_KIND = inspect.Parameter.KEYWORD_ONLY


def _epilog(examples: Sequence[str]) -> str | None:
    # \b keeps typer from joining the lines.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
