"""`aitbc marketplace price` against a coordinator that says what it is given to say."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from canned import Canned
from offers import HOUR, NOW, Offer

from aitbc.profile import Profile, save_profile
from aitbc.protocol.pricing import NO_HOUR
from aitbc.protocol.units import format_amount
from aitbc.protocol.wire import Gpu, RegionHour, RegionHourPage, SignedQuote
from aitbc.records import HeldQuote
from checks import FAILED, USAGE, assert_refused
from in_process import run_here
from local_market import User
from wallets import give_wallet

Run = Callable[..., Any]
OFFER = Offer()
QUOTE = OFFER.quote()
HOURS = "/v1/market/hours"
EXPLAIN = ("marketplace", "price", "explain")
SIMULATE = ("marketplace", "price", "simulate")
SUGGEST = ("marketplace", "price", "suggest")


@pytest.fixture
def ask(newcomer: User, canned: Canned) -> Run:
    """Runs the program for a user with a market, and no driver for GPUs."""
    save_profile(newcomer.home, Profile(market=OFFER.market))
    give_wallet(newcomer.home / "keystore", newcomer.passphrase_file, account=OFFER.buyer)
    publish(canned, published())
    return lambda *args: run_here(newcomer, *args, AITBC_COORDINATOR_URL=canned.url)


def published(**changes: Any) -> list[RegionHour]:
    """The hour that QUOTE rests on and the hour before, newest first."""
    fields = {"region": "us-west", **HOUR.model_dump()}
    newest = {"utilisation_bps": HOUR.utilisation_bps, "level_bps": HOUR.level_bps, **changes}
    before = {"starts_at": NOW - 3_600, "level_before_bps": 10_200, "utilisation_bps": 9_000}
    before |= {"level_bps": HOUR.level_before_bps, "booked": 9}
    return [RegionHour(**{**fields, **more}) for more in (newest, before)]


def publish(canned: Canned, hours: list[RegionHour]) -> None:
    canned.say(HOURS, RegionHourPage(items=hours, next_cursor=None).model_dump_json())


def explain(ask: Run, canned: Canned, signed: SignedQuote) -> Any:
    canned.say(f"/v1/quotes/{signed.id}", signed.model_dump_json())
    return ask(*EXPLAIN, signed.id, "--format", "json")


def test_a_quote_is_explained_step_by_step(ask: Run, canned: Canned) -> None:
    done = explain(ask, canned, QUOTE)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["verified"] is True
    assert said["differences"] == []
    assert said["market_hour"]["level_percent"] == "102"
    steps = [(step["step"], step["change"], step["result"]) for step in said["steps"]]
    assert steps == [
        ("base price", None, "0.036"),
        ("level", "+0.00144", "0.03744"),
        ("demand", "-0.00072", "0.03672"),
        ("price per hour", None, "0.03672"),
        ("amount", None, "0.03672"),
    ]
    assert said["amount"] == format_amount(QUOTE.terms.amount, 18)
    asked = f"{HOURS}?region=us-west&from=0&until={NOW}&limit=2"
    assert canned.asked == [f"/v1/quotes/{QUOTE.id}", asked]


def test_people_see_a_table(ask: Run, canned: Canned) -> None:
    canned.say(f"/v1/quotes/{QUOTE.id}", QUOTE.model_dump_json())
    done = ask(*EXPLAIN, QUOTE.id)
    assert done.returncode == 0, done.stderr
    assert "5 of 10 GPUs in us-west (50 %) were booked; the target is 70 %" in done.stdout
    assert "differences" not in done.stdout


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"amount": QUOTE.terms.amount + 1}, "amount"),
        ({"inputs": {"floor_price": 1}}, "floor_price of the price"),
        ({"inputs": {"strategy": "peak-maximizer"}}, "strategy of the price"),
        ({"inputs": {"version": 1}}, "version of the price rules"),
        ({"inputs": {"starts_at": NOW}}, "start in the price"),
        ({"listing": "0x" + "22" * 32}, "listing"),
    ],
    ids=str,
)
def test_what_differs_is_named(
    ask: Run, canned: Canned, changes: dict[str, Any], says: str
) -> None:
    done = explain(ask, canned, OFFER.quote(**changes))
    assert done.returncode == FAILED
    said = json.loads(done.stdout)
    assert said["verified"] is False
    assert says in [difference["what"] for difference in said["differences"]]
    assert says in json.loads(done.stderr)["error"]


def test_altered_factors_and_signatures_are_named(ask: Run, canned: Canned) -> None:
    document = QUOTE.model_dump(mode="json")
    document["price"]["factors"][0]["reason"] = "because"
    document["signature"] = "0x" + "11" * 65
    done = explain(ask, canned, SignedQuote.model_validate(document))
    assert done.returncode == FAILED
    assert [d["what"] for d in json.loads(done.stdout)["differences"]] == ["factors", "attester"]


@pytest.mark.parametrize(
    ("hours", "says"),
    [
        ([], "listed of the hour"),
        (published(booked=6), "booked of the hour"),
        (published(level_bps=10_250), "level_bps of the hour"),
        (published(starts_at=NOW - 3_600), "starts_at of the hour"),
        (published(region="us-east"), "region of the hour"),
        (published()[:1], "level after the hour before"),
        ([published()[0], published(level_bps=10_300)[0]], "level after the hour before"),
    ],
    ids=str,
)
def test_an_hour_that_is_not_the_published_one_is_named(
    ask: Run, canned: Canned, hours: list[RegionHour], says: str
) -> None:
    publish(canned, hours)
    done = explain(ask, canned, QUOTE)
    assert done.returncode == FAILED
    assert says in json.loads(done.stderr)["error"]


def test_a_price_without_a_recorded_hour_needs_none(ask: Run, canned: Canned) -> None:
    publish(canned, [])
    done = explain(ask, canned, OFFER.quote(inputs={"hour": NO_HOUR}))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["market_hour"] is None


def test_another_quote_than_asked_for_is_not_explained(ask: Run, canned: Canned) -> None:
    other = OFFER.quote(salt=100)
    canned.say(f"/v1/quotes/{QUOTE.id}", other.model_dump_json())
    assert_refused(ask(*EXPLAIN, QUOTE.id), FAILED, f"answers with {other.id}")


def test_a_rule_that_does_not_exist_explains_nothing(ask: Run, canned: Canned) -> None:
    document = QUOTE.model_dump(mode="json")
    document["inputs"]["strategy"] = "get-rich"
    done = explain(ask, canned, SignedQuote.model_validate(document))
    assert done.returncode == FAILED
    assert json.loads(done.stdout)["steps"] == []
    assert "price rule" in json.loads(done.stderr)["error"]


SAVED: list[Any] = [
    QUOTE.model_dump(mode="json"),
    {"id": QUOTE.id, "signed": QUOTE.model_dump(mode="json")},
    HeldQuote(domain=OFFER.market.domain, request=OFFER.request, quote=QUOTE).model_dump(
        mode="json"
    ),
]


@pytest.mark.parametrize("document", SAVED, ids=["answer", "printed", "kept"])
def test_a_saved_quote_is_explained_without_anybody(
    ask: Run, canned: Canned, tmp_path: Path, document: Any
) -> None:
    file = tmp_path / "quote.json"
    file.write_text(json.dumps(document))
    done = ask(*EXPLAIN, str(file), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"] is True
    assert canned.asked == []
    file.write_text(json.dumps(document).replace(QUOTE.signature, "0x" + "11" * 65))
    assert "attester" in ask(*EXPLAIN, str(file)).stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "it is not JSON"),
        ("[]", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("{}", "Field required"),
        ('{"signed": 1}', "quote: Input should be"),
        (json.dumps(QUOTE.model_dump(mode="json") | {"more": 1}), "more"),
        (" " * (1024 * 1024) + "{}", "it is not JSON"),
    ],
    ids=["empty", "list", "deep", "nothing", "number", "more", "long"],
)
def test_a_file_without_a_quote(ask: Run, tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "quote.json"
    file.write_text(content)
    done = ask(*EXPLAIN, str(file))
    assert_refused(done, USAGE, "holds no quote")
    assert says in done.stderr


@pytest.mark.parametrize("text", ["q-1", "nowhere.json", "/", "", "q-5d0x8m2kqa\n"])
def test_what_names_no_quote(ask: Run, text: str) -> None:
    assert_refused(ask(*EXPLAIN, text), USAGE, "neither a quote's id")


def test_a_day_is_simulated_for_every_strategy(ask: Run, canned: Canned) -> None:
    publish(canned, [])
    done = ask(*SIMULATE, "--base-price", "0.05", "--region", "us-west", "--format", "json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["floor_price"], said["ceiling_price"]) == ("0.025", "0.1")
    assert "no hour of us-west has been recorded" in said["demand"]
    assert "idle from midnight" in said["idleness"]
    assert {hour["market_balance"] for hour in said["hours"]} == {"0.05"}
    nine = next(hour for hour in said["hours"] if hour["clock"].startswith("09:00"))
    assert (nine["utilisation_percent"], nine["peak_maximizer"]) == ("70", "0.072")
    assert said["hours"][0]["utilization_guard"] == "0.05"
    assert set(said["mean_price"]) == {"market_balance", "peak_maximizer", "utilization_guard"}
    first = datetime.fromtimestamp(said["hours"][0]["starts_at"], UTC)
    assert first > datetime.now(UTC)


def test_a_simulation_rests_on_published_hours(ask: Run, canned: Canned) -> None:
    this_hour = int(time.time()) // 3_600 * 3_600
    publish(canned, [published(starts_at=this_hour, booked=10)[0]])
    done = ask(*SIMULATE, "--base-price", "0.05", "--strategy", "Market Balance")
    assert done.returncode == 0, done.stderr
    assert "the mean of 1 recorded hours" in done.stdout
    assert "█" in done.stdout
    assert "peak maximizer" not in done.stdout
    (asked,) = canned.asked
    assert asked.startswith(f"{HOURS}?region=global&from=")


def test_a_listed_gpu_is_simulated_as_it_is_listed(ask: Run, canned: Canned) -> None:
    listing, price = OFFER.listing, QUOTE.price
    gpu = Gpu(
        id=QUOTE.gpu_id,
        listing=listing,
        signature=QUOTE.gpu.signature,
        digest=QUOTE.terms.listing,
        listed=True,
        current_price=price,
        free_from=NOW,
        last_seen=None,
        reachable_until=NOW,
        reliability_bps=None,
        verified=False,
    )
    canned.say(f"/v1/gpus/{gpu.id}", gpu.model_dump_json())
    chosen = ("--gpu-id", gpu.id, "--ceiling", "0.04", "--format", "json")
    said = json.loads(ask(*SIMULATE, *chosen).stdout)
    assert [said[k] for k in ("region", "base_price", "floor_price", "ceiling_price")] == [
        *("us-west", "0.036", "0.018", "0.04"),
    ]
    said = json.loads(
        ask(*SUGGEST, "--kwh", "0.1", "--watts", "100", *chosen[:2], "--format=json").stdout
    )
    assert (said["floor_price"], said["present_floor_price"]) == ("0.013", "0.018")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (SIMULATE, "--base-price"),
        ((*SIMULATE, "--base-price", "0"), "between the floor"),
        ((*SIMULATE, "--base-price", "1", "--floor", "2"), "between the floor"),
        ((*SIMULATE, "--base-price", "1", "--ceiling", "0.5"), "between the floor"),
        ((*SIMULATE, "--base-price", "1", "--floor", "0"), "above 0"),
        ((*SIMULATE, "--base-price", "x"), "not an amount"),
        ((*SIMULATE, "--base-price", "1", "--region", "moon"), "unknown region"),
        ((*SIMULATE, "--base-price", "1", "--strategy", "luck"), "unknown strategy"),
        ((*SIMULATE, "--base-price", "1", "--strategy", ""), "unknown strategy"),
        ((*SIMULATE, "--base-price", "1", "--region", ""), "unknown region"),
        (SUGGEST, "--kwh"),
        ((*SUGGEST, "--kwh", "-1"), "not an amount"),
        ((*SUGGEST, "--kwh", "1", "--watts", "0"), "--watts"),
        ((*SUGGEST, "--kwh", "1", "--overhead", "-1"), "--overhead"),
        ((*SUGGEST, "--kwh", "1", "--watts", "1", "--gpu", "0"), "leave --gpu out"),
        ((*SUGGEST, "--kwh", "1"), "--watts N"),
    ],
    ids=" ".join,
)
def test_bad_input(ask: Run, arguments: tuple[str, ...], says: str) -> None:
    done = ask(*arguments)
    assert_refused(done, USAGE, "")
    assert says in done.stderr


def test_a_coordinator_s_nonsense_is_refused(ask: Run, canned: Canned) -> None:
    hour = published()[0].model_dump() | {"booked": 11}
    canned.say(HOURS, json.dumps({"items": [hour], "next_cursor": None}))
    assert_refused(ask(*SIMULATE, "--base-price", "1", "--region", "us-west"), FAILED, "cannot use")


def test_a_floor_comes_with_its_arithmetic(ask: Run) -> None:
    done = ask(*SUGGEST, "--kwh", "0.30", "--watts", "450")
    assert done.returncode == 0, done.stderr
    assert "450 W / 1000 * 0.30 per kWh * 1.3, rounded up to a base unit" in done.stdout
    assert "0.1755" in done.stdout
    assert "gpu register --floor-price 0.1755" in done.stderr
