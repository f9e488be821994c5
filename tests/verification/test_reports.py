"""What the deep checks read and write."""

import subprocess
import sys
from pathlib import Path

import pytest

import record
import repository
from record import Row
from verification import forge, known, lcov

ROOT = Path(__file__).parents[2]

CONTRACT = """\
// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

contract SumTest {
    function test_Adds() external pure { assert(1 + 1 == 2); }
    function test_Fails() external pure { assert(1 + 1 == 3); }
    function testFuzz_Any(uint256 x) external pure { assert(x == x); }
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tree with one test file, and the compiler."""
    tests = tmp_path / "tests" / "contracts" / "unit"
    tests.mkdir(parents=True)
    (tests / "sum.t.sol").write_text(CONTRACT)
    solc = ROOT / ".venv" / "solcx" / "solc-v0.8.37"
    (tmp_path / "foundry.toml").write_text(
        f'[profile.default]\ntest = "tests/contracts"\nsolc = "{solc}"\n[profile.fast]\n'
    )
    return tmp_path


def test_forge_is_read_test_by_test(project: Path) -> None:
    run = forge.run_tests("unit", root=project, settings={"FOUNDRY_FUZZ_RUNS": "12"})
    by_name = {test.name: test for test in run.tests}
    assert {name for name, test in by_name.items() if test.failure} == {"test_Fails"}
    assert {test.name for test in run.passed} == {"test_Adds", "testFuzz_Any"}
    assert by_name["testFuzz_Any"].count("runs") == 12
    assert by_name["test_Adds"].count("runs") == 0
    assert str(by_name["test_Adds"]) == "tests/contracts/unit/sum.t.sol:SumTest test_Adds"


def test_what_does_not_compile_is_no_failed_test(project: Path) -> None:
    (project / "tests/contracts/unit/sum.t.sol").write_text(CONTRACT.replace("1 + 1 == 2", "1 +"))
    with pytest.raises(forge.CompileError, match=r"forge: .*[Ee]rror"):
        forge.run_tests("unit", root=project)


def test_no_tests_are_no_success(project: Path) -> None:
    with pytest.raises(forge.ForgeError, match="tests"):
        forge.run_tests("attacks", root=project)


def test_a_test_that_does_not_end_is_stopped(project: Path) -> None:
    loop = "uint256 i; while (true) { unchecked { ++i; } }"
    endless = CONTRACT.replace("assert(1 + 1 == 2);", loop)
    (project / "tests/contracts/unit/sum.t.sol").write_text(endless)
    with pytest.raises(TimeoutError):
        forge.run_tests("unit", root=project, timeout=8, settings={"FOUNDRY_GAS_LIMIT": str(2**60)})


def test_coverage_counts_what_is_deployed(tmp_path: Path) -> None:
    report = tmp_path / "lcov.info"
    report.write_text(
        "SF:contracts/A.sol\nDA:1,3\nDA:2,0\nBRDA:2,0,0,-\nBRDA:2,0,1,4\nend_of_record\n"
        "SF:contracts/test/B.sol\nDA:1,0\nend_of_record\n"
        "SF:tests/contracts/A.t.sol\nDA:1,0\nBRDA:1,0,0,0\nend_of_record\n"
    )
    lines, branches = lcov.read(report)
    assert (str(lines), lines.percent, lines.missed) == ("1/2", 50, ["contracts/A.sol:2"])
    assert (str(branches), branches.missed) == ("1/2", ["contracts/A.sol:2 (a branch)"])


def test_nothing_reached_of_nothing_is_not_all(tmp_path: Path) -> None:
    report = tmp_path / "lcov.info"
    report.write_text("")
    assert [reached.percent for reached in lcov.read(report)] == [0, 0]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        Row("fuzz", 10_000, "runs", 10_000, True, 61, "2026-01-31", "abc", "forge 1.7.1", "each"),
        Row("mutation", 95.25, "% killed", 95, False, 5, "2026-02-01", "abd-dirty", "", "a/b"),
    ]
    path = tmp_path / "record.md"
    record.write(path, "# Record\n\n", rows)
    assert record.read(path) == rows
    assert "| fuzz | 10,000 | runs | 10,000 | yes | 61 |" in path.read_text()
    assert record.read(tmp_path / "none.md") == []


def test_a_note_cannot_break_the_table(tmp_path: Path) -> None:
    path = tmp_path / "record.md"
    record.write(path, "", [Row("unit", 0, "", 0, False, 0, "", "", "", "a | b\nc")])
    assert record.read(path)[0].note == "a / b c"


def test_an_unknown_check_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/_lib/verify.py", "units"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such check: units (there are: trees, unit, " in done.stderr


def test_a_finding_is_known_while_its_sources_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.com")

    def commit() -> str:
        subprocess.run([*git, "add", "-A"], cwd=tmp_path, check=True)
        subprocess.run([*git, "commit", "-qm", "A change"], cwd=tmp_path, check=True)
        return repository.commit()

    def keep(**findings: tuple[bool, str]) -> None:
        rows = [
            Row(name, 1, "", 1, holds=holds, seconds=1, date="", commit=of, tools="", note="")
            for name, (holds, of) in findings.items()
        ]
        record.write(path, "", rows)

    path = tmp_path / "contracts" / "VERIFICATION.md"
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    monkeypatch.setattr(known, "RECORD", path)
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    path.parent.mkdir()
    (path.parent / "Escrow.sol").write_text("contract Escrow {}")
    first = commit()
    keep(whole=(True, first), failed=(False, first), strange=(True, "0" * 40))
    assert known.known_to_hold() == {"whole"}
    commit()
    assert known.known_to_hold() == {"whole"}

    (path.parent / "New.sol").write_text("contract New {}")
    assert known.known_to_hold() == frozenset()
    second = commit()
    assert known.known_to_hold() == frozenset()
    keep(whole=(True, second))
    assert known.known_to_hold() == {"whole"}
    (path.parent / "Escrow.sol").write_text("contract Other {}")
    assert known.known_to_hold() == frozenset()
