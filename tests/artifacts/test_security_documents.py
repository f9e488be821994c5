"""The contracts' documents say what the code says, and name tests that exist."""

import re
from pathlib import Path

import pytest

from aitbc.protocol.states import TRANSITIONS, EscrowState

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "contracts/README.md"
SECURITY = ROOT / "SECURITY.md"
NAMED_TESTS = re.findall(r"`([\w/]+\.(?:py|t\.sol))::(\w+)`", SECURITY.read_text())


def state_table() -> set[tuple[str, str, str, str]]:
    """Verb, from, to and sender of each row."""
    text = re.search(
        r"<!-- state-table -->\n(.*?)<!-- /state-table -->", README.read_text(), re.DOTALL
    )
    assert text is not None
    rows = [line.split("|")[1:5] for line in text[1].strip().splitlines()[2:]]
    return {(cells[0].strip(" `"), *(cell.strip() for cell in cells[1:])) for cells in rows}


def shown(state: EscrowState) -> str:
    return state.name.capitalize()


def test_the_state_table_is_that_of_the_protocol() -> None:
    assert state_table() == {
        (t.verb, shown(t.before), ", ".join(map(shown, t.after)), t.sender) for t in TRANSITIONS
    }


@pytest.mark.parametrize(("file", "test"), NAMED_TESTS)
def test_every_test_named_exists(file: str, test: str) -> None:
    path = ROOT / file if file.startswith("tests/") else ROOT / "tests/contracts" / file

    assert re.search(rf"\b(def|function) {test}\(", path.read_text())


def test_every_risk_names_a_test() -> None:
    risks = SECURITY.read_text().split("## Risks")[1]

    for risk in re.split(r"^\d+\. ", risks, flags=re.MULTILINE)[1:]:
        assert re.search(r"\.(py|t\.sol)::(test|table)", risk), risk
