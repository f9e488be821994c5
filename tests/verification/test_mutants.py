"""The mutants of a small contract: each operator makes those that it says, and no others."""

import json
import subprocess
from pathlib import Path

import pytest

from verification.mutants import Mutant, all_mutants
from verification.mutation import State, SurvivorsError, read_survivors
from verification.workshop import Outcome, Verdict

ROOT = Path(__file__).parents[2]

SHOP = """\
// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

enum Door { Open, Closed }

struct Sale { address buyer; address seller; uint256 price; }

contract Shop {
    error TooCheap(uint256 price, uint256 least);
    event Sold(address buyer, uint256 price);

    Door door;
    address immutable owner;
    address immutable guard;
    uint256 sales;

    modifier locked() { _; }

    constructor(address owner_, address guard_) {
        owner = owner_;
        guard = guard_;
    }

    function sell(Sale memory sale) external locked {
        require(sale.price >= 10, TooCheap(sale.price, 10));
        sales += sale.price;
        emit Sold(sale.buyer, sale.price);
    }

    function isMine(address who) external view returns (bool) {
        return who == owner && door == Door.Open;
    }

    function low(uint256 word) external pure returns (uint256) {
        uint256 kept = uint8(word) - 1;
        for (uint256 i; i < 3; ++i) {
            kept = kept == 0 ? 7 : kept;
        }
        return kept;
    }

    function pay(address to) external returns (bool sent) {
        assembly {
            sent := call(gas(), to, 5, 0, 0, 0, 0)
        }
    }
}
"""


@pytest.fixture(scope="module")
def mutants() -> list[Mutant]:
    request = {
        "language": "Solidity",
        "sources": {"Shop.sol": {"content": SHOP}},
        "settings": {"outputSelection": {"*": {"": ["ast"]}}},
    }
    command = [str(ROOT / "scripts" / "solc"), "--standard-json"]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, check=True
    )
    tree = json.loads(done.stdout)["sources"]["Shop.sol"]["ast"]
    return all_mutants({"Shop.sol": tree}, {"Shop.sol": SHOP.encode()})


def becomes(mutants: list[Mutant], place: str, was: str) -> set[str]:
    return {m.becomes for m in mutants if m.place == place and m.was == was}


def test_a_guard_moves_by_one_turns_or_goes(mutants: list[Mutant]) -> None:
    guard = "require(sale.price >= 10, TooCheap(sale.price, 10));"
    assert becomes(mutants, "Shop.sell", guard) == {
        "{}",
        "require(sale.price > 10, TooCheap(sale.price, 10));",
        "require(sale.price == 10, TooCheap(sale.price, 10));",
        "require(true, TooCheap(sale.price, 10));",
        "require(sale.price >= (10 + 1), TooCheap(sale.price, 10));",
        "require(sale.price >= (10 - 1), TooCheap(sale.price, 10));",
        "require(sale.price >= 10, TooCheap(10, sale.price));",
        "require(sale.price >= 10, TooCheap(sale.price, (10 + 1)));",
        "require(sale.price >= 10, TooCheap(sale.price, (10 - 1)));",
    }
    [dropped] = [m for m in mutants if m.drops_guard]
    assert "require(" not in dropped.apply(SHOP.encode()).decode()


def test_statements_modifiers_and_sums_change(mutants: list[Mutant]) -> None:
    assert becomes(mutants, "Shop.sell", "sales += sale.price;") == {
        "{}",
        "sales -= sale.price;",
        "sales = sale.price;",
    }
    assert becomes(mutants, "Shop.sell", "emit Sold(sale.buyer, sale.price);") == {
        "{}",
        "emit Sold(sale.seller, sale.price);",
    }
    header = "function sell(Sale memory sale) external locked {"
    assert becomes(mutants, "Shop.sell", header) == {"function sell(Sale memory sale) external  {"}


def test_names_are_exchanged_for_their_like(mutants: list[Mutant]) -> None:
    assert becomes(mutants, "Shop.constructor", "owner = owner_;") == {"{}", "guard = owner_;"}
    assert becomes(mutants, "Shop.isMine", "return who == owner && door == Door.Open;") == {
        "{}",
        "return who == owner || door == Door.Open;",
        "return who == owner;",
        "return door == Door.Open;",
        "return who != owner && door == Door.Open;",
        "return false && door == Door.Open;",
        "return who == guard && door == Door.Open;",
        "return who == owner && door != Door.Open;",
        "return who == owner && false;",
        "return who == owner && door == Door.Closed;",
    }


def test_numbers_and_loops_change(mutants: list[Mutant]) -> None:
    assert becomes(mutants, "Shop.low", "uint256 kept = uint8(word) - 1;") == {
        "uint256 kept;",
        "uint256 kept = uint8(word) + 1;",
        "uint256 kept = uint8(word);",
        "uint256 kept = 1;",
        "uint256 kept = 1 - uint8(word);",
        "uint256 kept = uint8(word) - (1 + 1);",
        "uint256 kept = uint8(word) - (1 - 1);",
        "uint256 kept = word - 1;",
    }
    assert becomes(mutants, "Shop.low", "for (uint256 i; i < 3; ++i) {") == {
        "for (uint256 i; i <= 3; ++i) {",
        "for (uint256 i; false; ++i) {",
        "for (uint256 i; i < (3 + 1); ++i) {",
        "for (uint256 i; i < (3 - 1); ++i) {",
        "for (uint256 i; i < 3; --i) {",
    }
    choice = becomes(mutants, "Shop.low", "kept = kept == 0 ? 7 : kept;")
    assert {"{}", "kept = 7;", "kept = kept;", "kept = kept >= 0 ? 7 : kept;"} <= choice
    assert "kept = kept <= 0 ? 7 : kept;" not in choice, "the same for a number without sign"


def test_assembly_changes_too(mutants: list[Mutant]) -> None:
    changed = becomes(mutants, "Shop.pay", "sent := call(gas(), to, 5, 0, 0, 0, 0)")
    assert {
        "",
        "sent := call(to, gas(), 5, 0, 0, 0, 0)",
        "sent := call(gas(), to, 6, 0, 0, 0, 0)",
        "sent := call(gas(), to, 0, 0, 0, 0, 0)",
    } <= changed


def test_every_mutant_is_another_program_with_a_name_of_its_own(mutants: list[Mutant]) -> None:
    programs = {m.apply(SHOP.encode()) for m in mutants}
    assert len(programs) == len(mutants) == len({m.id for m in mutants})
    assert SHOP.encode() not in programs


def test_survivors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "survivors.toml"
    path.write_text('[[survivor]]\nplace = "A.f"\nwas = "a"\nbecomes = "b"\nwhy = "same"\n')
    [survivor] = read_survivors(path)
    assert survivor.id == "A.f: a → b"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[survivor]", "survivors.toml: "),
        ('[[survivor]]\nplace = "A.f"\n', "each [[survivor]] has: place, was, becomes, why"),
        (
            '[[survivor]]\nplace = "A.f"\nwas = "a"\nbecomes = "b"\nwhy = " "\n',
            "survivors.toml: say why this may survive: A.f: a → b",
        ),
    ],
)
def test_a_survivor_needs_a_reason(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "survivors.toml"
    path.write_text(text)
    with pytest.raises(SurvivorsError) as error:
        read_survivors(path)
    assert says in str(error.value)


def test_an_outcome_is_kept_while_what_decided_it_stays(tmp_path: Path) -> None:
    tests = tmp_path / "tests" / "contracts"
    files = {
        "contract": tmp_path / "contracts" / "A.sol",
        "killer": tests / "unit" / "a" / "a.t.sol",
        "other": tests / "unit" / "b" / "b.t.sol",
        "support": tests / "support" / "Base.sol",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("//")
    (tmp_path / "foundry.toml").write_text("")
    state = State(tmp_path / "state.json", tmp_path)
    state.keep("killed", Outcome(Verdict.KILLED, "tests/contracts/unit/a/a.t.sol:ATest test_A"))
    state.keep("survived", Outcome(Verdict.SURVIVED))
    state.keep("same", Outcome(Verdict.SAME))

    def kept_after_a_change_of(name: str) -> set[str]:
        files[name].write_text("// changed")
        again = State(tmp_path / "state.json", tmp_path)
        kept = {id_ for id_ in again.kept if again.outcome(id_) is not None}
        files[name].write_text("//")
        return kept

    assert kept_after_a_change_of("other") == {"killed", "same"}
    assert kept_after_a_change_of("killer") == {"same"}
    assert kept_after_a_change_of("support") == {"same"}
    assert kept_after_a_change_of("contract") == set()
