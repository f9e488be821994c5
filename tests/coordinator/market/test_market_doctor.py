"""`aitbc-coordinator doctor` and `init`: what they say of a coordinator's parts."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from operators import Operator

from deploying import deploy
from local_market import Node

pytestmark = pytest.mark.usefixtures("own_log")

NOT_COUNTED = "coin_price is not set, so bookings are taken whose fee does not cover"


@pytest.fixture(scope="module")
def token(node: Node) -> str:
    return deploy(node.web3, "TestDollar")[0]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    made = Operator(tmp_path / "home")
    made.give_keys()
    return made


def configure(operator: Operator, node: Node, token: str, fee_bps: int = 100) -> str:
    """Deploy the operator a token escrow and configure it; what `init` says beside its data."""
    attester = json.loads(operator.run_here("init", "--json").stdout)["attester"]
    constructor = (token, attester, "0x" + "00" * 20, fee_bps, node.faucet, 86_400)
    address, block = deploy(node.web3, "TokenEscrow", *constructor)
    escrow = ("--escrow", address, "--contract", "TokenEscrow", "--deploy-block", str(block))
    done = operator.run_here("init", "--rpc", node.rpc_url, *escrow)
    assert done.returncode == 0, done.stderr
    return done.stderr


def findings(operator: Operator, code: int = 0, **settings: str) -> dict[str, dict[str, Any]]:
    done = operator.run_here("doctor", "--json", **settings)
    assert done.returncode == code, (done.stdout, done.stderr)
    return {found["part"]: found for found in json.loads(done.stdout)["findings"]}


def relayer_of(operator: Operator) -> str:
    return str(json.loads(operator.run_here("init", "--json").stdout)["relayers"][0])


def test_a_healthy_coordinator_that_counts(operator: Operator, node: Node, token: str) -> None:
    configure(operator, node, token)
    node.give_coin(relayer_of(operator), 10**18)
    found = findings(operator, coin_price="3000")
    states = {part: finding["state"] for part, finding in found.items()}
    assert states == {
        "keys": "ok",
        "database": "note",
        "escrow": "ok",
        "clock": "ok",
        "relayer": "ok",
        "settling": "ok",
    }
    assert "has 1 of" in found["relayer"]["words"]
    # It looked, and made nothing.
    assert not (operator.home / "coordinator.db").exists()
    assert operator.run_here("migrate").returncode == 0
    assert findings(operator)["database"]["state"] == "ok"


def test_without_the_coins_price_both_say_that_nothing_is_counted(
    operator: Operator, node: Node, token: str
) -> None:
    assert f"note: {NOT_COUNTED}" in configure(operator, node, token)
    node.give_coin(relayer_of(operator), 10**18)
    settling = findings(operator)["settling"]
    assert settling["state"] == "note"
    assert f"not counted: {NOT_COUNTED}" in settling["words"]


def test_without_a_fee_both_say_that_the_operator_pays(
    operator: Operator, node: Node, token: str
) -> None:
    assert "note: the escrow takes no fee" in configure(operator, node, token, fee_bps=0)
    found = findings(operator, 1, coin_price="3000")
    assert "the escrow takes no fee" in found["settling"]["words"]
    # It has no coin, which is what the exit status is about.
    assert found["relayer"]["state"] == "failed"
    assert "send it some" in found["relayer"]["hint"]


@pytest.mark.parametrize(
    ("settings", "part", "says"),
    [
        ({"rpc_url": "http://u:hunter2@127.0.0.1:1/"}, "escrow", "cannot be reached"),
        ({"escrow": str(Account.create().address)}, "escrow", "no contract"),
        ({"coin_price": "3000.0000001"}, "escrow", "has 7 decimals"),
        ({"passphrase_file": "/nowhere"}, "keys", "/nowhere"),
        ({"database_url": "mysql://h/n"}, "database", "not the URL"),
        ({"database_url": "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"}, "database", "cannot be"),
    ],
)
def test_what_is_wrong_is_named_beside_what_is_right(
    *,
    operator: Operator,
    node: Node,
    token: str,
    settings: dict[str, str],
    part: str,
    says: str,
) -> None:
    configure(operator, node, token)
    node.give_coin(relayer_of(operator), 10**18)
    found = findings(operator, 1, **settings)
    assert [name for name, one in found.items() if one["state"] == "failed"] == [part]
    assert says in found[part]["words"]
    assert found[part]["hint"]
    assert "hunter2" not in json.dumps(found)


def test_a_node_that_another_one_stands_in_for_is_a_note(
    operator: Operator, node: Node, token: str
) -> None:
    configure(operator, node, token)
    node.give_coin(relayer_of(operator), 10**18)
    found = findings(operator, rpc_url=f"http://127.0.0.1:1/hunter2,{node.rpc_url}")
    assert found["escrow"]["state"] == "ok"
    assert found["node"]["state"] == "note"
    assert "http://127.0.0.1:1 fails: it cannot be reached" in found["node"]["words"]
    assert "hunter2" not in json.dumps(found)


def test_people_get_a_line_for_each_part(operator: Operator, node: Node, token: str) -> None:
    configure(operator, node, token)
    done = operator.run("doctor")
    assert done.returncode == 1
    assert "settling  note    not counted" in done.stdout
    assert "relayer   failed  0x" in done.stdout
    assert "Traceback" not in done.stderr
