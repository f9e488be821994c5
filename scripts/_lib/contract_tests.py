"""Run all contract tests that are written in Solidity, and report them as pytest does."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from verification import forge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shipped", action="store_true", help="test the artifacts that ship")
    parser.add_argument("--junitxml", type=Path, metavar="FILE", help="where the report goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run = forge.run_tests(settings=forge.ON_SHIPPED if options.shipped else {})
    except forge.ForgeError as error:
        print(error, file=sys.stderr)
        return 1
    if options.junitxml is not None:
        options.junitxml.write_text(run.junit)
    for test in run.failed:
        print(f"FAILED {test}: {test.failure}")
    print(f"{len(run.passed)} passed, {len(run.failed)} failed")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
