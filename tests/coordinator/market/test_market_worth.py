"""Bookings whose fee does not cover their settlement: refused, and the minimum said and signed."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, market_of, quote_request

from aitbc.errors import InvalidInput
from aitbc.protocol import wire
from aitbc.protocol.units import price_of
from aitbc.protocol.worth import SETTLE_GAS, minimum_amount, settle_cost, shortest_seconds
from aitbc.signing import Signer
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Attester, Context
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.worth import coin_price, why_not_counted
from aitbc_coordinator.settings import Settings

NewWallet = Callable[[], Wallet]
SetChainTime = Callable[..., None]
NewClient = Callable[..., TestClient]
GWEI = 10**9
COIN_PRICE = "3000"
COST = settle_cost(SETTLE_GAS, GWEI, 3000 * 10**6)
MINIMUM = minimum_amount(COST, 100)
PRICE = MINIMUM
"""Per hour, so that an hour is just worth settling."""


@pytest.fixture
def token_settings(settings: Settings) -> Settings:
    """A market in a token, whose operator says what a coin costs."""
    return settings.model_copy(update={"contract": "TokenEscrow", "coin_price": COIN_PRICE})


@pytest.fixture
def coordinate(
    token_settings: Settings, database: Database, attester_account: LocalAccount, clock: Clock
) -> NewClient:
    """Starts a coordinator of the market, some of it changed."""

    def start(settings: dict[str, Any] | None = None, **market: Any) -> TestClient:
        changed = token_settings.model_copy(update=settings or {})
        fields = {"token": "0x" + "70" * 20, "symbol": "TUSD", "decimals": 6, **market}
        described = market_of(changed, attester_account.address, **fields)
        attester = Attester(Signer(attester_account), described)
        context = Context(changed, database, described, attester, now=clock)
        return TestClient(create_app(context, checks=dict, alerts=list))

    return start


@pytest.fixture
def gpu_id(coordinate: NewClient, wallet: NewWallet, set_chain_time: SetChainTime) -> str:
    """A GPU at `PRICE`, while gas costs a gwei."""
    set_chain_time(NOW, GWEI)
    signed = listing(wallet(), base_price=PRICE, floor_price=PRICE, ceiling_price=PRICE)
    answer = coordinate().post("/v1/gpus", json=signed.model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ask(client: TestClient, signed: wire.SignedQuoteRequest, status: int) -> Any:
    answer = client.post("/v1/quotes", json=signed.model_dump(mode="json"))
    assert answer.status_code == status, answer.text
    return answer.json()


def quote(client: TestClient, buyer: Wallet, gpu_id: str, **changes: Any) -> wire.SignedQuote:
    request = quote_request(buyer, gpu_id, max_price=PRICE, **changes)
    return wire.SignedQuotes.model_validate(ask(client, request, 201)).items[0]


def refusal(client: TestClient, buyer: Wallet, gpu_id: str, **changes: Any) -> wire.Problem:
    request = quote_request(buyer, gpu_id, max_price=PRICE, **changes)
    return wire.Problem.model_validate(ask(client, request, 409))


def published(client: TestClient) -> wire.SignedMinimum:
    answer = client.get("/v1/market/minimum")
    assert answer.status_code == 200, answer.text
    return wire.SignedMinimum.model_validate(answer.json())


def test_an_amount_that_just_covers_it_is_quoted_and_a_second_less_is_not(
    coordinate: NewClient, wallet: NewWallet, gpu_id: str
) -> None:
    client, buyer = coordinate(), wallet()
    refused = refusal(client, buyer, gpu_id, duration=3599)
    assert refused.code == "too-small"
    # Nothing was held.
    held = quote(client, buyer, gpu_id, duration=3600)
    assert held.minimum == MINIMUM == held.terms.amount


def test_the_refusal_says_the_way_out_and_is_signed(
    coordinate: NewClient, context: Context, wallet: NewWallet, gpu_id: str
) -> None:
    client, buyer = coordinate(), wallet()
    refused = refusal(client, buyer, gpu_id, duration=600)
    shortest = shortest_seconds(PRICE, MINIMUM)
    assert price_of(PRICE, 600) < MINIMUM
    assert f"{price_of(PRICE, 600)} base units" in refused.detail
    assert f"from {MINIMUM}: {shortest} s" in refused.detail
    assert refused.hint is not None
    assert f"{shortest} s or longer" in refused.hint
    assert refused.minimum == published(client)
    told = refused.minimum.minimum
    assert told.signer(context.market.domain, refused.minimum.signature) == context.market.attester
    assert (told.amount, told.cost) == (MINIMUM, COST)
    assert (told.settle_gas, told.gas_price, told.coin_price) == (SETTLE_GAS, GWEI, 3000 * 10**6)
    assert told.signed_at == NOW
    quote(client, buyer, gpu_id, duration=shortest)


def test_a_bait_that_is_not_worth_settling_keeps_nobody_from_the_others(
    coordinate: NewClient, wallet: NewWallet, gpu_id: str
) -> None:
    client, provider, buyer = coordinate(), wallet(), wallet()
    bait = listing(provider, base_price=1, floor_price=1, ceiling_price=1)
    assert client.post("/v1/gpus", json=bait.model_dump(mode="json")).status_code == 201

    def wish(status: int, **changes: Any) -> Any:
        fields = {"max_price": PRICE, "duration": 3600, **changes}
        return ask(client, quote_request(buyer, "", **fields), status)

    # Two of two would do, if both were worth it; three there are not.
    refused = wire.Problem.model_validate(wish(409, count=2, salt=10))
    assert (refused.code, refused.minimum is not None) == ("too-small", True)
    assert wish(409, count=3, salt=20)["code"] == "too-few"
    (made,) = wish(201, salt=1)["items"]
    assert made["gpu_id"] == gpu_id
    assert wish(409, salt=2)["code"] == "too-small"


def test_other_refusals_carry_no_minimum(coordinate: NewClient, wallet: NewWallet) -> None:
    answer = ask(coordinate(), quote_request(wallet(), "g-zzzzzz"), 404)
    assert "minimum" not in answer


def test_what_no_time_reaches_points_to_another_gpu(
    coordinate: NewClient, wallet: NewWallet, gpu_id: str
) -> None:
    client = coordinate({"maximum_seconds": 3599})
    refused = refusal(client, wallet(), gpu_id, duration=3599)
    assert refused.hint is not None
    assert "a GPU that costs more" in refused.hint
    assert "or longer" not in refused.hint


def test_the_price_of_gas_moves_the_minimum_of_new_requests_alone(
    coordinate: NewClient, wallet: NewWallet, gpu_id: str, set_chain_time: SetChainTime
) -> None:
    client, buyer = coordinate(), wallet()
    held = quote(client, buyer, gpu_id)
    set_chain_time(NOW, 2 * GWEI)
    assert published(client).minimum.amount > MINIMUM
    repeated = ask(client, quote_request(buyer, gpu_id, max_price=PRICE), 200)
    assert wire.SignedQuotes.model_validate(repeated).items == [held]
    later = {"starts_at": NOW + 10_000, "salt": 2}
    assert refusal(client, buyer, gpu_id, **later).code == "too-small"
    set_chain_time(NOW, GWEI // 2)
    assert quote(client, buyer, gpu_id, **later).minimum < MINIMUM


@pytest.mark.parametrize(
    ("changed", "described", "says"),
    [
        ({"coin_price": ""}, {}, "coin_price is not set"),
        ({"settle_gas": 0}, {}, "settle_gas is 0"),
        ({}, {"fee_bps": 0}, "takes no fee"),
    ],
)
def test_where_it_is_not_counted_any_size_is_taken(
    *,
    coordinate: NewClient,
    token_settings: Settings,
    wallet: NewWallet,
    gpu_id: str,
    changed: dict[str, Any],
    described: dict[str, Any],
    says: str,
) -> None:
    client = coordinate(changed, **described)
    assert quote(client, wallet(), gpu_id, duration=60).minimum == 0
    assert published(client).minimum.amount == 0
    settings = token_settings.model_copy(update=changed)
    assert says in str(why_not_counted(settings, described.get("fee_bps", 100)))
    assert why_not_counted(token_settings, 100) is None


def test_before_a_block_is_followed_nothing_is_known_of_gas(coordinate: NewClient) -> None:
    assert published(coordinate()).minimum.amount == 0


def test_in_the_chains_own_coin_no_price_is_needed(
    client: TestClient, settings: Settings, wallet: NewWallet, set_chain_time: SetChainTime
) -> None:
    set_chain_time(NOW, GWEI)
    cost = SETTLE_GAS * GWEI
    assert why_not_counted(settings, 100) is None
    assert published(client).minimum.cost == cost
    signed = listing(wallet(), base_price=99 * cost, ceiling_price=198 * cost)
    gpu_id = client.post("/v1/gpus", json=signed.model_dump(mode="json")).json()["id"]
    request = quote_request(wallet(), gpu_id, max_price=198 * cost)
    assert ask(client, request, 409)["code"] == "too-small"


@pytest.mark.parametrize(
    ("contract", "price", "says"),
    [
        ("NativeEscrow", "1", "the chain's own coin"),
        ("TokenEscrow", "dear", "write a decimal"),
        ("TokenEscrow", "-1", "write a decimal"),
        ("TokenEscrow", "1e3", "write a decimal"),
        ("TokenEscrow", "0.00", "more than 0"),
    ],
)
def test_a_price_that_is_none_is_refused(
    settings: Settings, contract: str, price: str, says: str
) -> None:
    fields = settings.model_dump() | {"contract": contract, "coin_price": price}
    with pytest.raises(ValueError, match=says):
        Settings(**fields)


def test_a_price_with_more_decimals_than_the_money_is_refused(token_settings: Settings) -> None:
    finer = token_settings.model_copy(update={"coin_price": "3000.0000001"})
    with pytest.raises(InvalidInput, match="has 7 decimals: this market's money has 6"):
        coin_price(finer, 6)
    assert coin_price(finer, 7) == 30_000_000_001
