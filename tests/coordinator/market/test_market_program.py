"""The installed `aitbc-coordinator`, as a process, against a real node and a real escrow."""

import json
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from operators import PREFIX, PROGRAM, Operator
from web3 import Web3

from aitbc.protocol import wire
from aitbc_coordinator.database import Database
from aitbc_coordinator.leadership import Leadership
from aitbc_coordinator.settings import home_path
from deploying import deploy
from local_market import BIN, Node, Process
from wallets import give_operator_keys

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "home")


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """An operator with keys and no escrow, which no test changes."""
    made = Operator(tmp_path_factory.mktemp("initialised") / "home")
    made.give_keys()
    made.init()
    return made


@pytest.fixture(scope="module")
def configured(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """An operator whose escrow is deployed, before anything was served."""
    made = Operator(tmp_path_factory.mktemp("operator") / "home")
    made.give_keys()
    keys = made.init()
    record = made.home.parent / "deployments.json"
    record.write_text(
        json.dumps(
            [
                deployed(node, keys["attester"]),
                {"contract": "TestDollar", "address": "0x" + "01" * 20},
                deployed(node, str(Account.create().address)),
            ]
        )
    )
    made.init("--rpc", node.rpc_url, "--deployment", str(record))
    return made


def deployed(node: Node, attester: str) -> dict[str, Any]:
    """Deploys the shipped escrow; its record, as the deploy script writes it."""
    constructor = (attester, "0x" + "00" * 20, 100, node.faucet, 86_400)
    address, block = deploy(node.web3, "NativeEscrow", *constructor)
    return {
        "contract": "NativeEscrow",
        "address": address,
        "chain_id": node.chain_id,
        "deploy_block": block,
        "constructor": {"attester": attester, "feeBps": 100},
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_init_makes_keys_for_their_owner_alone_and_says_what_comes_next(
    operator: Operator,
) -> None:
    done = operator.run("init")
    assert done.returncode == 0
    assert "ape run deploy" in done.stderr
    assert mode(operator.home) == 0o700
    assert mode(operator.home / "passphrase") == 0o600
    assert mode(operator.home / "keys" / "attester.json") == 0o600
    passphrase = (operator.home / "passphrase").read_text().strip()
    assert passphrase not in done.stdout + done.stderr
    keys = operator.init()
    assert Web3.is_checksum_address(keys["attester"])
    assert keys["attester"] not in keys["relayers"]
    assert keys["attester"] in done.stdout
    assert keys["config"] is None


def test_init_goes_on_where_it_stopped(operator: Operator) -> None:
    operator.give_keys()
    keys = operator.init("--set", "quote_seconds=7")
    (operator.home / "keys" / "relayer.json").unlink()
    again = operator.init("--set", "market_name=mine")
    assert again["attester"] == keys["attester"]
    assert again["relayers"] != keys["relayers"]
    config = (operator.home / "config.toml").read_text()
    assert "quote_seconds = 7" in config
    assert 'market_name = "mine"' in config


def test_a_passphrase_file_of_ones_own(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "own"
    missing = operator.refused_here("init", passphrase_file=str(file))
    assert str(file) in missing
    file.write_text("\n")
    assert "empty" in operator.refused_here("init", passphrase_file=str(file))
    file.write_text("correct horse\n")
    give_operator_keys(operator.home, file)
    assert operator.run("init", passphrase_file=str(file)).returncode == 0
    assert not (operator.home / "passphrase").exists()
    assert str(file) in (operator.home / "config.toml").read_text()


def test_init_notices_a_passphrase_that_does_not_open_the_keys(
    operator: Operator, tmp_path: Path
) -> None:
    operator.give_keys()
    operator.init()
    (operator.home / "keys" / "attester.json").unlink()
    other = tmp_path / "other"
    other.write_text("another passphrase\n")
    before = (operator.home / "config.toml").read_bytes()
    said = operator.refused_here("init", passphrase_file=str(other))
    assert "wrong passphrase" in said
    assert str(other) in said
    assert (operator.home / "config.toml").read_bytes() == before
    # Where both it and the configuration are lost, a new one would open nothing either.
    for name in ("config.toml", "passphrase"):
        (operator.home / name).unlink()
    assert "cannot read the passphrase" in operator.refused_here("init")
    assert [path.name for path in operator.home.rglob("*.*")] == ["relayer.json"]


def test_an_empty_home_in_the_environment_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(PREFIX + "HOME", "")
    assert home_path() == tmp_path / ".aitbc-coordinator"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--set", "nonsense=1"], "nonsense=1"),
        (["--set", "quote_seconds"], "KEY=VALUE"),
        (["--set", "quote_seconds=1"], "quote_seconds"),
        (["--set", "chain_id=one"], "chain_id"),
        (["--set", "home=/tmp"], "home"),
        (["--set", "coin_price=dear"], "write a decimal"),
        (["--set", "trusted_proxies=everybody"], "'trusted_proxies' cannot be used"),
        (["--set", "coin_price=3000", "--set", "contract=NativeEscrow"], "leave it out"),
        (["--escrow", "0x12", "--contract", "NativeEscrow", "--deploy-block", "1"], "address"),
        (["--escrow", "0x" + "11" * 20], "--contract"),
        (
            ["--escrow", "0x" + "11" * 20, "--contract", "NativeEscrow", "--deploy-block", "1"],
            "--rpc",
        ),
        (["--deployment", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_what_init_cannot_use_changes_no_configuration(
    initialised: Operator, args: list[str], message: str
) -> None:
    before = (initialised.home / "config.toml").read_bytes()
    assert message in initialised.refused_here("init", *args, code=2)
    assert (initialised.home / "config.toml").read_bytes() == before


def test_init_takes_the_newest_escrow_of_its_attester(
    configured: Operator, node: Node, initialised: Operator
) -> None:
    record = configured.home.parent / "deployments.json"
    own = json.loads(record.read_text())[0]
    assert own["address"] in (configured.home / "config.toml").read_text()

    def refused(*args: str, code: int = 1) -> str:
        return initialised.refused_here("init", "--rpc", node.rpc_url, *args, code=code)

    native = ["--contract", "NativeEscrow", "--deploy-block", "1"]
    before = (initialised.home / "config.toml").read_bytes()
    assert "ape run deploy" in refused("--deployment", str(record), code=2)
    assert "attester" in refused("--escrow", own["address"], *native)
    assert "no contract" in refused("--escrow", "0x" + "11" * 20, *native)
    assert (initialised.home / "config.toml").read_bytes() == before


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[" * 100_000])
def test_what_is_no_record_of_deployments_is_named(
    initialised: Operator, tmp_path: Path, content: str
) -> None:
    record = tmp_path / "deployments.json"
    record.write_text(content)
    given = ("--rpc", "http://127.0.0.1:1", "--deployment", str(record))
    assert f"{record} is not a record" in initialised.refused_here("init", *given, code=2)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(
    configured: Operator, node: Node, tmp_path: Path, stop: signal.Signals
) -> None:
    log = tmp_path / "log"
    process = Process([PROGRAM, "serve", "--port", "0"], log, configured.env())
    try:
        url = process.wait_for(r"^listening on (http://127\.0\.0\.1:\d+)$")[1]
        market = wire.Market.model_validate(httpx.get(f"{url}/v1/market").json())
        ready = httpx.get(f"{url}/readyz").json()
        process.popen.send_signal(stop)
        assert process.wait() == 0
    finally:
        process.stop()
    assert market.chain_id == node.chain_id
    assert (market.symbol, market.decimals, market.token) == ("ETH", 18, None)
    assert market.fee_bps == 100
    assert ready["checks"]["database"] == "ok"
    assert {"node", "follower", "settler"} < set(ready["checks"])
    assert process.lines == [f"listening on {url}"]
    written = [json.loads(line) for line in log.read_text().splitlines()]
    routes = [entry["route"] for entry in written if entry["event"] == "request"]
    assert routes == ["/v1/market", "/readyz"]
    passphrase = (configured.home / "passphrase").read_text().strip()
    assert passphrase not in log.read_text()


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"port": "99999"}, 2, "AITBC_COORDINATOR_PORT"),
        ({"escrow": "0x12"}, 2, "AITBC_COORDINATOR_ESCROW"),
        ({"database_url": "nonsense"}, 2, "AITBC_COORDINATOR_DATABASE_URL"),
        ({"database_url": "mysql://host/name"}, 2, "AITBC_COORDINATOR_DATABASE_URL"),
        ({"database_url": "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"}, 1, "DATABASE_URL"),
        ({"rpc_url": "http://u:hunter2@127.0.0.1:1/hunter2"}, 1, "cannot be reached"),
        ({"rpc_url": "nonsense"}, 1, "cannot be reached"),
        ({"chain_id": "1"}, 1, "on chain"),
        ({"escrow": "0x" + "11" * 20}, 1, "no contract"),
        ({"contract": "TokenEscrow"}, 1, "not the escrow"),
        ({"coin_price": "3000"}, 2, "the chain's own coin"),
        ({"passphrase_file": "/nowhere"}, 1, "/nowhere"),
        ({"passphrase_file": "/etc/hostname"}, 1, "wrong passphrase"),
    ],
)
def test_what_keeps_it_from_serving(
    configured: Operator, settings: dict[str, str], code: int, message: str
) -> None:
    said = configured.refused_here("serve", code=code, **{"port": "0", **settings})
    assert message in said
    assert "hunter2" not in said


def test_another_attesters_escrow_is_not_served(configured: Operator, node: Node) -> None:
    foreign = deployed(node, str(Account.create().address))["address"]
    assert "attester" in configured.refused("serve", "--port", "0", escrow=foreign)


def test_a_port_in_use_is_named(configured: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in configured.refused("serve", "--port", port)


def test_a_configuration_file_that_makes_no_sense(operator: Operator) -> None:
    assert "aitbc-coordinator init" in operator.refused_here("serve", code=2)
    operator.home.mkdir()
    for content, message in (
        ("chain_id = [", "config.toml"),
        ("surprise = 1", "surprise"),
        ('home = "/tmp"', "AITBC_COORDINATOR_HOME"),
    ):
        (operator.home / "config.toml").write_text(content)
        assert message in operator.refused_here("serve", code=2)


def test_migrate_makes_the_database(configured: Operator, tmp_path: Path) -> None:
    url = {"database_url": f"sqlite:///{tmp_path / 'made.db'}"}
    for _ in range(2):
        assert configured.run("migrate", **url).returncode == 0
    assert (tmp_path / "made.db").stat().st_size > 0


def test_rebuild_reads_the_chain_anew_while_nobody_else_follows_it(
    configured: Operator, tmp_path: Path
) -> None:
    path = tmp_path / "rebuilt.db"
    url = {"database_url": f"sqlite:///{path}"}
    done = configured.run("rebuild", **url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("followed 0 events of 0 bookings, ")
    assert "every booking is as it was" in done.stdout
    assert json.loads(configured.run("rebuild", "--json", **url).stdout)["changed"] == 0
    database = Database(url["database_url"])
    leader = Leadership(database)
    try:
        assert leader.hold()
        said = configured.refused_here("rebuild", **url)
    finally:
        leader.release()
        database.close()
    assert "a coordinator works on this database" in said
    assert "stop every coordinator" in said


def test_help_is_quick_and_needs_no_configuration(operator: Operator) -> None:
    for args in ([], ["--help"], ["init", "--help"], ["migrate", "--help"], ["serve", "--help"]):
        assert "Usage: aitbc-coordinator" in operator.run(*args).stdout
    assert not operator.home.exists()
    listed = subprocess.run(
        [str(BIN / "python"), "-X", "importtime", PROGRAM, "--help"],
        env=operator.env(),
        capture_output=True,
        text=True,
        check=True,
    )
    for heavy in ("web3", "sqlalchemy", "fastapi", "pydantic"):
        assert f" {heavy}\n" not in listed.stderr
