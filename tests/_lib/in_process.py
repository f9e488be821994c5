"""The programs run in this process: for tables of cases, as starting Python for each is slow.

It is the same `main` that the installed script calls, with its environment, standard streams and
exit status. Every table also has a case in which the installed program is a process of its own.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

from aitbc.cli import main as aitbc
from local_market import User


def run_main(
    main: Callable[[], None], env: Mapping[str, str], *args: str, stdin: str = ""
) -> CompletedProcess[str]:
    """Call a program's `main`, whatever its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, env, clear=True),
        patch.object(sys, "argv", ["program", *args]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
    return CompletedProcess(list(args), code, out.getvalue(), err.getvalue())


def run_here(user: User, *args: str, stdin: str | None = None, **env: str) -> CompletedProcess[str]:
    """As `user.run`, in this process."""
    return run_main(aitbc.main, {**user.env, **env}, *args, stdin=stdin or "")


def json_here(user: User, *args: str) -> Any:
    """As `user.json`, in this process."""
    done = run_here(user, *args, "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
