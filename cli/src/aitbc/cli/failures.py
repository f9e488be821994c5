"""What the program says, and exits with, when it fails: the one table from exception to words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from aitbc.cli.exits import EXIT_CANCELLED, EXIT_FAILED, EXIT_UNAUTHORISED, EXIT_USAGE
from aitbc.errors import AitbcError, CoordinatorError, InvalidInput, WalletError


class Cancelled(AitbcError):
    """The user said no, or left before answering; nothing further was done."""

    code = "cancelled"


@dataclass(frozen=True, slots=True)
class Failure:
    """One line of words, the next step, a stable code for programs, and the exit status.

    `excerpt` and `details` are an AitbcError's.
    """

    exit_code: int
    message: str
    code: str
    hint: str | None = None
    excerpt: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def failure_of(error: BaseException) -> Failure:
    """What to tell about an exception."""
    match error:
        case AitbcError():
            return Failure(
                _exit_code(error),
                _one_line(str(error)),
                _code(error),
                error.hint,
                error.excerpt,
                error.details,
            )
        case typer.TyperException():
            return Failure(error.exit_code, _usage_message(error), "usage", _usage_hint(error))
        case KeyboardInterrupt() | EOFError() | typer.Abort():
            return Failure(EXIT_CANCELLED, "cancelled", Cancelled.code)
        case OSError(strerror=str(reason), filename=str(path)):
            return Failure(EXIT_FAILED, f"cannot use {path}: {reason}", "file")
    # Its words are not ours, and might carry a secret: they are shown on demand only.
    return Failure(
        EXIT_FAILED,
        f"unexpected {type(error).__name__}",
        "unexpected",
        "run again with --debug for the traceback",
    )


def _exit_code(error: AitbcError) -> int:
    match error:
        case Cancelled():
            return EXIT_CANCELLED
        case InvalidInput():
            return EXIT_USAGE
        case WalletError() | CoordinatorError(status=401 | 403):
            return EXIT_UNAUTHORISED
    return EXIT_FAILED


def _code(error: AitbcError) -> str:
    """The coordinator's own code says more than that it was the coordinator."""
    problem = error.problem if isinstance(error, CoordinatorError) else None
    return problem or error.code


def _usage_message(error: typer.TyperException) -> str:
    return _one_line(error.format_message().replace("Value error, ", ""))


def _usage_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "aitbc"
    return f"see '{command} --help'"


def _one_line(text: str) -> str:
    return " ".join(text.split())
