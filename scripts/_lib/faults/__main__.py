"""Kill the coordinator at every labelled point of its code, and let all go wrong around it.

Each run is a market of its own: a node, the installed coordinator, and people who book, deliver,
cancel and dispute. The coordinator is killed once and started again; or nodes, chain or database
fail as they do in life. It must end as if nothing had happened, without a person. An
interrupted matrix goes on where it stopped. What all of it found so far is written into
coordinator/FAULTS.md. The exit status is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from typing import Any

from rich.console import Console
from rich.table import Table

import record
from faults import matrix
from faults.databases import stores
from faults.matrix import Case
from faults.state import FOLDER, INPUTS, Kept, State, path_of_tree
from repository import ROOT, commit

RECORD = ROOT / "coordinator" / "FAULTS.md"
HEAD = """\
# Faults

What killing the coordinator at every labelled point of its code found, and letting nodes, chain and
database fail around it. `./scripts/faults` writes this file; `CONTRIBUTING.md` says what it does.

"""
Row = dict[str, Any]


def main() -> int:
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pattern = options.only if "/" in options.only else f"{options.only}/*"
    every = [*matrix.troubles(), *matrix.kills()]
    cases = [case for case in every if fnmatch(case.name, pattern)]
    if not cases:
        _say(f"no case is called '{options.only}'")
        return 2
    state = State(path_of_tree(options.bookings), fresh=options.fresh)
    interrupted = False
    try:
        with stores() as made:
            matrix.find(cases, options.bookings, state, made, jobs=options.jobs, say=_say)
    except KeyboardInterrupt:
        _say(f"interrupted; what was found so far is kept in {FOLDER.name}")
        interrupted = True
    found = {case: kept for case in cases if (kept := state.find(case.name)) is not None}
    rows = rows_of(cases, found)
    if cases == every and found:
        _record(rows, found, options.bookings)
    if interrupted:
        return 130
    if options.json:
        print(json.dumps({"name": "faults", "commit": commit(*INPUTS), "rows": rows}))
    else:
        _print(rows, found)
    return 0 if all(row["holds"] for row in rows) else 1


def rows_of(cases: Sequence[Case], found: dict[Case, Kept]) -> list[Row]:
    """What was found of some cases, each value beside its goal."""
    kills = [case for case in cases if case.point is not None]
    troubles = [case for case in cases if case.point is None]
    points = {case.point for case in kills}
    whole = points - {case.point for case in kills if case not in found}
    return [
        _row("kill_points", len(whole), "points", len(points)),
        _row("kill_runs", sum(case in found for case in kills), "runs", len(kills)),
        _row("kill_wrong", _wrong(kills, found), "runs", 0),
        _row("faults_runs", sum(case in found for case in troubles), "runs", len(troubles)),
        _row("faults_wrong", _wrong(troubles, found), "runs", 0),
    ]


def _wrong(cases: Sequence[Case], found: dict[Case, Kept]) -> int:
    return sum(case in found and bool(found[case].wrong) for case in cases)


def _row(name: str, value: int, unit: str, goal: int) -> Row:
    return {"id": name, "value": value, "unit": unit, "goal": goal, "holds": value == goal}


def _record(rows: Sequence[Row], found: dict[Case, Kept], bookings: int) -> None:
    made: dict[str, Any] = {
        "seconds": sum(kept.seconds for kept in found.values()),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(*INPUTS),
        "tools": "",
        "note": f"{bookings} bookings in each run; seconds of all runs together",
    }
    record.write(RECORD, HEAD, [record.Row(**row, **made) for row in rows])


def _print(rows: list[Row], found: dict[Case, Kept]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"faults ({commit(*INPUTS)})")
    for column in rows[0]:
        table.add_column(column, justify="right" if column in {"value", "goal"} else "left")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
    for case, kept in found.items():
        for what in kept.wrong:
            console.print(f"{case.name}:{kept.position} {what}", markup=False, highlight=False)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/faults", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    only = "cases to run, as NAME or NAME/DATABASE/SEED with wildcards (default: all)"
    parser.add_argument("--only", metavar="GLOB", default="*", help=only)
    parser.add_argument("--fresh", action="store_true", help="forget what was found before")
    few = f"bookings of each run (default: {matrix.BOOKINGS})"
    parser.add_argument("--bookings", type=int, default=matrix.BOOKINGS, metavar="N", help=few)
    jobs = "runs side by side (default: as many as cores)"
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help=jobs)
    return parser.parse_args()


def _say(what: str) -> None:
    print(f"faults: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
