"""Where the `aitbc` program starts."""

import sys

from aitbc.cli.exits import EXIT_CANCELLED


def main() -> None:
    """Run the program and exit with its status."""
    try:
        # Loading takes a while, and whoever interrupts that is owed more than a traceback.
        from aitbc.cli.program import run

        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("error: cancelled\n")
        status = EXIT_CANCELLED
    sys.exit(status)
