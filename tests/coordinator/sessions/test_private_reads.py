"""What a token opens: a wallet's own quotes, and for operators how the coordinator does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from signed import NOW, Wallet, listing, quote_request
from visitors import PRIVATE, Visitor, assert_not_signed_in, refused

from aitbc.chain.node import NodeFailed
from aitbc.protocol import wire
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import reservations
from aitbc_coordinator.sessions.operator import Machinery
from aitbc_coordinator.settings import Settings
from aitbc_coordinator.settlement.models import Attestation, AttestationKind, Booking, BookingState
from aitbc_coordinator.settlement.outbox import MAX_ATTEMPTS

STATUS = "/v1/operator/status"
CHECKS = {"node": "ok", "settler": "the relayer has too little coin"}
ALERTS = ["the node at https://node.example is passed over"]
RELAYER = "0x" + "12" * 20


def ask_for_a_quote(client: TestClient, buyer: Visitor, context: Context, number: int) -> Any:
    """A quote for a GPU of its own, which it holds."""
    provider = Wallet(buyer.account, context.market.domain)
    gpu = client.post(
        "/v1/gpus",
        json=listing(provider, salt=number, name=f"gpu {number}").model_dump(mode="json"),
    ).json()
    request = quote_request(provider, gpu["id"], salt=number)
    answer = client.post("/v1/quotes", json=request.model_dump(mode="json"))
    assert answer.status_code == 201, answer.text
    return answer.json()["items"][0]


def test_a_wallet_reads_its_own_quotes_alone(
    client: TestClient, context: Context, stranger: Callable[[], Visitor]
) -> None:
    buyer, other = stranger(), stranger()
    mine = [ask_for_a_quote(client, buyer, context, number) for number in (1, 2)]
    theirs = ask_for_a_quote(client, other, context, 3)
    found = buyer.get(PRIVATE, buyer.token()).json()["items"]
    assert sorted(found, key=lambda quote: quote["id"]) == sorted(mine, key=lambda q: q["id"])
    assert other.get(PRIVATE, other.token()).json()["items"] == [theirs]
    nobody = stranger()
    assert nobody.get(PRIVATE, nobody.token()).json() == {"items": []}
    assert_not_signed_in(client.get(PRIVATE))


def test_a_quote_that_lapsed_or_was_funded_is_not_held(
    client: TestClient, context: Context, visitor: Visitor, set_chain_time: Callable[..., None]
) -> None:
    funded, lapsed = (ask_for_a_quote(client, visitor, context, number) for number in (1, 2))
    token = visitor.token()
    with context.database.session() as session:
        reservations.confirm(session, funded["booking_id"])
    assert visitor.get(PRIVATE, token).json()["items"] == [lapsed]
    set_chain_time(lapsed["terms"]["fund_by"])
    assert visitor.get(PRIVATE, token).json()["items"] == []


def booking(number: int, *, ends_at: int, attempts: int | None = None) -> list[Any]:
    """An open booking, with a completion that was so often tried in vain."""
    row = Booking(
        id=f"0x{number:064x}",
        short_id=f"b-{number:010d}",
        buyer="0x" + "aB" * 20,
        provider="0x" + "aB" * 20,
        amount=1,
        fund_by=1,
        starts_at=1,
        ends_at=ends_at,
        listing="0x" + "00" * 32,
        salt=number,
        refused=False,
        funded_at=1,
        state=BookingState.OPEN,
        paid=0,
        fee=0,
        refunded=0,
        remaining=1,
    )
    if attempts is None:
        return [row]
    made = Attestation(
        booking_id=row.id,
        kind=AttestationKind.COMPLETION,
        refused=False,
        earned=1,
        used_seconds=1,
        evidence_digest="0x",
        evidence="{}",
        signature="0x",
        attempts=attempts,
    )
    return [row, made]


def test_an_operator_reads_how_it_does(
    context: Context, operator: Visitor, set_chain_time: Callable[..., None]
) -> None:
    late = NOW - context.market.claim_window
    set_chain_time(NOW)
    with context.database.session() as session:
        for row in (
            *booking(1, ends_at=NOW - 50, attempts=0),
            *booking(2, ends_at=NOW - 90, attempts=MAX_ATTEMPTS - 1),
            *booking(3, ends_at=NOW - 70, attempts=MAX_ATTEMPTS),
            *booking(4, ends_at=late),
            *booking(5, ends_at=NOW + 1),
        ):
            session.add(row)
    machinery = Machinery(leads=lambda: True, coin=lambda: {RELAYER: 10**19})
    app = create_app(context, checks=lambda: CHECKS, alerts=lambda: ALERTS, machinery=machinery)
    with TestClient(app) as client:
        there = replace(operator, client=client)
        answer = there.get(STATUS, there.token())
    assert wire.OperatorStatus.model_validate(answer.json()) == wire.OperatorStatus(
        checks=CHECKS,
        alerts=ALERTS,
        leads=True,
        followed_block=NOW,
        followed_at=NOW,
        waiting=2,
        waiting_since=NOW - 90,
        stuck=["b-0000000003"],
        unclaimed=["b-0000000004"],
        relayers=[wire.Relayer(address=RELAYER, balance=10**19)],
    )
    # As all money, in a string: it is beyond what JSON's numbers keep.
    assert answer.json()["relayers"][0]["balance"] == str(10**19)


def test_a_node_that_fails_hides_nothing_else(context: Context, operator: Visitor) -> None:
    def fail() -> dict[str, int]:
        raise NodeFailed("it cannot be reached")

    machinery = Machinery(coin=fail)
    app = create_app(context, checks=lambda: CHECKS, alerts=list, machinery=machinery)
    with TestClient(app) as client:
        there = replace(operator, client=client)
        found = there.get(STATUS, there.token()).json()
    assert found["relayers"] is None
    assert found["followed_block"] is None
    assert found["checks"] == CHECKS


def test_nobody_else_does(client: TestClient, visitor: Visitor) -> None:
    assert_not_signed_in(client.get(STATUS))
    assert_not_signed_in(visitor.get(STATUS, "a" * 43))
    detail = refused(visitor.get(STATUS, visitor.token()), 403, "not-an-operator")
    assert str(visitor.account.address) in detail


def test_who_is_an_operator_no_more_reads_no_more(context: Context, operator: Visitor) -> None:
    token = operator.token()
    assert operator.get(STATUS, token).status_code == 200
    fewer = context.settings.model_copy(update={"operator_wallets": "0x" + "Ab" * 20})
    app = create_app(replace(context, settings=fewer), checks=dict, alerts=list)
    with TestClient(app) as client:
        refused(replace(operator, client=client).get(STATUS, token), 403, "not-an-operator")


def test_without_operators_there_is_no_such_path(context: Context, operator: Visitor) -> None:
    token = operator.token()
    nobody = context.settings.model_copy(update={"operator_wallets": ""})
    app = create_app(replace(context, settings=nobody), checks=dict, alerts=list)
    with TestClient(app) as client:
        there = replace(operator, client=client)
        answer = there.get(STATUS, token)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-such-path")
        assert there.get(PRIVATE, token).status_code == 200
    assert STATUS not in app.openapi()["paths"]


@pytest.mark.parametrize("wallets", ["0x12", "me", "0x" + "g" * 40, f"0x{'ab' * 20};0x{'ab' * 20}"])
def test_operators_are_wallets(settings: Settings, wallets: str) -> None:
    with pytest.raises(ValueError, match="operator_wallets"):
        Settings(**(settings.model_dump() | {"operator_wallets": wallets}))


def test_the_document_says_who_may_read_what(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    guarded = {
        (method, path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if operation.get("security")
    }
    assert guarded == {("get", PRIVATE), ("get", STATUS), ("delete", "/v1/sign-in")}
    for method, path in guarded:
        assert "not-signed-in" in paths[path][method]["responses"]["401"]["description"]
