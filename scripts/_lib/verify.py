"""Run the deep checks of the escrow and record what they found in contracts/VERIFICATION.md.

`./scripts/verify` runs all, which takes an hour or more; `./scripts/verify NAME …` runs the named
ones and replaces their rows. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

import record
from record import Finding, Row
from repository import commit
from verification.checks import CHECKS, FAILURES, Check
from verification.known import NOT_THE_RECORD, RECORD

HEAD = """\
# Verification

What the deep checks found, each with the commit that it ran on. `./scripts/verify` writes this
file; `./scripts/verify NAME` runs one check and replaces its row. `-dirty` marks a check of changes
that were not committed. `CONTRIBUTING.md` says what each check does.

"""
INPUTS = (
    *("contracts", "tests/contracts", "cli/src/aitbc/protocol", "scripts/_lib/verification"),
    *("foundry.toml", "package-lock.json", "requirements.lock", "slither.config.json"),
    NOT_THE_RECORD,
)
"""What the findings depend on."""


def main() -> int:
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = [check for check in CHECKS if not options.check or check.name in options.check]
    try:
        rows = [_run(check) for check in chosen]
    except KeyboardInterrupt:
        _say("interrupted; what was found so far is kept")
        return 130
    if options.json:
        rows_as_json = [row.as_dict() for row in rows]
        print(json.dumps({"name": "verify", "commit": commit(*INPUTS), "rows": rows_as_json}))
    else:
        _print_table(rows)
    return 0 if all(row.holds for row in rows) else 1


def _run(check: Check) -> Row:
    _say(f"{check.name}: {check.what}")
    tree = commit(*INPUTS)
    started = time.monotonic()
    try:
        finding = check.run(_say)
    except FAILURES as error:
        _say(f"{check.name}: {error}")
        finding = Finding(0, "", 0, holds=False, tools="", note=str(error))
    seconds = round(time.monotonic() - started)
    today = datetime.now(UTC).date().isoformat()
    row = Row(check.name, **vars(finding), seconds=seconds, date=today, commit=tree)
    _keep(row)
    _say(f"{check.name}: {'holds' if row.holds else 'FAILED'} ({seconds} s)")
    return row


def _keep(row: Row) -> None:
    """Replace the row of one check, so that nothing is lost when the next one is interrupted."""
    rows = {kept.id: kept for kept in record.read(RECORD)} | {row.id: row}
    record.write(RECORD, HEAD, [rows[check.name] for check in CHECKS if check.name in rows])


def _print_table(rows: list[Row]) -> None:
    table = Table(title=f"verify ({commit(*INPUTS)})")
    shown = ("id", "value", "unit", "goal", "holds", "seconds", "note")
    for column in shown:
        numeric = column in {"value", "goal", "seconds"}
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        cells = dict(zip(record.COLUMNS, row.cells(), strict=True))
        table.add_row(*(cells[column] for column in shown))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/verify",
        description=__doc__,
        epilog="checks: " + "; ".join(f"{check.name}: {check.what}" for check in CHECKS),
    )
    names = [check.name for check in CHECKS]
    parser.add_argument("check", nargs="*", metavar="NAME", help="a check (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args()
    if unknown := sorted(set(options.check) - set(names)):
        parser.error(f"no such check: {', '.join(unknown)} (there are: {', '.join(names)})")
    return options


def _say(what: str) -> None:
    print(f"verify: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
