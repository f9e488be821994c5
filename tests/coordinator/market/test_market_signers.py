"""`aitbc-coordinator init` and `doctor` where external signers hold the keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from founding import COIN, NATIVE, config_of, init, nonce_of
from operators import Operator
from stub_signer import StubSigner, new_key, serving_signer

from aitbc.errors import InvalidInput
from aitbc_coordinator import home, logs, serve
from aitbc_coordinator.settings import Settings
from http_stub import Answer
from local_market import Node

pytestmark = pytest.mark.usefixtures("own_log")

SECRET = "hunter2"


@pytest.fixture
def newcomer(tmp_path: Path) -> Operator:
    """Somebody without keys."""
    return Operator(tmp_path / "newcomer")


@pytest.fixture
def attester() -> Iterator[StubSigner]:
    with serving_signer("clef", new_key()) as stub:
        yield stub


@pytest.fixture
def relayer_signer(node: Node) -> Iterator[StubSigner]:
    key = new_key()
    node.give_coin(key.address, COIN)
    with serving_signer("web3signer", key) as stub:
        yield stub


def named(stub: StubSigner, role: str) -> dict[str, str]:
    dialect = "clef" if role == "attester" else "web3signer"
    url = f"{dialect}:{stub.url}/{SECRET}"
    return {f"{role}_signer": url, f"{role}_address": str(stub.accounts[0].address)}


def keys_of(operator: Operator) -> set[str]:
    return {path.stem for path in (operator.home / "keys").glob("*.json")}


def findings(operator: Operator, code: int, **settings: str) -> dict[str, dict[str, Any]]:
    done = operator.run_here("doctor", "--json", **settings)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert SECRET not in done.stdout + done.stderr
    return {found["part"]: found for found in json.loads(done.stdout)["findings"]}


def test_keys_elsewhere_are_not_made_and_their_signers_deploy(
    newcomer: Operator, node: Node, attester: StubSigner, relayer_signer: StubSigner
) -> None:
    settings = named(attester, "attester") | named(relayer_signer, "relayer")
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    found = init(newcomer, node, *NATIVE, *given)
    assert (found["attester"], found["relayers"]) == (
        settings["attester_address"],
        [settings["relayer_address"]],
    )
    assert keys_of(newcomer) == set()
    assert nonce_of(node, relayer_signer.accounts[0]) == 1
    assert settings["relayer_signer"] in config_of(newcomer)
    # Again, and without saying it again.
    assert init(newcomer, node) == found
    told = findings(newcomer, 0)
    assert told["keys"]["words"] == f"attester {settings['attester_address']}"
    assert settings["relayer_address"] in told["relayer"]["words"]

    attester.answer = Answer(500)
    told = findings(newcomer, 1)
    assert told["keys"]["state"] == "failed"
    assert told["keys"]["words"] == (
        "the attester's signer (clef) cannot be used: it answers with status 500"
    )
    attester.answer = None
    relayer_signer.accounts = [new_key()]
    assert "does not have the key of" in findings(newcomer, 1)["keys"]["words"]


def test_only_the_other_key_is_made(operator: Operator, attester: StubSigner, node: Node) -> None:
    (operator.home / "keys" / "attester.json").unlink()
    found = init(operator, node, **named(attester, "attester"))
    assert found["attester"] == attester.accounts[0].address
    assert keys_of(operator) == {"relayer"}


def test_what_the_relayers_signer_changes_is_neither_kept_nor_sent(
    newcomer: Operator, node: Node, relayer_signer: StubSigner
) -> None:
    newcomer.give_keys()
    relayer_signer.alter = lambda asked: asked | {"value": 1}
    settings = named(relayer_signer, "relayer")
    said = newcomer.refused_here("init", "--rpc", node.rpc_url, *NATIVE, **settings)
    assert "another value than was asked" in said
    assert "hint: its answer is not used" in said
    assert not (newcomer.home / "deployment.json").exists()
    key = relayer_signer.accounts[0]
    assert node.web3.eth.get_transaction_count(key.address, "pending") == 0
    relayer_signer.alter = lambda asked: asked
    init(newcomer, node, *NATIVE, **settings)
    assert nonce_of(node, key) == 1


def test_a_signer_without_the_key_makes_no_home(
    newcomer: Operator, node: Node, attester: StubSigner
) -> None:
    settings = named(attester, "attester") | {"attester_address": str(new_key().address)}
    said = newcomer.refused_here("init", "--rpc", node.rpc_url, **settings)
    assert f"does not have the key of {settings['attester_address']}" in said
    assert SECRET not in said
    assert keys_of(newcomer) == set()
    assert not (newcomer.home / "config.toml").exists()


@pytest.mark.parametrize("name", ["attester", "relayer"])
def test_a_signer_and_its_address_go_together(newcomer: Operator, name: str) -> None:
    given = {
        f"{name}_signer": f"clef:http://127.0.0.1:1/{SECRET}",
        f"{name}_address": str(new_key().address),
    }
    for missing in given:
        said = newcomer.refused_here(
            "init", code=2, **{key: value for key, value in given.items() if key != missing}
        )
        assert f"the setting '{missing}' is missing" in said
        assert SECRET not in said


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:9000/",
        "ledger:http://127.0.0.1:9000/",
        "clef:127.0.0.1:8550",
        "clef:ftp://127.0.0.1/",
        "clef:http://",
        "clef:http://[::1",
        "clef:http://127.0.0.1:99999999",
        "web3signer",
    ],
)
def test_what_names_no_signer(text: str) -> None:
    with pytest.raises(InvalidInput, match="write web3signer:URL or clef:URL") as caught:
        home.parse_setting(f"attester_signer={text}?{SECRET}")
    assert SECRET not in str(caught.value)


def test_the_log_holds_nothing_of_their_urls() -> None:
    key = str(new_key().address)
    settings = Settings(
        rpc_url="http://127.0.0.1:1",
        chain_id=1,
        contract="NativeEscrow",
        escrow=key,
        deploy_block=1,
        passphrase_file=Path("/nowhere"),
        attester_signer="clef:http://us-er:pass-word@127.0.0.1/pa-th?que-ry",
        attester_address=key,
    )
    hidden = ["us-er", "pass-word", "/pa-th", "que-ry"]
    redact = logs.Redact(serve.secrets_of(settings))
    shown = str(redact(structlog.get_logger(), "", {"event": " ".join(hidden)}))
    assert not [text for text in hidden if text in shown]
