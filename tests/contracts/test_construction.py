"""What an escrow can be deployed with, and that it never changes."""

from collections.abc import Callable

import ape
import pytest
from ape.contracts import ContractInstance
from ape.managers.project import ProjectManager
from market import FEE_BPS, NATIVE_TOKEN, WINDOW, Actors, Market, reverts

from aitbc.protocol.messages import escrow_seed

ZERO_ADDRESS = "0x" + "00" * 20
MAX_WINDOW = 90 * 86_400


def test_keeps_its_parameters(market: Market) -> None:
    escrow, actors = market.escrow, market.actors

    assert escrow.token() == (NATIVE_TOKEN if market.token is None else market.token.address)
    assert escrow.attester() == actors.attester.address
    assert escrow.arbiter() == actors.arbiter.address
    assert (escrow.feeBps(), escrow.claimWindow()) == (FEE_BPS, WINDOW)
    assert escrow.feeRecipient() == actors.fee_recipient.address
    assert bytes(escrow.seed()) == escrow_seed(market.domain)


def test_tells_its_signing_domain(market: Market) -> None:
    domain = market.escrow.eip712Domain()

    assert (domain.name, domain.version) == (market.domain.name, market.domain.version)
    assert (domain.chainId, domain.verifyingContract) == (
        ape.chain.chain_id,
        market.escrow.address,
    )


@pytest.mark.parametrize(
    "limit",
    [
        {"fee_bps": 0},
        {"fee_bps": 1_000},
        {"claim_window": 1},
        {"claim_window": MAX_WINDOW},
        {"arbiter": ZERO_ADDRESS},
    ],
    ids=str,
)
def test_accepts_each_limit(
    make_escrow: Callable[..., ContractInstance], limit: dict[str, object]
) -> None:
    assert make_escrow(None, **limit).address


@pytest.mark.parametrize(
    ("change", "error", "values"),
    [
        ({"attester": ZERO_ADDRESS}, "Escrow_AttesterIsZero", {}),
        ({"fee_recipient": ZERO_ADDRESS}, "Escrow_FeeRecipientIsZero", {}),
        ({"fee_bps": 1_001}, "Escrow_FeeTooHigh", {"feeBps": 1_001, "maximum": 1_000}),
        (
            {"claim_window": 0},
            "Escrow_ClaimWindowOutOfRange",
            {"claimWindow": 0, "maximum": MAX_WINDOW},
        ),
        (
            {"claim_window": MAX_WINDOW + 1},
            "Escrow_ClaimWindowOutOfRange",
            {"claimWindow": MAX_WINDOW + 1, "maximum": MAX_WINDOW},
        ),
    ],
    ids=str,
)
def test_refuses(
    make_escrow: Callable[..., ContractInstance],
    project: ProjectManager,
    change: dict[str, object],
    error: str,
    values: dict[str, object],
) -> None:
    with reverts(error, **values):
        make_escrow(None, **change)


def test_refuses_an_arbiter_who_is_the_attester(
    make_escrow: Callable[..., ContractInstance], project: ProjectManager, actors: Actors
) -> None:
    attester = actors.attester.address

    with reverts("Escrow_ArbiterIsAttester", attester=attester):
        make_escrow(None, arbiter=attester)


def test_refuses_a_token_without_code(
    make_escrow: Callable[..., ContractInstance], project: ProjectManager, actors: Actors
) -> None:
    account = actors.stranger

    with reverts("Escrow_TokenHasNoCode", token=account.address):
        make_escrow(account)
