"""The deep checks, by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from record import Finding, number
from verification import forge, halmos, lcov, mutation, trees
from verification.workshop import Verdict

UNIT = forge.ROOT / forge.TESTS / "unit"
DIFFERENTIAL = "tests/differential"
FUZZ_RUNS = 10_000
INVARIANT_RUNS, INVARIANT_DEPTH = 1_000, 100
MUTATION_SCORE = 95.0
FAILURES = (forge.ForgeError, halmos.HalmosError, mutation.SurvivorsError, TimeoutError)
"""What a check raises when it cannot come to a finding."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """A deep check: its name, what it does, and how."""

    name: str
    what: str
    run: Callable[[Say], Finding]


def compare_trees(say: Say) -> Finding:
    compared = trees.compare(UNIT)
    for problem in compared.problems:
        say(str(problem))
    faults = len(compared.problems)
    note = f"{compared.tests} tests in {compared.trees} trees"
    return Finding(faults, "differences", 0, faults == 0 and compared.trees > 0, "", note)


def unit(say: Say) -> Finding:
    both: tuple[dict[str, str], ...] = ({}, forge.ON_SHIPPED)
    runs = [forge.run_tests("unit", "attacks", settings=settings) for settings in both]
    passed = sum(len(run.passed) for run in runs)
    total = sum(len(run.tests) for run in runs)
    _say_failures(say, *runs)
    note = "on the shipped artifacts, and on unoptimized code"
    return Finding(passed, "tests", total, passed == total, _forge(), note)


def fuzz(say: Say) -> Finding:
    settings = forge.ON_SHIPPED | {"FOUNDRY_FUZZ_RUNS": str(FUZZ_RUNS)}
    run = forge.run_tests("unit", "attacks", "fuzz", settings=settings)
    _say_failures(say, run)
    counts = [t.count("runs") for t in run.tests if t.count("runs") and t.name.startswith("test")]
    least = min(counts, default=0)
    holds = not run.failed and least >= FUZZ_RUNS
    return Finding(least, "runs", FUZZ_RUNS, holds, _forge(), f"each of {len(counts)} properties")


def invariants(say: Say) -> Finding:
    settings = forge.ON_SHIPPED | {
        "FOUNDRY_INVARIANT_RUNS": str(INVARIANT_RUNS),
        "FOUNDRY_INVARIANT_DEPTH": str(INVARIANT_DEPTH),
        "FOUNDRY_INVARIANT_FAIL_ON_REVERT": "true",
    }
    run = forge.run_tests("invariant", settings=settings)
    _say_failures(say, run)
    tried = [test for test in run.tests if test.count("calls")]
    least = min((test.count("calls") for test in tried), default=0)
    reverts = sum(test.count("reverts") for test in tried)
    goal = INVARIANT_RUNS * INVARIANT_DEPTH
    holds = not run.failed and least >= goal and reverts == 0
    note = f"each of {len(tried)} invariants, {reverts} reverts"
    return Finding(least, "calls", goal, holds, _forge(), note)


def symbolic(say: Say) -> Finding:
    proofs = halmos.prove()
    for name in (name for name, holds in proofs.items() if not holds):
        say(f"not proved: {name}")
    proved = sum(proofs.values())
    version = _version(str(halmos.BIN / "halmos"), "--version")
    note = "for all inputs within the bounds that the tests state"
    return Finding(proved, "proofs", len(proofs), proved == len(proofs), f"halmos {version}", note)


def differential(_say: Say) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ("-q", "-p", "no:ape_test", "--hypothesis-profile=deep", "--timeout=0")
        command = ("pytest", *options, f"--junitxml={report}", DIFFERENTIAL)
        done = subprocess.run(command, cwd=forge.ROOT, stdout=sys.stderr, check=False)
        suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 our own file
    total = 0 if suite is None else int(suite.get("tests", 0))
    broken = 0 if suite is None else int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    holds = done.returncode == 0 and total > 0
    version = _version("anvil", "--version")
    return Finding(total - broken, "tests", total, holds, f"anvil {version}", "")


def coverage(say: Say) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "lcov.info"
        forge.coverage(report, options=("--match-path", f"{forge.TESTS}/{{unit,attacks}}/**/*.sol"))
        lines, branches = lcov.read(report)
    for place in (*lines.missed, *branches.missed):
        say(f"no test reaches {place}")
    percent = min(lines.percent, branches.percent)
    holds = not lines.missed and not branches.missed and lines.total > 0
    note = f"{lines} lines, {branches} branches"
    return Finding(round(percent, 2), "%", 100, holds, _forge(), note)


def slither(say: Say) -> Finding:
    done = subprocess.run(
        ["slither", "contracts", "--json", "-"],
        cwd=forge.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        results = json.loads(done.stdout)["results"].get("detectors", [])
    except ValueError as error:
        raise forge.ForgeError(f"slither stopped: {done.stderr.strip()[-500:]}") from error
    for result in results:
        say(f"slither: {' '.join(result['description'].split())}")
    note = "contracts/README.md explains what is switched off"
    tools = f"slither {_version('slither', '--version')}"
    return Finding(len(results), "findings", 0, not results, tools, note)


def mutate(say: Say) -> Finding:
    campaign = mutation.run_campaign(say)
    for id_ in campaign.unexplained:
        say(f"survived, and is not explained: {id_}")
    for id_ in campaign.outdated:
        say(f"is explained, but does not survive: {id_}")
    count = {verdict: campaign.count(verdict) for verdict in Verdict}
    holds = campaign.score >= MUTATION_SCORE and not campaign.unexplained
    note = (
        f"{count[Verdict.KILLED]} killed ({campaign.endless} as they do not end),"
        f" {count[Verdict.SURVIVED]} survived; besides, {count[Verdict.SAME]} of the same code"
        f" and {count[Verdict.INVALID]} that do not compile"
    )
    return Finding(round(campaign.score, 2), "% killed", MUTATION_SCORE, holds, _forge(), note)


CHECKS = (
    Check("trees", "the Given/When trees say what the unit tests are", compare_trees),
    Check("unit", "every unit test and every attack, on what ships and unoptimized", unit),
    Check("fuzz", f"every property with {number(FUZZ_RUNS)} random inputs", fuzz),
    Check(
        "invariants",
        f"every invariant after each of {INVARIANT_DEPTH} random calls,"
        f" {number(INVARIANT_RUNS)} times",
        invariants,
    ),
    Check("differential", "random histories against the state table in Python", differential),
    Check("symbolic", "proofs for all inputs at once", symbolic),
    Check("coverage", "every line and branch is reached by a unit test or an attack", coverage),
    Check("slither", "static analysis", slither),
    Check("mutation", "a test fails for every small fault put into the contracts", mutate),
)


def _say_failures(say: Say, *runs: forge.TestRun) -> None:
    for run in runs:
        for test in run.failed:
            say(f"failed: {test}: {test.failure}")


def _forge() -> str:
    solc = _version("scripts/solc", "--version")
    return f"forge {_version('forge', '--version')}, solc {solc}"


def _version(*command: str) -> str:
    done = subprocess.run(command, cwd=forge.ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout)
    return found[0] if found else "unknown"
