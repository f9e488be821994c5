"""Which GPU or booking a person means, against a coordinator whose answers are given."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import quote_plus

import pytest
from canned import Canned
from offers import NOW, Offer

from aitbc.buying.quotes import listing_digest
from aitbc.cli.booking import Role
from aitbc.cli.lookup import choose_booking
from aitbc.cli.output import Moment
from aitbc.errors import AitbcError, InvalidInput
from aitbc.profile import Profile, save_profile
from aitbc.protocol.ids import gpu_id
from aitbc.protocol.pricing import Price
from aitbc.protocol.states import ARBITER_WINDOW
from aitbc.protocol.wire import (
    Booking,
    BookingPage,
    ChainReference,
    Gpu,
    GpuPage,
    NoMatch,
    Problem,
)
from aitbc.signing import sign
from checks import FAILED, USAGE, assert_refused
from in_process import run_here
from local_market import User
from wallets import give_wallet

OFFER = Offer()
NAME = OFFER.listing.name

Run = Callable[..., Any]


@pytest.fixture
def ask(newcomer: User, canned: Canned) -> Run:
    """Runs the program for a user with a wallet and a market."""
    save_profile(newcomer.home, Profile(market=OFFER.market))
    give_wallet(newcomer.home / "keystore", newcomer.passphrase_file, account=OFFER.provider)
    return lambda *args: run_here(newcomer, *args, AITBC_COORDINATOR_URL=canned.url)


def gpu(salt: int, *, listed: bool) -> Gpu:
    listing = OFFER.listing.model_copy(update={"salt": salt})
    return Gpu(
        id=gpu_id(listing.provider, salt),
        listing=listing,
        signature=sign(OFFER.provider, listing, OFFER.market.domain),
        digest=listing_digest(OFFER.market.domain, listing),
        listed=listed,
        current_price=Price(per_hour=1, factors=[]),
        free_from=NOW,
        last_seen=None,
        reachable_until=NOW,
        reliability_bps=None,
        verified=False,
    )


def page(*gpus: Gpu) -> str:
    return GpuPage(items=list(gpus), next_cursor=None).model_dump_json()


def show(ask: Run, canned: Canned, text: str, *gpus: Gpu) -> Any:
    canned.say("/v1/gpus", page(*gpus))
    called = [gpu for gpu in gpus if gpu.listing.name == text]
    canned.say("/v1/gpus?where=name", page(*called))
    return ask("marketplace", "gpu", "show", text)


def assert_found(done: Any, wanted: Gpu) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["id", wanted.id]


def test_a_name_means_the_gpu_that_is_listed(ask: Run, canned: Canned) -> None:
    old, older, new = gpu(1, listed=False), gpu(2, listed=False), gpu(3, listed=True)
    assert_found(show(ask, canned, NAME, old, new), new)
    assert all(quote_plus(f"name={NAME}") in asked for asked in canned.asked)
    assert_found(show(ask, canned, NAME, old), old)
    assert_refused(show(ask, canned, NAME, old, older), USAGE, "fits more than one GPU")


def test_a_prefix_means_one_gpu(ask: Run, canned: Canned) -> None:
    one = gpu(1, listed=True)
    alike = (gpu(salt, listed=True) for salt in count(2))
    two = next(other for other in alike if other.id[:3] == one.id[:3] and other.id[3] != one.id[3])
    assert_found(show(ask, canned, two.id[:4].upper(), one, two), two)
    assert_refused(show(ask, canned, one.id[:3], one, two), USAGE, f"{one.id}, {two.id}")
    for text in (one.id[2:], "g-", "GPU\n", "x" * 97):
        assert_refused(show(ask, canned, text, one, two), FAILED, "there is no GPU")
    # What can be no name is not asked for: the coordinator would refuse it in other words.
    assert not [asked for asked in canned.asked if "%0A" in asked or "x" * 97 in asked]


def test_an_id_that_the_coordinator_finds_ambiguous_is_a_usage_error(
    ask: Run, canned: Canned
) -> None:
    problem = Problem(title="Conflict", status=409, code="ambiguous-id", detail="many")
    canned.say("/v1/bookings/b-4xr2", problem.model_dump_json(), 409)
    assert_refused(ask("booking", "show", "b-4xr2"), USAGE, "fits more than one booking")


def test_a_booking_is_chosen_among_known_ones() -> None:
    one, two = "0x" + "ab" * 32, "0xab" + "00" * 31
    assert choose_booking("0xABAB", [one, two]) == one
    with pytest.raises(InvalidInput, match="more than one booking"):
        choose_booking("0xab", [one, two])
    with pytest.raises(AitbcError, match="there is no booking"):
        choose_booking("0xcd", [one, two])


def booking(number: int, *, funded_at: int, starts_at: int) -> Booking:
    times = {"fund_by": starts_at, "starts_at": starts_at, "ends_at": starts_at + 60}
    tx = "0x" + "99" * 32
    funded = ChainReference(event="Funded", tx_hash=tx, block_number=1, timestamp=funded_at)
    return Booking.model_validate(
        {
            "id": f"0x{number:064x}",
            "short_id": "b-",
            "gpu_id": None,
            "status": "funded",
            "terms": OFFER.quote().terms.model_copy(update=times),
            **dict.fromkeys(("used_seconds", "earned", "paid", "fee", "refunded", "remaining"), 0),
            "transactions": [funded],
            "disputed_at": None,
            "settlement_tx": None,
        }
    )


def test_bookings_are_listed_newest_first(ask: Run, canned: Canned) -> None:
    newer = booking(1, funded_at=NOW + 9, starts_at=NOW + 100)
    older = booking(2, funded_at=NOW, starts_at=NOW + 200)
    page = BookingPage(items=[newer, older], next_cursor=None)
    canned.say("/v1/bookings", page.model_dump_json())
    for options, expected in (([], [newer, older]), (["--limit", "1"], [newer])):
        done = ask("booking", "list", *options, "--format", "json")
        assert [row["id"] for row in json.loads(done.stdout)] == [item.id for item in expected]
    asked = {role: len([a for a in canned.asked if role.value in a]) for role in Role}
    assert asked == {Role.BUYER: 2, Role.PROVIDER: 2, Role.ARBITER: 0}


def test_an_arbiter_lists_everybodys_disputes(ask: Run, newcomer: User, canned: Canned) -> None:
    market = OFFER.market.model_copy(update={"arbiter": OFFER.provider.address})
    save_profile(newcomer.home, Profile(market=market))
    page = BookingPage(items=[booking(1, funded_at=NOW, starts_at=NOW)], next_cursor=None)
    canned.say("/v1/bookings", page.model_dump_json())
    done = ask("booking", "list", "--as", "arbiter", "--format", "json")
    assert len(json.loads(done.stdout)) == 1
    (asked,) = canned.asked
    assert asked.partition("?")[2] == "status=disputed&limit=50"


def test_who_watches_is_told_when_the_arbiter_decides(
    ask: Run, canned: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = OFFER.quote().terms
    booking_id = terms.booking_id(OFFER.market.domain)
    stopped = terms.starts_at + 10
    seen = booking(1, funded_at=NOW, starts_at=NOW).model_copy(
        update={"id": booking_id, "terms": terms, "status": "disputed", "disputed_at": stopped}
    )
    resolved = seen.model_copy(update={"status": "resolved", "paid": 1})
    path = f"/v1/bookings/{booking_id}"
    canned.say(path, seen.model_dump_json())
    monkeypatch.setattr(
        "aitbc.cli.booking.time.sleep", lambda _: canned.say(path, resolved.model_dump_json())
    )
    done = ask("booking", "watch", booking_id)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    opens = stopped + OFFER.market.claim_window
    assert "disputed" in first
    assert (
        f"the arbiter decides from {Moment(opens)} until {Moment(opens + ARBITER_WINDOW)}" in first
    )
    assert "resolved" in last


def test_a_gpu_that_was_not_searched_for_is_refused(ask: Run, canned: Canned) -> None:
    canned.say("/v1/gpus", page(gpu(1, listed=True)))
    command = ("marketplace", "gpu", "list", "--where")
    assert_refused(ask(*command, "memory>24"), FAILED, "not what was searched for")
    assert_refused(ask(*command, "reliability>=0"), FAILED, "not what was searched for")
    assert ask(*command, "memory>=24 !verified").returncode == 0


def test_what_is_wanted_is_signed_with_the_highest_price(ask: Run, canned: Canned) -> None:
    why = NoMatch(searched=3, conditions=[], taken=2)
    told = {"detail": "2 GPUs match", "hint": "ask for another time", "no_match": why}
    refused = Problem(title="Conflict", status=409, code="no-match", **told)
    canned.say("/v1/quotes", refused.model_dump_json(), 409)
    wanted = ("--where", "price<0.000000000000000005 price<=0.1", "--duration", "1h")
    done = ask("marketplace", "quote", *wanted, "--max-price", "1", "--count", "3")
    assert_refused(done, FAILED, "2 GPUs match")
    (request,) = [json.loads(body)["request"] for body in canned.sent]
    assert (request["gpu_id"], request["count"], request["max_price"]) == ("", 3, "4")
    assert request["where"] == f"{wanted[1]} price<=1"
    few = refused.model_copy(update={"code": "too-few", "detail": "1 of the 3"})
    canned.say("/v1/quotes", few.model_dump_json(), 409)
    done = ask("marketplace", "quote", *wanted, "--format", "json")
    assert (done.returncode, json.loads(done.stderr)["code"]) == (FAILED, "too-few")


def test_a_search_goes_on_where_a_page_is_empty_but_not_for_ever(ask: Run, canned: Canned) -> None:
    empty = GpuPage(items=[], next_cursor="more").model_dump_json()
    canned.say("/v1/gpus", empty)
    found = GpuPage(items=[gpu(1, listed=True)], next_cursor=None).model_dump_json()
    canned.say("/v1/gpus?limit=200&cursor=more", found)
    command = ("marketplace", "gpu", "list", "--limit", "200", "--format", "json")
    assert len(json.loads(ask(*command).stdout)) == 1
    canned.say("/v1/gpus?limit=200&cursor=more", empty)
    canned.asked.clear()
    assert json.loads(ask(*command).stdout) == []
    assert len(canned.asked) == 25
