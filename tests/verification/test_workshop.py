"""Mutants are tested on their own code, even where forge believes what it kept of another."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from verification import forge
from verification.mutants import Mutant
from verification.workshop import (
    CACHE,
    ESCROWS,
    OF_LIBRARIES,
    Outcome,
    StaleError,
    Verdict,
    Workshop,
    first_stage,
    open_workshop,
    require_current,
)

CORE, LIBRARY = "contracts/EscrowCore.sol", "contracts/libraries/Two.sol"
TEST = "tests/contracts/unit/two/two.t.sol"
HEAD = "// SPDX-License-Identifier: Apache-2.0\npragma solidity 0.8.37;\n"
SOURCES = {
    LIBRARY: "library Two { function two() internal pure returns (uint256) { return 2; } }",
    CORE: """import {Two} from "./libraries/Two.sol";
        abstract contract EscrowCore {
            function four() external pure returns (uint256) { return 2 + Two.two(); }
        }""",
    **{
        f"contracts/{name}.sol": f"""import {{EscrowCore}} from "./EscrowCore.sol";
            contract {name} is EscrowCore {{}}"""
        for name in ESCROWS
    },
    TEST: """import {TokenEscrow} from "../../../../contracts/TokenEscrow.sol";
        contract TwoTest {
            function test_Four() external { assert(new TokenEscrow().four() == 4); }
        }
        """,
}
FAILS = f"{TEST}:TwoTest test_Four"
WRONG = (CORE, b"return 2", b"return 3")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for path, text in SOURCES.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(HEAD + text)
    shutil.copy2(forge.ROOT / "foundry.toml", tree)
    return tree


def mutant(source: Path, path: str, was: bytes, becomes: bytes) -> Mutant:
    start = (source / path).read_bytes().index(was)
    return Mutant(path, "A.f", start, start + len(was), becomes.decode(), "", "")


def compiled(tree: Path, file: str, *sources: str, code: str = "0x60") -> Path:
    """Write what forge would for a contract of some sources, as they are now."""
    name = Path(file).stem
    path = tree / "out" / f"{name}.sol" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = {s: {"keccak256": "0x" + keccak((tree / s).read_bytes()).hex()} for s in sources}
    metadata = {"settings": {"compilationTarget": {file: name}}, "sources": hashes}
    path.write_text(json.dumps({"bytecode": {"object": code}, "metadata": metadata}))
    return path


@pytest.fixture
def built(source: Path) -> Path:
    for name in ESCROWS:
        compiled(source, f"contracts/{name}.sol", f"contracts/{name}.sol", CORE, LIBRARY)
    return source


def change(tree: Path, path: str) -> None:
    (tree / path).write_text((tree / path).read_text() + "// changed")


@pytest.mark.parametrize("path", [CORE, LIBRARY, "contracts/NativeEscrow.sol"])
def test_an_escrow_of_another_text_is_stale(built: Path, path: str) -> None:
    require_current(built, built / "out")
    change(built, path)
    with pytest.raises(StaleError, match=f"Escrow was compiled from another {path}"):
        require_current(built, built / "out")


def test_one_stale_escrow_is_enough(built: Path) -> None:
    change(built, CORE)
    compiled(built, "contracts/TokenEscrow.sol", CORE)
    with pytest.raises(StaleError, match="NativeEscrow"):
        require_current(built, built / "out")


def test_an_escrow_that_is_missing_is_stale(built: Path) -> None:
    (built / "out" / "TokenEscrow.sol" / "TokenEscrow.json").unlink()
    with pytest.raises(StaleError, match="TokenEscrow was not compiled"):
        require_current(built, built / "out")


def test_a_test_contains_libraries_but_no_contract(built: Path) -> None:
    compiled(built, TEST, CORE, LIBRARY)
    compiled(built, "tests/contracts/support/Helper.sol", LIBRARY, code="0x")
    for path in (CORE, LIBRARY):
        change(built, path)
        for name in ESCROWS:
            compiled(built, f"contracts/{name}.sol", CORE, LIBRARY)
        if path == CORE:
            require_current(built, built / "out")
    with pytest.raises(StaleError, match=f"two.t.sol:two.t was compiled from another {LIBRARY}"):
        require_current(built, built / "out")


def test_no_test_contains_the_code_of_a_contract() -> None:
    """Else its artifact could be stale, which `require_current` takes for granted it is not."""
    inherits = re.compile(r"\bcontract\s+\w+\s+is\b[^{]*\b(EscrowCore|NativeEscrow|TokenEscrow)\b")
    assert inherits.search("contract A is Base,\n    TokenEscrow(address(0)) {")
    files = list((forge.ROOT / forge.TESTS).rglob("*.sol"))
    assert len(files) > 40
    assert [file.name for file in files if inherits.search(file.read_text())] == []


@pytest.fixture
def workshop(source: Path, tmp_path: Path) -> Iterator[Workshop]:
    with open_workshop(source, tmp_path / "workshop") as workshop:
        yield workshop


STAGE = ("unit",)


def cache_of(workshop: Workshop) -> Path:
    return workshop.folder / "unit" / CACHE / "cache" / "solidity-files-cache.json"


@pytest.mark.timeout(900)
def test_what_forge_wrongly_kept_is_compiled_again(
    workshop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = mutant(source, *WRONG)
    assert workshop.attempt(wrong, [STAGE], 60) == Outcome(Verdict.KILLED, FAILS)
    of_wrong = cache_of(workshop).read_text()
    workshop.test([STAGE])
    cache_of(workshop).write_text(of_wrong)  # over the artifacts of the unchanged contracts

    with workshop._changed(wrong, STAGE):
        run = forge.run_tests(root=workshop.folder / "unit", settings=workshop.settings)
    assert run.failed == [], "forge takes what it kept for the code of the mutant"

    assert workshop.attempt(wrong, [STAGE], 60) == Outcome(Verdict.KILLED, FAILS)
    workshop.test([STAGE])
    cache_of(workshop).write_text(of_wrong)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(StaleError):
        workshop.attempt(wrong, [STAGE], 60)


def test_tests_that_do_not_end_are_run_once_more(
    workshop: Workshop, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    run = forge.run_tests

    def slow_at_first(*, timeout: float, **options: object) -> forge.TestRun:
        limits.append(timeout)
        found = run(timeout=None, **options)  # type: ignore[arg-type]
        if len(limits) in slow:
            raise TimeoutError
        return found

    monkeypatch.setattr(forge, "run_tests", slow_at_first)
    wrong = mutant(source, *WRONG)
    slow = {1}
    assert workshop.attempt(wrong, [STAGE], 1) == Outcome(Verdict.KILLED, FAILS)
    assert limits == [70, 140]
    slow = {3, 4}
    assert workshop.attempt(wrong, [STAGE], 1) == Outcome(Verdict.KILLED, "no end")


def test_a_mutant_meets_the_tests_of_its_verb_first(source: Path) -> None:
    of_library = mutant(source, LIBRARY, b"return 2", b"return 3")
    assert first_stage(of_library, source) == OF_LIBRARIES
    of_verb = Mutant(CORE, "EscrowCore.two", 0, 0, "", "", "")
    assert first_stage(of_verb, source) == ("unit/two",)
    of_none = Mutant(CORE, "EscrowCore.three", 0, 0, "", "", "")
    assert first_stage(of_none, source) == ()
