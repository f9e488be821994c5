"""Requests that say what is wanted: which GPUs they get, all of them or none, and why none."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signed import NOW, Clock, Wallet, listing, quote_request, unlisting
from sqlalchemy import delete
from sqlmodel import col, select

from aitbc.protocol import wire
from aitbc.protocol.where import parse, unmet
from aitbc_coordinator.context import Context
from aitbc_coordinator.market import matching, repository
from aitbc_coordinator.market.matching import SPARES, Offer
from aitbc_coordinator.market.models import Delivery, Gpu, Quote, Reservation

NewWallet = Callable[[], Wallet]
SOON = NOW + 60
MONDAY = 1_800_000_000 // 604_800 * 604_800 + 4 * 86_400
ANY = ""
ONE_GPU = 'memory>=24 model~"A100"'
A100 = {"model": "NVIDIA A100", "memory_gib": 80}


@pytest.fixture
def buyer(wallet: NewWallet) -> Wallet:
    return wallet()


@pytest.fixture
def register(client: TestClient, wallet: NewWallet) -> Callable[..., str]:
    """Lists another GPU of one provider; its id."""
    provider, numbers = wallet(), iter(range(1, 1_000))

    def one(**changes: Any) -> str:
        salt = next(numbers)
        signed = listing(provider, salt=salt, name=f"gpu-{salt}", **changes)
        answer = client.post("/v1/gpus", json=signed.model_dump(mode="json"))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return one


def ask(client: TestClient, buyer: Wallet, where: str, status: int = 201, **changes: Any) -> Any:
    signed = quote_request(buyer, "", where=where, **changes)
    answer = client.post("/v1/quotes", json=signed.model_dump(mode="json"))
    assert answer.status_code == status, answer.text
    return answer.json()


def quoted(client: TestClient, buyer: Wallet, where: str, **changes: Any) -> list[wire.SignedQuote]:
    answer = ask(client, buyer, where, **changes)
    return wire.SignedQuotes.model_validate(answer).items


def gpu_ids(quotes: Sequence[wire.SignedQuote]) -> list[str]:
    return [quote.gpu_id for quote in quotes]


def test_the_cheapest_that_fits_and_is_free_is_quoted(
    client: TestClient, buyer: Wallet, register: Callable[..., str]
) -> None:
    register(base_price=40_000)
    cheap, dear = (register(base_price=price, **A100) for price in (50_000, 60_000))
    for salt, expected in ((1, cheap), (2, dear)):
        (quote,) = quoted(client, buyer, ONE_GPU, salt=salt)
        assert (quote.gpu_id, quote.terms.salt) == (expected, salt)
        assert client.get(f"/v1/quotes/{quote.id}").json() == quote.model_dump(mode="json")
    refused = ask(client, buyer, ONE_GPU, 409, salt=3)
    assert (refused["code"], refused["no_match"]["taken"]) == ("no-match", 2)
    # At another time they are free.
    later = quoted(client, buyer, ONE_GPU, salt=4, starts_at=NOW + 10_000)
    assert gpu_ids(later) == [cheap]


def test_several_are_quoted_all_or_none(
    client: TestClient, context: Context, buyer: Wallet, register: Callable[..., str]
) -> None:
    cheap, second, third = (register(base_price=40_000 + i, **A100) for i in range(3))
    register()
    salt = 2**64 - 1
    refused = ask(client, buyer, ONE_GPU, 409, count=4, salt=salt)
    assert refused["code"] == "too-few"
    assert refused["detail"].startswith("3 of the 4 GPUs")
    assert refused["no_match"]["taken"] == 0
    with context.database.read() as session:
        assert session.exec(select(Reservation)).all() == []
    quotes = quoted(client, buyer, ONE_GPU, count=3, salt=salt)
    assert gpu_ids(quotes) == [cheap, second, third]
    assert [quote.terms.salt for quote in quotes] == [salt, 0, 1]
    refused = ask(client, buyer, ONE_GPU, 409, count=2, salt=7)
    assert (refused["code"], refused["no_match"]["taken"]) == ("no-match", 3)


def test_the_same_request_is_answered_with_the_same_quotes(
    client: TestClient, buyer: Wallet, clock: Clock, register: Callable[..., str]
) -> None:
    for _ in range(4):
        register()
    first = ask(client, buyer, ANY, count=2)
    clock.now += 1_000
    assert ask(client, buyer, ANY, 200, count=2) == first
    # The second quote's salt, and the one before the first's.
    for salt, count in ((2, 1), (0, 2)):
        again = {"salt": salt, "count": count, "signed_at": clock.now}
        assert ask(client, buyer, ANY, 409, **again)["code"] == "salt-reused"


def test_what_each_condition_excludes_is_told(
    client: TestClient, buyer: Wallet, register: Callable[..., str]
) -> None:
    register(base_price=40_000)
    register(base_price=60_000, **A100)
    refused = ask(client, buyer, ONE_GPU, 409, max_price=50_000)
    assert refused["code"] == "no-match"
    why = wire.NoMatch.model_validate(refused["no_match"])
    assert (why.searched, why.taken) == (2, 0)
    told = {one.condition: (one.excluded, one.alone) for one in why.conditions}
    assert list(told.values()) == [(0, 0), (1, 1), (1, 1)]
    assert next(reversed(told)).startswith("price<=")
    # A limit that is in the expression already is not told twice.
    stricter = "price<0.00000000000000005"
    refused = ask(client, buyer, stricter, 409, max_price=50)
    assert [one["condition"] for one in refused["no_match"]["conditions"]] == [stricter]


def test_the_price_is_that_of_the_time_asked_for(
    client: TestClient, buyer: Wallet, register: Callable[..., str]
) -> None:
    peak = register(base_price=40_000, ceiling_price=80_000, strategy="peak-maximizer")
    register(base_price=45_000)
    night, noon = 1_800_000_000 // 86_400 * 86_400 + 86_400 + 10 * 3600, 20 * 3600
    (quote,) = quoted(client, buyer, ANY, starts_at=night, salt=1)
    assert quote.gpu_id == peak
    at_noon = night - 10 * 3600 + noon
    (quote,) = quoted(client, buyer, ANY, starts_at=at_noon, salt=2)
    assert quote.gpu_id != peak
    cheap = {"starts_at": at_noon, "max_price": 44_000, "salt": 3}
    assert ask(client, buyer, ANY, 409, **cheap)["code"] == "no-match"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"where": "vram>8"}, "invalid-where"),
        ({"where": "   "}, "invalid-where"),
        ({"duration": 59}, "too-short"),
        ({"starts_at": NOW}, "starts-too-soon"),
    ],
)
def test_what_cannot_be_asked_for(
    client: TestClient,
    buyer: Wallet,
    register: Callable[..., str],
    changes: dict[str, Any],
    code: str,
) -> None:
    register()
    refused = ask(client, buyer, **({"where": ANY, "status": 422} | changes))
    assert refused["code"] == code
    assert refused["hint"]


@pytest.mark.parametrize("changes", [{"count": 2}, {"where": "verified"}, {"count": 65}])
def test_a_gpu_is_named_or_described(
    client: TestClient, buyer: Wallet, register: Callable[..., str], changes: dict[str, Any]
) -> None:
    body = quote_request(buyer, register()).model_dump(mode="json")
    body["request"] |= changes
    answer = client.post("/v1/quotes", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_what_was_not_looked_at_is_not_called_free_of_matches(
    client: TestClient,
    buyer: Wallet,
    register: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "BATCHES", (2,))
    start = MONDAY + 20 * 3600  # Noon in us-west.
    for price in range(SPARES + 1):
        register(base_price=40_000 + price, available="mon 00:00-mon 06:00")
    first = register(base_price=50_000, memory_gib=80)
    refused = ask(client, buyer, ANY, 409, salt=10, count=2, starts_at=start)
    assert refused["code"] == "too-few"
    assert gpu_ids(quoted(client, buyer, ANY, salt=1, starts_at=start)) == [first]
    for _ in range(2):
        register(base_price=45_000, available="mon 00:00-mon 06:00")
    refused = ask(client, buyer, ANY, 409, salt=3, starts_at=start + 7200)
    assert refused["code"] == "no-match"
    assert refused["detail"].startswith(f"of the {SPARES + 3} cheapest GPUs that are free")
    assert "no more were looked at" in refused["detail"]
    assert refused["no_match"].get("taken") is None
    found = quoted(client, buyer, "memory>=80", salt=4, starts_at=start + 7200)
    assert gpu_ids(found) == [first]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_what_was_changed_meanwhile_is_not_locked(
    client: TestClient, context: Context, wallet: NewWallet
) -> None:
    """Else it would be quoted at the price of a listing that is not there any more."""
    provider = wallet()

    def send(path: str, message: Any, how: str = "POST") -> Any:
        answer = client.request(how, path, json=message.model_dump(mode="json"))
        assert answer.is_success, answer.text
        return answer.json()

    ids = [send("/v1/gpus", listing(provider, salt=i, name=f"{i}"))["id"] for i in range(3)]
    with context.database.read() as session:
        read = list(session.exec(select(Gpu).order_by(col(Gpu.name))))
        dearer = listing(provider, salt=0, name="0", version=2, base_price=60_000)
        send(f"/v1/gpus/{ids[0]}", dearer, "PUT")
        send(f"/v1/gpus/{ids[1]}/unlist", unlisting(provider, salt=1))
        assert repository.lock(session, read, 3, skip=True) == [ids[2]]


def offer(gpu_id: str, per_hour: int) -> Offer:
    return Offer(cast("Any", SimpleNamespace(id=gpu_id)), cast("Any", None), per_hour)


def test_the_rank_is_by_price_then_reliability_then_id() -> None:
    best = [("g-5", 1, 0), ("g-3", 2, 9_900), ("g-4", 2, 9_900), ("g-1", 2, 0), ("g-2", 2, None)]
    reliability = {gpu_id: known for gpu_id, _, known in best}
    offers = [offer(gpu_id, price) for gpu_id, price, _ in best]
    for shuffled in (offers, offers[::-1], offers[2:] + offers[:2]):
        assert matching.rank(shuffled, reliability) == offers


def test_reliability_decides_between_equal_prices(
    client: TestClient, context: Context, buyer: Wallet, register: Callable[..., str]
) -> None:
    gpus = sorted(register() for _ in range(3))
    with context.database.session() as session:
        for gpu_id, delivered in ((gpus[1], 90), (gpus[2], 99)):
            booked = {"booked_seconds": 100, "delivered_seconds": delivered}
            done = Delivery(booking_id=gpu_id, gpu_id=gpu_id, closed_at=NOW - 1, **booked)
            session.add(done)
    assert gpu_ids(quoted(client, buyer, ANY, count=3)) == [gpus[2], gpus[1], gpus[0]]


slots = st.tuples(st.integers(0, 5), st.integers(0, 20), st.integers(1, 8))


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    held=st.lists(slots, max_size=12),
    count=st.integers(1, 7),
    where=st.sampled_from((ANY, "memory>=80", "memory<80", "price<=0.00000000000005")),
    slot=slots,
)
def test_whatever_is_reserved_it_is_all_or_nothing(
    *,
    client: TestClient,
    context: Context,
    wallet: NewWallet,
    gpus: list[wire.Gpu],
    held: list[tuple[int, int, int]],
    count: int,
    where: str,
    slot: tuple[int, int, int],
) -> None:
    """Against a search by hand: what is free, in the order that the documentation tells."""
    with context.database.session() as session:
        session.exec(delete(Reservation))
        session.exec(delete(Quote))
    client_of = wallet()
    taken: list[tuple[str, int, int]] = []
    for salt, (index, start, hours) in enumerate(held):
        gpu, begin = gpus[index], NOW + 3600 + start * 3600
        request = {"starts_at": begin, "duration": hours * 3600, "salt": salt}
        signed = quote_request(client_of, gpu.id, **request).model_dump(mode="json")
        if client.post("/v1/quotes", json=signed).status_code == 201:
            taken.append((gpu.id, begin, begin + hours * 3600))
    begin, end = NOW + 3600 + slot[1] * 3600, NOW + 3600 + (slot[1] + slot[2]) * 3600
    conditions = parse(where, context.market.decimals) if where else ()
    free = [
        gpu.id
        for gpu in sorted(gpus, key=lambda gpu: (gpu.listing.base_price, gpu.id))
        if unmet(conditions, gpu.listing, gpu.listing.base_price) is None
        and not any(who == gpu.id and since < end and until > begin for who, since, until in taken)
    ]
    request = {"starts_at": begin, "duration": end - begin, "count": count}
    if len(free) >= count:
        assert gpu_ids(quoted(client, wallet(), where, **request)) == free[:count]
    else:
        refused = ask(client, wallet(), where, 409, **request)
        assert refused["code"] == ("too-few" if free else "no-match")
        assert not free or refused["detail"].startswith(f"{len(free)} of the {count} ")
    with context.database.read() as session:
        rows = session.exec(select(Reservation).order_by(col(Reservation.starts_at))).all()
    assert len(rows) == len(taken) + (count if len(free) >= count else 0)
    for one in rows:
        others = (other for other in rows if other.gpu_id == one.gpu_id and other.id != one.id)
        assert not any(o.starts_at < one.ends_at and o.ends_at > one.starts_at for o in others)


@pytest.fixture
def gpus(client: TestClient, register: Callable[..., str]) -> list[wire.Gpu]:
    """Six GPUs, whose prices follow nothing but their base price."""
    changes = [
        {"base_price": 36_000 + i % 4 * 10_000, "memory_gib": 24 + i % 2 * 56} for i in range(6)
    ]
    ids = [register(**one) for one in changes]
    return [wire.Gpu.model_validate(client.get(f"/v1/gpus/{gpu_id}").json()) for gpu_id in ids]


def test_more_are_compared_than_are_asked_for(
    client: TestClient, buyer: Wallet, register: Callable[..., str]
) -> None:
    """A GPU of a higher base price is taken where it costs less, among the first so many."""
    for _ in range(SPARES):
        register(base_price=40_000, ceiling_price=80_000, strategy="peak-maximizer")
    steady = register(base_price=41_000)
    noon = {"starts_at": 1_800_000_000 // 86_400 * 86_400 + 86_400 + 20 * 3600}
    (quote,) = quoted(client, buyer, ANY, **noon)
    assert quote.gpu_id == steady
