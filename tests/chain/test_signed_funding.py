"""What a token can do, and funding with it: a real token, the real Permit2, and odd ones."""

import time
from collections.abc import Iterator, Mapping

import pytest
from eth_abi import abi as eth_abi

import permit2
from aitbc.buying import payment
from aitbc.buying.payment import await_funding, is_past, sign_for_relay
from aitbc.chain.funding import permit_call, relayable_call, request_funding
from aitbc.chain.token import payable_by, permit_nonce, token_domain
from aitbc.chain.transactions import send
from aitbc.errors import ChainError, UntrustedMarket
from aitbc.protocol.funding import PERMIT2, PayBy, TokenDomain, permit2_domain
from aitbc.protocol.messages import domain_separator
from aitbc.protocol.states import EscrowState
from canned_contract import canned_contract
from escrow_lab import EscrowLab
from local_market import Node

EVERY = frozenset(PayBy)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("node"))
    permit2.deploy(made.web3, made.faucet)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lab(node: Node) -> EscrowLab:
    """A token escrow whose buyer has given an allowance to Permit2, and none to the escrow."""
    lab = EscrowLab(node, native=False)
    functions = lab.token.functions
    lab.send(lab.buyer, functions.approve(lab.escrow.contract.address, 0))
    lab.send(lab.buyer, functions.approve(PERMIT2, 10**12))
    return lab


@pytest.fixture
def odd(lab: EscrowLab) -> Iterator[EscrowLab]:
    """The lab, whose token gets back the code that it had."""
    code = lab.web3.eth.get_code(lab.token.address)
    yield lab
    lab.rpc("anvil_setCode", lab.token.address, code.to_0x_hex())


def replace_token(lab: EscrowLab, answers: Mapping[str, bytes], **options: bool) -> None:
    lab.rpc("anvil_setCode", lab.token.address, canned_contract(answers, **options))


def described(name: str, version: str, chain_id: int, contract: str) -> bytes:
    """An answer of ERC-5267."""
    kinds = ["bytes1", "string", "string", "uint256", "address", "bytes32", "uint256[]"]
    values = [b"\x0f", name, version, chain_id, contract, b"\0" * 32, []]
    return eth_abi.encode(kinds, values)


def text(value: str) -> bytes:
    return eth_abi.encode(["string"], [value])


def test_the_test_dollar_is_payable_in_every_way(lab: EscrowLab) -> None:
    assert payable_by(lab.escrow) == EVERY


def test_the_chains_coin_is_payable_in_none(node: Node) -> None:
    assert payable_by(EscrowLab(node).escrow) == frozenset()


def test_without_permit2_on_the_chain_it_is_not_offered(lab: EscrowLab) -> None:
    code = lab.web3.eth.get_code(permit2.ADDRESS)
    lab.rpc("anvil_setCode", PERMIT2, "0x")
    try:
        assert payable_by(lab.escrow) == EVERY - {PayBy.PERMIT2}
    finally:
        lab.rpc("anvil_setCode", PERMIT2, code.to_0x_hex())


def test_domains_are_those_that_the_contracts_check(lab: EscrowLab) -> None:
    separator = lab.token.functions.DOMAIN_SEPARATOR().call()
    assert domain_separator(token_domain(lab.escrow)) == separator
    call = {"to": permit2.ADDRESS, "data": "0x3644e515"}  # DOMAIN_SEPARATOR()
    answer = lab.web3.eth.call(call)
    assert domain_separator(permit2_domain(lab.node.chain_id)) == answer


@pytest.mark.parametrize("method", [PayBy.AUTHORIZATION, PayBy.PERMIT2])
def test_anyone_may_send_what_the_buyer_signed(lab: EscrowLab, method: PayBy) -> None:
    terms = lab.terms(1_000)
    request = request_funding(lab.escrow, lab.buyer, terms, method)
    assert request == request_funding(lab.escrow, lab.buyer, terms, method)
    lab.send(lab.node.faucet, relayable_call(lab.escrow, request))
    assert lab.escrow.slot(lab.id(terms)).state is EscrowState.OPEN
    with pytest.raises(ChainError, match="AlreadyFunded"):
        send(lab.escrow, lab.provider, relayable_call(lab.escrow, request))


@pytest.mark.parametrize("method", [PayBy.AUTHORIZATION, PayBy.PERMIT2])
def test_what_was_signed_is_good_for_its_terms_only(lab: EscrowLab, method: PayBy) -> None:
    terms = lab.terms(1_000)
    request = request_funding(lab.escrow, lab.buyer, terms, method)
    for change in ({"provider": lab.buyer.address}, {"amount": 999}, {"ends_at": 2**32 - 1}):
        altered = request.model_copy(update={"terms": terms.model_copy(update=change)})
        with pytest.raises(ChainError, match="the contract refuses"):
            send(lab.escrow, lab.provider, relayable_call(lab.escrow, altered))


def test_a_permit_pays_in_one_transaction_and_leaves_no_allowance(lab: EscrowLab) -> None:
    for _ in range(2):  # the second needs the next nonce
        before = permit_nonce(lab.escrow, lab.buyer.address)
        terms = lab.terms(1_000)
        send(lab.escrow, lab.buyer, permit_call(lab.escrow, lab.buyer, terms))
        assert lab.escrow.slot(lab.id(terms)).state is EscrowState.OPEN
        assert permit_nonce(lab.escrow, lab.buyer.address) == before + 1
    functions = lab.token.functions
    assert functions.allowance(lab.buyer.address, lab.escrow.contract.address).call() == 0


def test_a_permit_that_somebody_else_used_first_pays_all_the_same(lab: EscrowLab) -> None:
    terms = lab.terms(1_000)
    call = permit_call(lab.escrow, lab.buyer, terms)
    escrow = lab.escrow.contract.address
    permit = lab.token.functions.permit(lab.buyer.address, escrow, terms.amount, *call.args[1:])
    lab.send(lab.node.faucet, permit)
    with pytest.raises(ChainError, match="SenderIsNotBuyer"):
        send(lab.escrow, lab.provider, lab.escrow.functions.fund(terms.abi_values()))
    send(lab.escrow, lab.buyer, call)
    assert lab.escrow.slot(lab.id(terms)).state is EscrowState.OPEN


def test_a_token_without_erc5267_is_asked_for_name_and_version(odd: EscrowLab) -> None:
    domain = TokenDomain(
        name="USD Coin",
        version="2",
        chain_id=odd.node.chain_id,
        verifying_contract=odd.token.address,
    )
    answers = {"name()": text("USD Coin"), "DOMAIN_SEPARATOR()": domain_separator(domain)}
    replace_token(odd, {**answers, "version()": text("2")})
    assert token_domain(odd.escrow) == domain
    replace_token(odd, answers)
    with pytest.raises(UntrustedMarket, match="does not say in which domain"):
        token_domain(odd.escrow)

    first = domain.model_copy(update={"version": "1"})
    replace_token(odd, {**answers, "DOMAIN_SEPARATOR()": domain_separator(first)})
    assert token_domain(odd.escrow) == first


def test_no_token_has_anything_signed_for_another_chain_or_contract(odd: EscrowLab) -> None:
    """A separator that is not of this chain and this token is no reason to sign."""
    for chain_id, contract in ((1, odd.token.address), (odd.node.chain_id, PERMIT2)):
        foreign = TokenDomain(name="T", version="1", chain_id=chain_id, verifying_contract=contract)
        answers = {
            "eip712Domain()": described("T", "1", chain_id, contract),
            "DOMAIN_SEPARATOR()": domain_separator(foreign),
        }
        replace_token(odd, answers)
        with pytest.raises(UntrustedMarket, match="does not say in which domain"):
            token_domain(odd.escrow)
        assert payable_by(odd.escrow) == {PayBy.ALLOWANCE, PayBy.PERMIT2}


@pytest.mark.parametrize("takes_anything", [False, True])
def test_a_token_that_can_only_be_approved(odd: EscrowLab, takes_anything: bool) -> None:
    """One refuses what it does not know, the other takes it, as wrapped ether does."""
    domain = TokenDomain(
        name="T", version="1", chain_id=odd.node.chain_id, verifying_contract=odd.token.address
    )
    answers = {"name()": text("T"), "DOMAIN_SEPARATOR()": domain_separator(domain)}
    replace_token(odd, answers, takes_anything=takes_anything)
    assert payable_by(odd.escrow) == {PayBy.ALLOWANCE, PayBy.PERMIT2}
    replace_token(odd, {"name()": b"MKR".ljust(32, b"\0")}, takes_anything=takes_anything)
    assert payable_by(odd.escrow) == {PayBy.ALLOWANCE, PayBy.PERMIT2}


def test_what_was_signed_cannot_be_sent_from_fund_by_on(lab: EscrowLab) -> None:
    terms = lab.terms(1_000)
    request = request_funding(lab.escrow, lab.buyer, terms, PayBy.AUTHORIZATION)
    lab.move_to(terms.fund_by)
    with pytest.raises(ChainError, match="FundingClosed"):
        send(lab.escrow, lab.provider, relayable_call(lab.escrow, request))


def test_a_buyer_finds_the_funding_that_somebody_else_sent(lab: EscrowLab) -> None:
    terms = lab.terms(1_000)
    request, since = sign_for_relay(lab.escrow, lab.buyer, terms, PayBy.AUTHORIZATION)
    tx_hash = lab.send(lab.node.faucet, relayable_call(lab.escrow, request))
    assert await_funding(lab.escrow, terms, since, 1) == tx_hash
    lab.cancel(lab.provider, terms)
    lab.move_to(terms.ends_at)
    assert await_funding(lab.escrow, terms, since, 1) == tx_hash


def test_a_buyer_learns_that_nobody_sent_it_from_a_confirmed_block_alone(lab: EscrowLab) -> None:
    terms = lab.terms(1_000)
    since = lab.web3.eth.block_number
    lab.move_to(terms.fund_by - 1)
    lab.move_to(terms.fund_by)
    assert not is_past(lab.escrow, terms, 1)
    lab.rpc("evm_mine")
    assert is_past(lab.escrow, terms, 1)
    with pytest.raises(ChainError, match="nothing can be paid for it any more"):
        await_funding(lab.escrow, terms, since, 1)


def test_a_funded_booking_is_never_called_unpaid(lab: EscrowLab) -> None:
    """A node may show storage before it shows logs."""
    terms = lab.terms(1_000)
    request = request_funding(lab.escrow, lab.buyer, terms, PayBy.AUTHORIZATION)
    lab.send(lab.node.faucet, relayable_call(lab.escrow, request))
    lab.move_to(terms.fund_by)
    lab.rpc("anvil_mine", 5)
    assert not is_past(lab.escrow, terms, 1)


def test_where_no_block_comes_it_is_not_known(
    lab: EscrowLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = lab.terms(1_000)
    monkeypatch.setattr(payment, "SILENCE_SECONDS", -int(terms.fund_by - time.time()) + 1)
    with pytest.raises(ChainError, match="does not show what became") as caught:
        await_funding(lab.escrow, terms, lab.web3.eth.block_number, 1)
    assert "aitbc booking show" in str(caught.value.hint)
