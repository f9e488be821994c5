"""`aitbc-coordinator init` deploys one escrow, whatever happens meanwhile."""

from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from founding import (
    COIN,
    NATIVE,
    WISH,
    config_of,
    init,
    keep,
    kept,
    mine,
    nonce_of,
    sign,
)
from hexbytes import HexBytes
from operators import PROGRAM, Operator
from web3.types import RPCEndpoint

from aitbc_coordinator import deployment
from aitbc_coordinator.deployment import FILE, Begun
from local_market import Node, Process

pytestmark = pytest.mark.usefixtures("own_log")


def refused(operator: Operator, node: Node, *args: str, code: int = 1) -> str:
    return operator.refused_here("init", "--rpc", node.rpc_url, *NATIVE, *args, code=code)


def test_what_was_signed_and_never_sent_is_sent(
    operator: Operator, node: Node, relayer: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deployment, "_bring_into_chain", killed)
        operator.run_here("init", "--rpc", node.rpc_url, *NATIVE)
    begun = kept(operator)
    assert nonce_of(node, relayer) == 0
    assert not (operator.home / "config.toml").exists()
    init(operator, node, *NATIVE)
    assert kept(operator) == begun
    assert nonce_of(node, relayer) == 1
    assert begun.escrow in config_of(operator)


def test_killed_while_it_waits_it_goes_on(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    command = [PROGRAM, "init", "--rpc", node.rpc_url, *NATIVE]
    log = operator.home.parent / "log"
    patient = operator.env(confirmations="1000")
    process = Process(command, log, patient)
    try:
        while nonce_of(node, relayer) == 0:
            assert process.popen.poll() is None, process.tail()
        process.popen.kill()
    finally:
        process.stop()
    begun = kept(operator)
    assert not (operator.home / "config.toml").exists()
    init(operator, node, *NATIVE)
    assert kept(operator) == begun
    assert nonce_of(node, relayer) == 1
    assert begun.escrow in config_of(operator)


def test_what_waits_at_the_node_is_waited_for(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    begun = sign(operator, node, relayer)
    keep(operator, begun)
    node.web3.eth.send_raw_transaction(HexBytes(begun.raw))
    init(operator, node, *NATIVE)
    assert nonce_of(node, relayer) == 1
    assert begun.escrow in config_of(operator)


def test_of_two_runs_at_once_the_first_ones_transaction_counts(
    operator: Operator, node: Node, relayer: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Begun] = []
    signing = deployment._sign

    def overtaken(*args: Any) -> Begun:
        *most, ceiling = args
        others.append(signing(*most, ceiling // 2))
        keep(operator, others[0])
        mine_price = signing(*args)
        return mine_price.model_copy(update={"tx_hash": "0x" + "11" * 32})

    monkeypatch.setattr(deployment, "_sign", overtaken)
    init(operator, node, *NATIVE)
    assert [kept(operator)] == others
    assert nonce_of(node, relayer) == 1


def test_coin_that_is_gone_when_it_goes_on_is_asked_for(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    keep(operator, sign(operator, node, relayer))
    _set_balance(node, relayer, 0)
    said = refused(operator, node)
    assert f"the relayer {relayer.address} has 0 of the coin" in said
    assert "deploying costs up to 0.0" in said
    _set_balance(node, relayer, COIN)
    init(operator, node, *NATIVE)
    assert nonce_of(node, relayer) == 1


def test_a_nonce_that_another_transaction_took_is_said_once_that_is_confirmed(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    begun = sign(operator, node, relayer)
    path = keep(operator, begun)
    block = mine(node, relayer, to=relayer.address, nonce=begun.nonce)
    said = refused(operator, node, "--set", "confirmations=4")
    assert node.web3.eth.block_number >= block + 4
    assert f"took nonce {begun.nonce}" in said
    assert f"nothing was deployed: remove {path} and run the same command again" in said
    path.unlink()
    init(operator, node, *NATIVE)
    assert nonce_of(node, relayer) == 2


def test_a_receipt_that_the_node_forgot_does_not_deploy_again(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    init(operator, node, *NATIVE)
    begun = kept(operator)
    keep(operator, begun.model_copy(update={"tx_hash": "0x" + "11" * 32}))
    said = refused(operator, node)
    assert f"there is a contract at {begun.escrow}" in said
    assert "name another node with --rpc" in said
    assert nonce_of(node, relayer) == 1


def test_what_is_mined_between_two_questions_is_no_forgotten_receipt(
    operator: Operator, node: Node, relayer: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(operator, node, *NATIVE)
    told = iter([None])
    ask = deployment._receipt
    monkeypatch.setattr(deployment, "_receipt", lambda *asked: next(told, ask(*asked)))
    init(operator, node, *NATIVE)
    assert next(told, "asked") == "asked"
    assert nonce_of(node, relayer) == 1


def test_a_deployment_that_failed_can_be_begun_anew(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    begun = sign(operator, node, relayer)
    transaction = {"data": "0xfe", "gas": 100_000, "nonce": begun.nonce, "value": 0}
    fees = {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "chainId": node.chain_id}
    failing = relayer.sign_transaction({**transaction, **fees})
    update = {
        "raw": failing.raw_transaction.to_0x_hex(),
        "tx_hash": HexBytes(failing.hash).to_0x_hex(),
    }
    path = keep(operator, begun.model_copy(update=update))
    said = refused(operator, node)
    assert f"transaction {update['tx_hash']} was mined, and made no escrow" in said
    assert f"remove {path} and run the same command again" in said
    path.unlink()
    init(operator, node, *NATIVE)
    assert nonce_of(node, relayer) == 2


def test_an_escrow_that_enforces_something_else_is_not_configured(
    operator: Operator, node: Node, relayer: LocalAccount
) -> None:
    begun = sign(operator, node, relayer)
    other = WISH.model_copy(update={"fee_bps": 99})
    keep(operator, begun.model_copy(update={"wish": other}))
    said = refused(operator, node, "--fee-bps", "99")
    assert "the escrow's fee_bps is 100, asked for was 99" in said
    assert "escrow =" not in config_of(operator)


def test_a_damaged_record_of_the_deployment_is_named(operator: Operator, node: Node) -> None:
    path = operator.home / FILE
    path.write_text("{}")
    assert f"{path} is no deployment of this program" in refused(operator, node, code=2)


def _set_balance(node: Node, account: LocalAccount, coin: int) -> None:
    request = RPCEndpoint("anvil_setBalance")
    node.web3.provider.make_request(request, [account.address, hex(coin)])
