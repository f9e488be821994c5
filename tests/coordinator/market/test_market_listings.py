"""Listings: registered, changed, taken off the market, and refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from signed import NOW, Clock, Wallet, listing, unlisting
from sqlmodel import select

from aitbc.protocol import ids, messages, wire
from aitbc_coordinator.database import Database
from aitbc_coordinator.market.models import Listing, Unlisting

NewWallet = Callable[[], Wallet]


@pytest.fixture
def provider(wallet: NewWallet) -> Wallet:
    return wallet()


def body(signed: wire.Wire) -> dict[str, object]:
    return signed.model_dump(mode="json")


def post(client: TestClient, signed: wire.SignedListing, status: int = 201) -> dict[str, object]:
    answer = client.post("/v1/gpus", json=body(signed))
    assert answer.status_code == status, answer.text
    return answer.json()


def put(
    client: TestClient, gpu_id: str, signed: wire.SignedListing, status: int = 200
) -> dict[str, object]:
    answer = client.put(f"/v1/gpus/{gpu_id}", json=body(signed))
    assert answer.status_code == status, answer.text
    return answer.json()


def unlist(
    client: TestClient, gpu_id: str, signed: wire.SignedUnlisting, status: int = 200
) -> dict[str, object]:
    answer = client.post(f"/v1/gpus/{gpu_id}/unlist", json=body(signed))
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_gpu_is_registered_with_the_listing_that_backs_it(
    client: TestClient, provider: Wallet, clock: Clock
) -> None:
    signed = listing(provider)
    gpu = wire.Gpu.model_validate(post(client, signed))
    assert gpu.id == ids.gpu_id(provider.address, 1)
    assert gpu.listing == signed.listing
    assert gpu.listing.signer(provider.domain, gpu.signature) == provider.address
    assert gpu.digest == "0x" + signed.listing.digest(provider.domain).hex()
    assert gpu.listed
    assert gpu.free_from == clock.now
    assert gpu.last_seen is None
    assert 18_000 <= gpu.current_price.per_hour <= 72_000
    assert client.get(f"/v1/gpus/{gpu.id}").json() == gpu.model_dump(mode="json")


def test_the_very_same_listing_again_changes_nothing(
    client: TestClient, provider: Wallet, clock: Clock
) -> None:
    first = post(client, listing(provider))
    clock.now += 10_000
    again = post(client, listing(provider), 200)
    assert again["digest"] == first["digest"]


def test_each_version_is_kept_as_evidence(
    client: TestClient, provider: Wallet, database: Database
) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    second = listing(provider, version=2, strategy="utilization-guard", base_price=40_000)
    changed = wire.Gpu.model_validate(put(client, gpu_id, second))
    assert changed.listing == second.listing
    assert put(client, gpu_id, second)["digest"] == changed.digest
    with database.read() as session:
        kept = session.exec(select(Listing).order_by("version")).all()
    assert [row.version for row in kept] == [1, 2]
    for row in kept:
        message = messages.Listing.model_validate_json(row.payload)
        assert message.signer(provider.domain, row.signature) == provider.address


def test_every_version_is_read_by_its_digest(client: TestClient, provider: Wallet) -> None:
    first = listing(provider)
    gpu_id = str(post(client, first)["id"])
    second = listing(provider, version=2, base_price=40_000)
    put(client, gpu_id, second)
    for signed in (first, second):
        digest = "0x" + signed.listing.digest(provider.domain).hex()
        for spelling in (digest, "0x" + digest[2:].upper()):
            answer = client.get(f"/v1/listings/{spelling}")
            assert answer.status_code == 200, answer.text
            assert wire.SignedListing.model_validate(answer.json()) == signed


@pytest.mark.parametrize(
    ("digest", "status", "code"),
    [("0x" + "00" * 32, 404, "unknown-listing"), ("0x12", 422, "invalid")],
)
def test_a_listing_that_nobody_registered(
    client: TestClient, digest: str, status: int, code: str
) -> None:
    answer = client.get(f"/v1/listings/{digest}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_each_unlisting_is_kept_as_evidence(
    client: TestClient, provider: Wallet, database: Database
) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    signed = [unlisting(provider), unlisting(provider, signed_at=NOW + 1)]
    for sent in (*signed, signed[0]):
        unlist(client, gpu_id, sent)
    unlist(client, gpu_id, unlisting(provider, version=9), 409)
    with database.read() as session:
        kept = session.exec(select(Unlisting).where(Unlisting.gpu_id == gpu_id)).all()
    found = [messages.Unlisting.model_validate_json(row.payload) for row in kept]
    assert sorted(found, key=lambda message: message.signed_at) == [
        sent.unlisting for sent in signed
    ]
    for row, message in zip(kept, found, strict=True):
        assert row.digest == "0x" + message.digest(provider.domain).hex()
        assert message.signer(provider.domain, row.signature) == provider.address


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_is_not_the_next_is_refused(
    client: TestClient, provider: Wallet, version: int
) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    refused = put(client, gpu_id, listing(provider, version=version, name="Other"), 409)
    assert refused["code"] == "version-conflict"
    assert client.get(f"/v1/gpus/{gpu_id}").json()["listing"]["name"] == "My-GPU"


def test_registering_starts_at_version_one(client: TestClient, provider: Wallet) -> None:
    assert post(client, listing(provider, version=2), 409)["code"] == "version-conflict"


def test_registering_twice_differently_is_refused(client: TestClient, provider: Wallet) -> None:
    post(client, listing(provider))
    assert post(client, listing(provider, name="New"), 409)["code"] == "version-conflict"


def test_an_unlisted_gpu_comes_back_with_a_listing_signed_later(
    client: TestClient, provider: Wallet
) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    assert unlist(client, gpu_id, unlisting(provider))["listed"] is False
    assert unlist(client, gpu_id, unlisting(provider))["listed"] is False
    assert client.get("/v1/gpus").json()["items"] == []
    assert client.get("/v1/gpus", params={"provider": provider.address}).json()["items"]
    # What was signed before the unlisting must not undo it, whoever sends it.
    assert put(client, gpu_id, listing(provider), 409)["code"] == "version-conflict"
    assert post(client, listing(provider), 409)["code"] == "version-conflict"
    assert put(client, gpu_id, listing(provider, version=2), 403)["code"] == "stale-signature"
    again = put(client, gpu_id, listing(provider, version=2, signed_at=NOW + 1))
    assert again["listed"] is True
    assert unlist(client, gpu_id, unlisting(provider), 409)["code"] == "version-conflict"


def test_an_unlisting_out_of_turn_is_refused(client: TestClient, provider: Wallet) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    refused = unlist(client, gpu_id, unlisting(provider, version=1), 409)
    assert refused["code"] == "version-conflict"


def test_only_its_provider_changes_a_gpu(
    client: TestClient, provider: Wallet, wallet: NewWallet
) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    thief = wallet()
    assert put(client, gpu_id, listing(thief, version=2), 403)["code"] == "not-owner"
    assert unlist(client, gpu_id, unlisting(thief), 403)["code"] == "not-owner"
    other = listing(provider, salt=2, version=2)
    assert put(client, gpu_id, other, 403)["code"] == "not-owner"
    assert client.get(f"/v1/gpus/{gpu_id}").json()["listing"]["version"] == 1


def forged(provider: Wallet, thief: Wallet) -> wire.SignedListing:
    return listing(provider).model_copy(update={"signature": listing(thief).signature})


def altered(provider: Wallet, thief: Wallet) -> wire.SignedListing:
    signed = listing(provider)
    cheaper = signed.listing.model_copy(update={"base_price": 18_000})
    return signed.model_copy(update={"listing": cheaper})


def of_another_chain(provider: Wallet, thief: Wallet) -> wire.SignedListing:
    signed = listing(provider)
    elsewhere = provider.domain.model_copy(update={"chain_id": 1})
    return signed.model_copy(update={"signature": provider.sign(signed.listing, elsewhere)})


def of_another_market(provider: Wallet, thief: Wallet) -> wire.SignedListing:
    signed = listing(provider)
    elsewhere = provider.domain.model_copy(update={"escrow": "0x" + "01" * 20})
    return signed.model_copy(update={"signature": provider.sign(signed.listing, elsewhere)})


def malformed(provider: Wallet, thief: Wallet) -> wire.SignedListing:
    return listing(provider).model_copy(update={"signature": "0xff"})


@pytest.mark.parametrize("make", [forged, altered, of_another_chain, of_another_market, malformed])
def test_a_signature_that_is_not_the_providers_here_is_refused(
    client: TestClient,
    provider: Wallet,
    wallet: NewWallet,
    make: Callable[[Wallet, Wallet], wire.SignedListing],
) -> None:
    signed = make(provider, wallet())
    assert post(client, signed, 403)["code"] == "wrong-signer"
    gpu_id = str(post(client, listing(provider))["id"])
    assert put(client, gpu_id, signed, 403)["code"] == "wrong-signer"
    thief = wallet()
    stolen = unlisting(provider).model_copy(update={"signature": unlisting(thief).signature})
    assert unlist(client, gpu_id, stolen, 403)["code"] == "wrong-signer"


@pytest.mark.parametrize("shift", [-301, 301])
def test_a_stale_signature_is_refused(client: TestClient, provider: Wallet, shift: int) -> None:
    assert post(client, listing(provider, signed_at=NOW + shift), 403)["code"] == "stale-signature"
    gpu_id = str(post(client, listing(provider, signed_at=NOW + shift // 301 * 300))["id"])
    late = listing(provider, version=2, signed_at=NOW + shift)
    assert put(client, gpu_id, late, 403)["code"] == "stale-signature"
    taken_off = unlisting(provider, signed_at=NOW + shift)
    assert unlist(client, gpu_id, taken_off, 403)["code"] == "stale-signature"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"region": "moon"}, "unknown-region"),
        ({"strategy": "greed"}, "unknown-strategy"),
        ({"strategy": "Market Balance"}, "unknown-strategy"),
        ({"floor_price": 36_001}, "invalid-prices"),
        ({"ceiling_price": 35_999}, "invalid-prices"),
    ],
)
def test_content_that_cannot_be_accepted_is_refused(
    client: TestClient, provider: Wallet, changes: dict[str, object], code: str
) -> None:
    refused = post(client, listing(provider, **changes), 422)
    assert refused["code"] == code
    assert refused["hint"]
    gpu_id = str(post(client, listing(provider))["id"])
    assert put(client, gpu_id, listing(provider, version=2, **changes), 422)["code"] == code


def test_an_id_that_another_gpu_has_is_refused(
    client: TestClient, provider: Wallet, wallet: NewWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "gpu_id", lambda _provider, _salt: "g-000000")
    post(client, listing(provider))
    assert post(client, listing(wallet()), 409)["code"] == "id-taken"
    assert post(client, listing(provider, salt=2, name="Other"), 409)["code"] == "id-taken"


def test_a_provider_lists_a_name_once(
    client: TestClient, provider: Wallet, wallet: NewWallet
) -> None:
    gpu_id = str(post(client, listing(provider))["id"])
    assert post(client, listing(provider, salt=2), 409)["code"] == "name-taken"
    post(client, listing(wallet()))
    other_id = str(post(client, listing(provider, salt=2, name="Other"))["id"])
    renamed = listing(provider, salt=2, version=2)
    assert put(client, other_id, renamed, 409)["code"] == "name-taken"
    unlist(client, gpu_id, unlisting(provider))
    put(client, other_id, renamed)
    late = listing(provider, version=2, signed_at=NOW + 1)
    assert put(client, gpu_id, late, 409)["code"] == "name-taken"


def test_a_gpu_is_listed_once_by_its_uuid(
    client: TestClient, provider: Wallet, wallet: NewWallet
) -> None:
    post(client, listing(provider, gpu_uuid="GPU-1"))
    other = wallet()
    assert post(client, listing(other, gpu_uuid="GPU-1"), 409)["code"] == "uuid-taken"
    gpu_id = str(post(client, listing(other))["id"])
    changed = listing(other, version=2, gpu_uuid="GPU-1")
    assert put(client, gpu_id, changed, 409)["code"] == "uuid-taken"


@pytest.mark.parametrize("gpu_id", ["g-zzzzzz", "nonsense", "g-%00", "g-" + "z" * 300])
def test_a_gpu_that_does_not_exist(client: TestClient, provider: Wallet, gpu_id: str) -> None:
    assert client.get(f"/v1/gpus/{gpu_id}").json()["code"] == "unknown-gpu"
    assert put(client, gpu_id, listing(provider), 404)["code"] == "unknown-gpu"
    assert unlist(client, gpu_id, unlisting(provider), 404)["code"] == "unknown-gpu"


def test_the_current_price_is_the_one_of_its_state(client: TestClient, provider: Wallet) -> None:
    gpu = wire.Gpu.model_validate(post(client, listing(provider)))
    assert gpu.current_price.per_hour == 36_000
    assert [factor.name for factor in gpu.current_price.factors] == ["demand"]


def test_an_idle_gpu_gets_cheaper_under_utilization_guard(
    client: TestClient, provider: Wallet, clock: Clock
) -> None:
    gpu_id = str(post(client, listing(provider, strategy="utilization-guard"))["id"])
    prices = []
    for _ in range(3):
        current = client.get(f"/v1/gpus/{gpu_id}").json()["current_price"]
        prices.append(int(current["per_hour"]))
        clock.now += 3600
    assert prices == [36_000, 35_250, 34_500]


def test_amounts_beyond_64_bits_survive(client: TestClient, provider: Wallet) -> None:
    huge = 2**88 - 1
    signed = listing(provider, base_price=huge, ceiling_price=huge, salt=2**64 - 1)
    gpu = wire.Gpu.model_validate(post(client, signed))
    assert gpu.listing == signed.listing


def test_the_same_listing_sixteen_times_at_once_is_one_gpu(
    client: TestClient, provider: Wallet
) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    signed = body(listing(provider))
    with ThreadPoolExecutor(16) as pool:
        answers = pool.map(lambda _: TestClient(app).post("/v1/gpus", json=signed), range(16))
        assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
