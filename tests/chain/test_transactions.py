"""What a wallet signs and what a person is told, whatever the node between says."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from eth_account import Account
from hexbytes import HexBytes

from aitbc.chain.escrow import Escrow, check_market, open_escrow
from aitbc.chain.transactions import MAXIMUM_FEE, send
from aitbc.errors import ChainError, UntrustedMarket
from aitbc.protocol.artifacts import load_artifact
from escrow_lab import EscrowLab
from http_stub import Answer, serving
from local_market import Node

JSON_TYPE = {"Content-Type": "application/json"}
KEY_IN_URL = "/v3/a-secret-key"
SEND = "eth_sendRawTransaction"
Reply = dict[str, Any] | None
Lie = Callable[[Callable[[], Reply]], Reply]
"""Given what asks the real node, the answer to pass on; None hangs up."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EscrowLab]:
    node = Node(tmp_path_factory.mktemp("node"))
    yield EscrowLab(node)
    node.stop()


@contextmanager
def lying_node(url: str, lies: dict[str, Lie]) -> Iterator[str]:
    """A node that forwards to the real one, but for the methods that it lies about."""

    def respond(_method: str, _path: str, body: bytes) -> Answer | None:
        def ask() -> Reply:
            answer = httpx.post(url, content=body, headers=JSON_TYPE, timeout=30)
            found: dict[str, Any] = answer.json()
            return found

        method = json.loads(body)["method"]
        reply = lies[method](ask) if method in lies else ask()
        if reply is None:
            return None
        return Answer(body=json.dumps(reply).encode(), headers=JSON_TYPE)

    with serving(respond) as liar:
        yield liar + KEY_IN_URL


def always(result: object) -> Lie:
    return lambda _ask: {"jsonrpc": "2.0", "id": 0, "result": result}


def refusing(message: str) -> Lie:
    error = {"code": -32000, "message": message}
    return lambda _ask: {"jsonrpc": "2.0", "id": 0, "error": error}


def through(lab: EscrowLab, url: str) -> Escrow:
    return open_escrow(url, lab.escrow.domain, lab.escrow.contract_name)


def fund(lab: EscrowLab, escrow: Escrow, sent: list[str]) -> str:
    terms = lab.terms(1_000)
    call = escrow.functions.fund(terms.abi_values())
    return send(escrow, lab.buyer, call, value=terms.amount, on_sent=sent.append).tx_hash


def nonce(lab: EscrowLab) -> int:
    return int(lab.web3.eth.get_transaction_count(lab.buyer.address))


def test_a_transaction_is_for_the_pinned_chain_whatever_the_node_says(lab: EscrowLab) -> None:
    lies: dict[str, Lie] = {}
    with lying_node(lab.node.rpc_url, lies) as url:
        escrow = through(lab, url)
        lies["eth_chainId"] = always("0x1")
        tx_hash = fund(lab, escrow, [])
    assert lab.web3.eth.get_transaction(HexBytes(tx_hash))["chainId"] == lab.node.chain_id


def test_no_node_makes_a_wallet_pay_any_price_for_gas(lab: EscrowLab) -> None:
    before = nonce(lab)
    with (
        lying_node(lab.node.rpc_url, {"eth_maxPriorityFeePerGas": always(hex(MAXIMUM_FEE))}) as url,
        pytest.raises(ChainError, match="gwei"),
    ):
        fund(lab, through(lab, url), [])
    assert nonce(lab) == before


def test_a_node_that_hangs_up_may_have_the_transaction(lab: EscrowLab) -> None:
    def take_and_hang_up(ask: Callable[[], Reply]) -> Reply:
        ask()
        return None

    sent: list[str] = []
    before = nonce(lab)
    with (
        lying_node(lab.node.rpc_url, {SEND: take_and_hang_up}) as url,
        pytest.raises(ChainError, match="was sent, and is not confirmed yet") as failure,
    ):
        fund(lab, through(lab, url), sent)
    assert nonce(lab) == before + 1
    assert sent[0] in str(failure.value)


def test_a_refusal_of_what_was_sent_names_it(lab: EscrowLab) -> None:
    with (
        lying_node(lab.node.rpc_url, {SEND: refusing("request timed out")}) as url,
        pytest.raises(ChainError, match=r"refuses transaction 0x[0-9a-f]{64}"),
    ):
        fund(lab, through(lab, url), [])


def test_a_node_that_has_it_already_is_no_failure(lab: EscrowLab) -> None:
    def take_twice(ask: Callable[[], Reply]) -> Reply:
        ask()
        return refusing("already known")(ask)

    with lying_node(lab.node.rpc_url, {SEND: take_twice}) as url:
        tx_hash = fund(lab, through(lab, url), [])
    assert lab.web3.eth.get_transaction_receipt(HexBytes(tx_hash))["status"] == 1


@pytest.mark.parametrize("method", ["eth_chainId", "eth_getCode", "eth_estimateGas", SEND])
def test_no_error_shows_the_nodes_url(lab: EscrowLab, method: str) -> None:
    def hang_up(_ask: Callable[[], Reply]) -> Reply:
        return None

    with (
        lying_node(lab.node.rpc_url, {method: hang_up}) as url,
        pytest.raises(ChainError) as failure,
    ):
        fund(lab, through(lab, url), [])
    said = f"{failure.value} {failure.value.hint}"
    assert KEY_IN_URL not in said
    assert "secret" not in said


def test_a_poor_wallet_is_told_so(lab: EscrowLab) -> None:
    terms = lab.terms(1_000)
    poor = Account.create()
    with pytest.raises(ChainError, match=r"has not enough coin|the contract refuses"):
        send(lab.escrow, poor, lab.escrow.functions.fund(terms.abi_values()), value=1_000)


@pytest.mark.parametrize(
    "change", [{"decimals": 21}, {"symbol": "DAI"}, {"fee_bps": 1}, {"claim_window": 1}]
)
def test_a_market_must_claim_what_its_escrow_is(lab: EscrowLab, change: dict[str, Any]) -> None:
    check_market(lab.escrow, lab.market)
    with pytest.raises(UntrustedMarket, match="the market claims"):
        check_market(lab.escrow, lab.market.model_copy(update=change))


def test_other_init_code_cannot_pass_for_the_escrow(lab: EscrowLab) -> None:
    """Code is one thing, the immutables in it another: each is set to what no constructor sets."""
    address = lab.escrow.domain.escrow
    artifact = load_artifact("NativeEscrow")
    code = bytes(lab.web3.eth.get_code(lab.web3.to_checksum_address(address)))
    bad = {"feeBps": 1_001, "claimWindow": 90 * 86_400 + 1, "attester": 0, "feeRecipient": 0}
    for name, places in artifact.immutables.items():
        if name == "arbiter":
            continue
        forged = bytearray(code)
        for start, length in places:
            forged[start : start + length] = bad.get(name, 7).to_bytes(length, "big")
        lie = always("0x" + forged.hex())
        with (
            lying_node(lab.node.rpc_url, {"eth_getCode": lie}) as url,
            pytest.raises(UntrustedMarket, match="is not the escrow"),
        ):
            through(lab, url)
