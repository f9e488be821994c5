"""Several relayers: their keys are made, found, looked at and named."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from founding import COIN, NATIVE, init, nonce_of
from operators import Operator
from stub_signer import new_key, serving_signer
from web3.types import RPCEndpoint

from local_market import Node
from wallets import give_wallet

pytestmark = pytest.mark.usefixtures("own_log")

ADDRESS = "0x" + "12" * 20


def key_names(operator: Operator) -> set[str]:
    return {path.stem for path in (operator.home / "keys").glob("*.json")}


def made(operator: Operator, *args: str) -> list[str]:
    """The relayers after another `init`."""
    done = operator.run_here("init", "--json", *args)
    assert done.returncode == 0, done.stderr
    relayers: list[str] = json.loads(done.stdout)["relayers"]
    return relayers


def findings(operator: Operator, code: int, **settings: str) -> list[dict[str, Any]]:
    done = operator.run_here("doctor", "--json", **settings)
    assert done.returncode == code, (done.stdout, done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


@pytest.fixture
def newcomer(tmp_path: Path) -> Operator:
    operator = Operator(tmp_path / "newcomer")
    operator.give_keys()
    return operator


def set_coin(node: Node, address: str, wei: int) -> None:
    answer = node.web3.provider.make_request(RPCEndpoint("anvil_setBalance"), [address, hex(wei)])
    assert "error" not in answer


def give(operator: Operator, name: str) -> str:
    return give_wallet(operator.home / "keys", operator.home / "passphrase", name=name)


def test_init_makes_as_many_as_are_missing_and_keeps_those_that_there_are(
    newcomer: Operator,
) -> None:
    [first] = made(newcomer)
    three = made(newcomer, "--relayers", "3")
    assert three[0] == first
    assert len(set(three)) == 3
    assert key_names(newcomer) == {"attester", "relayer", "relayer-2", "relayer-3"}
    assert made(newcomer, "--relayers", "3") == three
    assert made(newcomer, "--relayers", "2") == three
    assert made(newcomer) == three

    (newcomer.home / "keys" / "relayer-2.json").unlink()
    assert made(newcomer) == [three[0], three[2]]
    again = made(newcomer, "--relayers", "3")
    assert (again[0], again[2]) == (three[0], three[2])
    assert again[1] not in three

    (newcomer.home / "keys" / "relayer.json").unlink()
    assert made(newcomer) == again[1:]


def test_keys_are_counted_by_their_numbers(newcomer: Operator) -> None:
    tenth = give(newcomer, "relayer-10")
    second = give(newcomer, "relayer-2")
    for other in ("relayer-1", "relayer-02", "relayer-old", "relayers"):
        give(newcomer, other)
    assert made(newcomer)[1:] == [second, tenth]


def test_people_are_told_which_to_fund(newcomer: Operator) -> None:
    second = give(newcomer, "relayer-2")
    done = newcomer.run("init")
    assert f"relayer   {second}\n" in done.stdout
    assert done.stdout.count("relayer  ") == 2


def test_one_key_under_two_names_is_refused(newcomer: Operator) -> None:
    keys = newcomer.home / "keys"
    shutil.copy(keys / "relayer.json", keys / "relayer-2.json")
    said = newcomer.refused_here("init")
    assert "relayer and relayer-2" in said
    assert "are the same key" in said
    assert "hint: remove one" in said


def test_the_doctor_looks_at_each(operator: Operator, node: Node) -> None:
    second = give(operator, "relayer-2")
    first, _ = init(operator, node, *NATIVE)["relayers"]
    found = [one for one in findings(operator, 0) if one["part"] == "relayer"]
    assert [one["state"] for one in found] == ["ok", "note"]
    assert first in found[0]["words"]
    assert found[1]["words"] == f"{second} has no coin for gas"
    assert "send it some" in found[1]["hint"]

    set_coin(node, second, COIN)
    set_coin(node, first, 0)
    found = [one for one in findings(operator, 0) if one["part"] == "relayer"]
    assert [one["state"] for one in found] == ["note", "ok"]
    set_coin(node, second, 0)
    found = [one for one in findings(operator, 1) if one["part"] == "relayer"]
    assert [one["state"] for one in found] == ["failed", "failed"]

    path = operator.home / "other"
    path.write_text("another\n")
    (operator.home / "keys" / "relayer-2.json").unlink()
    give_wallet(operator.home / "keys", path, name="relayer-2")
    keys = next(one for one in findings(operator, 1) if one["part"] == "keys")
    assert "wrong passphrase for wallet 'relayer-2'" in keys["words"]


def test_a_signer_has_several(newcomer: Operator, node: Node) -> None:
    first, second = new_key(), new_key()
    node.give_coin(str(first.address), COIN)
    with serving_signer("web3signer", first, second) as stub:
        settings = {
            "relayer_signer": f"web3signer:{stub.url}",
            "relayer_address": f"{first.address}, {str(second.address).lower()},{first.address}",
        }
        found = init(newcomer, node, *NATIVE, **settings)
        assert found["relayers"] == [first.address, second.address]
        assert nonce_of(node, first) == 1
        told = [one for one in findings(newcomer, 0, **settings) if one["part"] == "relayer"]
        assert [one["state"] for one in told] == ["ok", "note"]
        said = newcomer.refused_here("init", "--relayers", "2", code=2, **settings)
        assert "name all of theirs in relayer_address" in said
        stub.accounts = [first]
        said = newcomer.refused_here("init", **settings)
        assert f"does not have the key of {second.address}" in said


@pytest.mark.parametrize(
    ("address", "message"),
    [("0x12", "0x12"), (f"{ADDRESS},nobody", "nobody"), (",", "relayer_address")],
)
def test_what_names_no_relayer(newcomer: Operator, address: str, message: str) -> None:
    settings = {"relayer_signer": "clef:http://127.0.0.1:1", "relayer_address": address}
    assert message in newcomer.refused_here("init", code=2, **settings)
