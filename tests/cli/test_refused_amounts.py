"""A booking that is too small to settle: what its buyer is told, and can show to others."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from homes import newly_arrived
from offers import NOW, Offer
from patient_market import SETTINGS

from aitbc.buying.quotes import verify_minimum
from aitbc.errors import UntrustedMarket
from aitbc.profile import load_profile
from aitbc.protocol import worth
from aitbc.protocol.messages import Minimum
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import SignedMinimum
from aitbc.signing import sign
from checks import FAILED, assert_refused
from http_stub import Answer, serving
from in_process import json_here, run_here
from local_market import LocalMarket, User, open_market
from wallets import give_operator_keys

OFFER = Offer()
STRANGER = OFFER.buyer
COST = worth.settle_cost(55_270, 10**9, 10**18)
HONEST = Minimum(
    amount=worth.minimum_amount(COST, OFFER.market.fee_bps),
    cost=COST,
    settle_gas=55_270,
    gas_price=10**9,
    coin_price=10**18,
    signed_at=NOW,
)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMarket]:
    """A market whose operator says that a coin costs 1,000 test dollars."""
    market = open_market(
        tmp_path_factory.mktemp("counting"),
        settings={**SETTINGS, "coin_price": "1000"},
        give_keys=give_operator_keys,
    )
    yield market
    market.close()


@pytest.fixture(scope="module")
def buyer(counting: LocalMarket) -> User:
    buyer = newly_arrived(counting, "buyer")
    counting.fund(buyer.address, 10**17, 100 * 10**6)
    return buyer


@pytest.fixture(scope="module")
def gpu_id(counting: LocalMarket) -> str:
    """A GPU for 3.6 test dollars an hour."""
    register = ("marketplace", "gpu", "register", "--name", "My-GPU", "--memory", "24")
    hardware = ("--cuda-version", "12.1", "--base-price", "3.6")
    return str(json_here(newly_arrived(counting, "provider"), *register, *hardware)["id"])


def signed(minimum: Minimum, account: Any = OFFER.attester) -> SignedMinimum:
    signature = sign(account, minimum, OFFER.market.domain)
    return SignedMinimum(minimum=minimum, signature=signature)


def test_the_minimum_is_told_in_the_markets_money(buyer: User, gpu_id: str) -> None:
    quote = ("marketplace", "quote", "--gpu-id", gpu_id, "--duration", "2s")
    done = run_here(buyer, *quote, "--format", "json")
    assert (done.returncode, done.stdout) == (FAILED, "")
    told = json.loads(done.stderr)
    kept = SignedMinimum.model_validate(told["minimum"])
    assert told["code"] == "too-small"
    assert f"from {format_amount(kept.minimum.amount, 6)} TUSD" in told["error"]
    assert f"costs {format_amount(kept.minimum.cost, 6)} TUSD" in told["error"]
    assert "s or longer" in told["hint"]
    market = load_profile(buyer.home).market
    assert market is not None
    verify_minimum(market, kept)


def test_what_is_large_enough_is_quoted_with_its_minimum(buyer: User, gpu_id: str) -> None:
    quoted = json_here(buyer, "marketplace", "quote", "--gpu-id", gpu_id, "--duration", "8h")
    minimum = int(quoted["signed"]["minimum"])
    assert 0 < minimum <= int(quoted["signed"]["terms"]["amount"])
    assert quoted["minimum"] == format_amount(minimum, 6)


def test_people_read_one_line_and_what_to_do(buyer: User, gpu_id: str) -> None:
    later = ("--start", "+1d", "--duration", "2s", "--yes")
    done = run_here(buyer, "marketplace", "book", "--gpu-id", gpu_id, *later)
    assert_refused(done, FAILED, "too small to settle")
    assert re.search(r"hint: ask for \d+ s or longer", done.stderr)


def test_a_refusal_that_contradicts_itself_is_reported(buyer: User, gpu_id: str) -> None:
    def forward(method: str, path: str, body: bytes) -> Answer:
        json_type = {"Content-Type": "application/json"}
        url = buyer.coordinator_url + path
        answer = httpx.request(method, url, content=body, headers=json_type, timeout=30)
        content = answer.json()
        if "minimum" in content:
            content["minimum"]["minimum"]["gas_price"] += "0"
        return Answer(answer.status_code, json.dumps(content).encode(), json_type)

    with serving(forward) as url:
        quote = ("marketplace", "quote", "--gpu-id", gpu_id, "--duration", "2s", "--start", "+2d")
        done = run_here(buyer, *quote, AITBC_COORDINATOR_URL=url)
    assert_refused(done, FAILED, "contradicts itself")


def test_an_honest_minimum_is_accepted() -> None:
    verify_minimum(OFFER.market, signed(HONEST))


@pytest.mark.parametrize(
    ("altered", "says"),
    [
        ({"amount": HONEST.amount + 1}, "minimum"),
        ({"cost": COST + 1}, "cost of settling"),
        ({"gas_price": 10**10}, "cost of settling"),
        ({"coin_price": 1}, "cost of settling"),
        ({"settle_gas": 21_000}, "cost of settling"),
    ],
)
def test_a_minimum_that_contradicts_itself_is_not_passed_on(
    altered: dict[str, int], says: str
) -> None:
    with pytest.raises(UntrustedMarket, match=f"its {says} is"):
        verify_minimum(OFFER.market, signed(HONEST.model_copy(update=altered)))


def test_a_minimum_that_somebody_else_signed_is_not_passed_on() -> None:
    with pytest.raises(UntrustedMarket, match="its attester is"):
        verify_minimum(OFFER.market, signed(HONEST, STRANGER))
