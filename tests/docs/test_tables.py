"""What the documents repeat from the code is the same there."""

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from aitbc.protocol import funding, messages, units, where
from aitbc.protocol.messages import Message
from aitbc.protocol.pricing import STRATEGIES, cost, inputs, level, simulation, strategies
from aitbc.protocol.states import TRANSITIONS, BookingStatus
from aitbc_coordinator.market import hours
from aitbc_coordinator.market.matching import BATCHES, SPARES
from aitbc_coordinator.market.reasons import MAX_PRICED
from aitbc_coordinator.market.standing import WINDOW_SECONDS
from aitbc_coordinator.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def section(document: str, name: str) -> str:
    text = (ROOT / document).read_text()
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert match is not None, f"{document} has no section {name}"
    return match[1].strip()


def settings_table() -> str:
    lines = ["| Setting | Default | Meaning |", "|---|---|---|"]
    for name, info in Settings.model_fields.items():
        default = "" if info.default is PydanticUndefined else info.default
        shown = "required" if info.is_required() else f"`{default}`" if default else "none"
        lines.append(f"| `{name}` | {shown} | {info.description} |")
    return "\n".join(lines)


def test_the_operators_page_lists_every_setting() -> None:
    assert section("docs/operator.md", "settings") == settings_table()


PRICING_MODULES = (level, strategies, simulation, cost, inputs, hours)


def pricing_constants() -> dict[str, str]:
    """Every number that prices are made by, as people read it."""
    return {
        name: _shown(name, value)
        for module in PRICING_MODULES
        for name, value in vars(module).items()
        if isinstance(value, int) and re.fullmatch("[A-Z][A-Z_]+", name)
        if not hasattr(units, name)
    }


def _shown(name: str, value: int) -> str:
    if name.endswith("_BPS"):
        return f"{units.format_amount(value, 2)} %"
    if name.endswith("_SECONDS"):
        return f"{value // units.SECONDS_PER_HOUR} h"
    return f"{value}:00" if name.endswith("_HOUR") else str(value)


def test_the_page_on_prices_has_every_constant() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \|", section("docs/pricing.md", "pricing-constants"), re.MULTILINE
    )
    assert dict(rows) == pricing_constants()
    assert len(rows) == len(dict(rows))
    text = (ROOT / "docs/pricing.md").read_text()
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) == set(dict(rows))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_page_on_prices_has_every_strategy(strategy: str) -> None:
    assert f"(`{strategy}`)" in (ROOT / "docs/pricing.md").read_text()


def encoded(message: type[Message]) -> str:
    """EIP-712's encodeType: the message, then what is in it, by name."""
    first, *nested = (
        name + "(" + ",".join(f["type"] + " " + f["name"] for f in fields) + ")"
        for name, fields in message.types().items()
    )
    return first + "".join(sorted(nested))


def test_the_protocol_page_lists_every_signed_message() -> None:
    parts = {messages.Terms, messages.Sighting, funding.TokenPermissions}
    kinds = [k for k in Message.__subclasses__() if k not in parts]
    for name, module in (("types", messages), ("token-types", funding)):
        documented = section("docs/protocol.md", name).strip("`\n").splitlines()
        own = [kind for kind in kinds if kind.__module__ == module.__name__]
        assert sorted(documented) == sorted(map(encoded, own))


def test_the_contract_signs_the_same_types() -> None:
    source = (ROOT / "contracts/libraries/Messages.sol").read_text()
    in_contract = set(re.findall(r'keccak256\(\s*"([^"]+)"\s*\)', source))
    kinds = (
        messages.Terms,
        messages.Receipt,
        messages.Completion,
        messages.SettleMany,
        messages.SettleEach,
    )
    assert in_contract == set(map(encoded, kinds))


def test_the_contract_has_the_same_terms() -> None:
    source = (ROOT / "contracts/interfaces/IEscrow.sol").read_text()
    struct = re.search(r"struct Terms \{(.*?)\}", source, re.DOTALL)
    assert struct is not None
    fields = re.findall(r"^\s*(\w+) (\w+);", struct[1], re.MULTILINE)
    expected = [(f["type"], f["name"]) for f in messages.Terms.types()["Terms"]]
    assert fields == expected


def test_the_contract_has_the_same_verbs() -> None:
    interfaces = (ROOT / f"contracts/interfaces/{name}.sol" for name in ("IEscrow", "ITokenEscrow"))
    source = "".join(path.read_text() for path in interfaces)
    functions = re.findall(r"function (\w+)\([^)]*\)\s+external([^;]*);", source)
    verbs = {name for name, rest in functions if "view" not in rest}
    assert verbs - {"withdraw"} == {t.verb for t in TRANSITIONS}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_providers_page_explains_every_strategy(strategy: str) -> None:
    assert f"| `{strategy}`" in (ROOT / "docs/provider.md").read_text()


def test_the_buyers_page_lists_every_field_with_its_operators() -> None:
    rows = [row.split(" | ") for row in section("docs/buyer.md", "where").splitlines()[2:]]
    documented = {row[0].strip("| `"): row[1].replace("`", "").split() for row in rows}
    operators = {field.value: list(where.operators_of(field)) for field in where.Field}
    assert documented == operators | {where.Field.VERIFIED.value: ["none"]}
    for text in re.findall(r"--where '(.*?)'", (ROOT / "docs/buyer.md").read_text()):
        assert where.parse(text, 6)


def test_the_buyers_page_states_the_bounds_of_a_search() -> None:
    text = " ".join((ROOT / "docs/buyer.md").read_text().split())
    assert f"at most {where.MAX_CHARS:,} characters, {where.MAX_CONDITIONS} conditions" in text
    assert f"and {where.MAX_ITEMS} values in a list" in text
    assert f"several GPUs at once ({messages.MAX_COUNT} at most)" in text
    assert SPARES == 7
    assert "seven more than you ask for are compared" in text
    assert f"{sum(BATCHES):,} more are looked at" in text
    assert f"more than {MAX_PRICED} GPUs" in text
    assert text.count(f"in the last {WINDOW_SECONDS // 86_400} days") == 2


@pytest.mark.parametrize("status", BookingStatus)
def test_the_buyers_page_explains_every_state(status: BookingStatus) -> None:
    table = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/buyer.md").read_text(), re.MULTILINE)
    assert any(f"`{status}`" in row for row in table)
