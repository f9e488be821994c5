"""Measure one of the project's figures, and say whether its goals hold.

Standard output carries the result alone. The exit status is 0 when it was measured, whether
goals hold or not.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys

import settlement_bench.measure
import soak
import takeover
from rich.console import Console
from rich.table import Table

import economics
import gas.cases
import market_bench.measure
import replay.cases
from benchmark import Benchmark, Measured, Row
from local_market import LocalMarketError
from repository import ROOT, commit

BENCHMARKS = {
    b.name: b
    for b in (
        gas.cases.BENCHMARK,
        economics.BENCHMARK,
        market_bench.measure.BENCHMARK,
        replay.cases.BENCHMARK,
        settlement_bench.measure.BENCHMARK,
        takeover.BENCHMARK,
        soak.BENCHMARK,
    )
}


def main() -> int:
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    benchmark: Benchmark = BENCHMARKS[options.name]
    try:
        measured = _measure(benchmark, small=options.small)
    except LocalMarketError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; what it had started was stopped", file=sys.stderr)
        return 130
    if options.snapshot and benchmark.snapshot is not None:
        benchmark.snapshot.write_text(snapshot_text(measured), encoding="utf-8")
        print(f"bench: wrote {benchmark.snapshot.relative_to(ROOT)}", file=sys.stderr)
    if options.json:
        print(json.dumps({"name": benchmark.name, "commit": commit(), **measured.as_dict()}))
    else:
        print_table(benchmark, measured)
    return 0


def _measure(benchmark: Benchmark, *, small: bool) -> Measured:
    return benchmark.small() if small and benchmark.small is not None else benchmark.measure()


def snapshot_text(measured: Measured) -> str:
    """What is kept of a result that does not change from run to run."""
    return json.dumps(measured.as_dict(), indent=1) + "\n"


def print_table(benchmark: Benchmark, measured: Measured) -> None:
    table = Table(title=f"{benchmark.what} ({commit()})")
    for column in ("id", "value", "unit", "floor", "ratio", "goal", "holds", "what"):
        numeric = column in {"value", "floor", "ratio", "goal"}
        table.add_column(column, justify="right" if numeric else "left", no_wrap=column != "what")
    for row in measured.rows:
        table.add_row(*_cells(row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cells(row: Row) -> tuple[str, ...]:
    floor = "" if row.floor is None else f"{row.floor:,}"
    ratio = "" if row.ratio is None else f"{row.ratio:.4f}"
    sign = "≤" if row.bound == "most" else "≥"
    goal = "" if row.goal is None else f"{sign} {row.goal:,}"
    holds = {None: "", True: "yes", False: "NO"}[row.holds]
    return row.id, f"{row.value:,}", row.unit, floor, ratio, goal, holds, row.what


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description=__doc__)
    known = "; ".join(f"{b.name}: {b.what}" for b in BENCHMARKS.values())
    parser.add_argument("name", metavar="NAME", choices=BENCHMARKS, help=known)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    keep = "write the result to the file that the tests compare with"
    parser.add_argument("--snapshot", action="store_true", help=keep)
    little = "measure so little that it shows only whether it works"
    parser.add_argument("--small", action="store_true", help=little)
    options = parser.parse_args()
    benchmark = BENCHMARKS[options.name]
    if options.snapshot and benchmark.snapshot is None:
        parser.error(f"{options.name} differs from run to run and has no snapshot")
    if options.small and benchmark.small is None:
        parser.error(f"{options.name} is quick enough and has no small run")
    return options


if __name__ == "__main__":
    sys.exit(main())
