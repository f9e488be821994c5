"""The Given/When trees agree with the contract tests, and no difference goes unseen."""

import re
from pathlib import Path

import pytest

from verification.trees import camel_case, compare

UNIT = Path(__file__).parents[1] / "contracts" / "unit"

TREE = """\
DoorTest
├── it should have a key
├── given the door is closed
│   ├── when the key fits
│   │   ├── it should open
│   │   └── it should creak
│   └── when the key is lost
│       └── it should revert
└── given the door's open
    └── it should close
"""

SOURCE = """\
abstract contract DoorTest is HouseTest {
    function test_ShouldHaveAKey() external {
        // it should have a key
        assertKey();
    }

    modifier givenTheDoorIsClosed() {
        _;
    }

    function test_WhenTheKeyFits() external givenTheDoorIsClosed {
        // it should open
        vm.expectEmit(address(door));
        if (door.stuck()) {
            door.kick();
        }

        // it should creak
        assertLoud();
    }

    function test_RevertWhen_TheKeyIsLost() external givenTheDoorIsClosed {
        // it should revert
        vm.expectRevert();
    }

    function test_GivenTheDoorsOpen() external {
        // it should close
        door.close();
    }

    function _helper() private {}
}

contract WoodenDoorTest is DoorTest {}
"""


def problems(folder: Path, tree: str, source: str | None) -> list[str]:
    (folder / "door.tree").write_text(tree)
    if source is not None:
        (folder / "door.t.sol").write_text(source)
    return [str(problem).removeprefix(f"{folder}/") for problem in compare(folder).problems]


def test_the_trees_say_what_the_tests_are() -> None:
    compared = compare(UNIT)
    assert compared.trees > 0
    assert not compared.problems, "\n".join(map(str, compared.problems))


def test_a_faithful_pair_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, TREE, SOURCE) == []
    assert compare(tmp_path).tests == 4


def test_a_file_may_have_several_trees(tmp_path: Path) -> None:
    gate = "GateTest\n└── it should swing\n"
    swings = "    function test_ShouldSwing() external {\n        // it should swing\n    }\n"
    source = f"{SOURCE}\nabstract contract GateTest is HouseTest {{\n{swings}}}\n"
    assert problems(tmp_path, f"{TREE}\n{gate}", source) == []
    assert compare(tmp_path).tests == 5


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("│   ├── when the key fits", "│   |-- when the key fits", "door.tree:4: expected"),
        ("│   ├── when the key fits", "│   │   ├── when the key fits", "door.tree:4: is not drawn"),
        ("when the key fits", "if the key fits", "door.tree:4: 'if the key fits' starts with none"),
        ("it should creak", "it creaks", "door.tree:6: 'it creaks' starts with none of"),
        ("it should creak", "when it creaks", "door.tree:6: 'when it creaks' has nothing below"),
        ("when the key is lost", "when the key fits", "door.tree:7: the condition 'when the key"),
        ("│   ├── when the key fits", "│   ├── it should fit", "door.tree:4: a leaf has nothing"),
        (
            "│   ├── when the key fits\n",
            "│   ├── it should fit\n│   ├── when the key fits\n",
            "door.tree:3: 'given the door is closed' has both conditions and leaves",
        ),
        ("DoorTest\n", "", "door.tree:1: is not drawn below"),
        ("DoorTest\n", "Door\n", "door.tree:1: door.t.sol has no contract Door"),
        ("given the door's open", "given a gap", "door.tree:9: door.t.sol has no test test_Given"),
    ],
)
def test_a_fault_of_the_tree_is_named(tmp_path: Path, old: str, new: str, seen: str) -> None:
    assert TREE.count(old) == 1
    found = problems(tmp_path, TREE.replace(old, new), SOURCE)
    assert [problem for problem in found if problem.startswith(seen)]


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (
            "test_RevertWhen_TheKeyIsLost",
            "test_RevertWhen_TheKeyIsGone",
            [
                "door.tree:7: door.t.sol has no test test_RevertWhen_TheKeyIsLost",
                "door.t.sol:22: test_RevertWhen_TheKeyIsGone is not in door.tree",
            ],
        ),
        (
            "function test_WhenTheKeyFits() external givenTheDoorIsClosed",
            "function test_WhenTheKeyFits() external",
            [
                "door.t.sol:11: test_WhenTheKeyFits has the modifiers (none); "
                "its tree says givenTheDoorIsClosed"
            ],
        ),
        (
            "        // it should creak\n",
            "",
            [
                "door.t.sol:11: test_WhenTheKeyFits has the comments it should open; "
                "its tree says it should open, it should creak"
            ],
        ),
        (
            "    function _helper() private {}",
            "    function test_More() external {}",
            ["door.t.sol:32: test_More is not in door.tree"],
        ),
    ],
)
def test_a_fault_of_the_tests_is_named(tmp_path: Path, old: str, new: str, seen: list[str]) -> None:
    assert SOURCE.count(old) == 1
    assert problems(tmp_path, TREE, SOURCE.replace(old, new)) == seen


def test_tests_stand_in_the_order_of_the_tree(tmp_path: Path) -> None:
    first, second = re.findall(r"    function test_(?:When|Revert).*?\n    }\n", SOURCE, re.S)
    swapped = SOURCE.replace(first, "@").replace(second, first).replace("@", second)
    assert problems(tmp_path, TREE, swapped) == [
        "door.t.sol:11: test_RevertWhen_TheKeyIsLost stands where door.tree has test_WhenTheKeyFits"
    ]


def test_neither_stands_alone(tmp_path: Path) -> None:
    assert problems(tmp_path, TREE, None) == ["door.tree:1: door.t.sol is missing beside it"]
    (tmp_path / "door.tree").rename(tmp_path / "gate.tree")
    (tmp_path / "door.t.sol").write_text(SOURCE)
    assert [problem.text for problem in compare(tmp_path).problems] == [
        "gate.t.sol is missing beside it",
        "door.tree is missing beside it",
    ]


def test_words_become_a_name() -> None:
    assert camel_case("the buyer's ERC-1271 wallet, at T+W") == "TheBuyersERC1271WalletAtTW"
