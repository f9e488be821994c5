"""The market's commands against a real coordinator and a real node."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from canned import Canned
from homes import newly_arrived

from aitbc.cli.filtering import advice, explanation, pointed
from aitbc.protocol.wire import Exclusion, NoMatch
from checks import CANCELLED, FAILED, NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from in_process import json_here, run_here
from local_market import LocalMarket, User

COIN = 10**17
GPU_KEYS = [
    "available",
    "base_price",
    "ceiling_price",
    "cuda_version",
    "floor_price",
    "free_from",
    "gpu_uuid",
    "id",
    "last_seen",
    "listed",
    "maintenance_from",
    "maintenance_until",
    "memory_gib",
    "model",
    "name",
    "price_per_hour",
    "provider",
    "reachable",
    "reachable_until",
    "region",
    "reliability",
    "strategy",
    "symbol",
    "verified",
    "version",
]


@pytest.fixture(scope="module")
def provider(live: LocalMarket) -> User:
    return newly_arrived(live, "provider")


@pytest.fixture(scope="module")
def buyer(live: LocalMarket) -> User:
    user = newly_arrived(live, "buyer")
    live.fund(user.address, COIN, 100 * 10**6)
    return user


@pytest.fixture(scope="module")
def gpu(provider: User) -> dict[str, Any]:
    return register(provider, "Shared")


def register(provider: User, name: str, *more: str) -> dict[str, Any]:
    hardware = ("--memory", "24", "--cuda-version", "12.1", "--base-price", "3.6")
    command = ("marketplace", "gpu", "register", "--name", name)
    made: dict[str, Any] = json_here(provider, *command, *hardware, *more)
    return made


def update(user: User, gpu_id: str, *changes: str, **env: str) -> Any:
    return run_here(user, "marketplace", "gpu", "update", "--gpu-id", gpu_id, *changes, **env)


def test_a_gpu_from_listing_to_unlisting(provider: User) -> None:
    gpu = register(provider, "One", "--region", "eu-north", "--strategy", "Utilization Guard")
    assert sorted(gpu) == GPU_KEYS
    assert (gpu["floor_price"], gpu["base_price"], gpu["ceiling_price"]) == ("1.8", "3.6", "7.2")
    assert (gpu["strategy"], gpu["version"], gpu["listed"]) == ("utilization-guard", 1, True)

    for wanted in (gpu["id"], gpu["id"][:6], "One"):
        assert json_here(provider, "marketplace", "gpu", "show", wanted)["id"] == gpu["id"]
    assert json_here(provider, "marketplace", "gpu", "show", "--gpu-id", "One")["factors"]

    done = update(provider, "One", "--base-price", "10", "--strategy", "peak-maximizer")
    assert done.returncode == 0, done.stderr
    assert "3.6 → 10" in done.stderr
    changed = json_here(provider, "marketplace", "gpu", "show", "One")
    assert (changed["floor_price"], changed["ceiling_price"]) == ("5", "20")
    assert (changed["version"], changed["strategy"]) == (2, "peak-maximizer")

    gone = json_here(provider, "marketplace", "gpu", "unregister", "--gpu-id", "One")
    assert gone["listed"] is False
    assert search(provider, "--region", "eu-north") == []
    assert gpu["id"] in search(provider, "--mine")
    time.sleep(1)  # a listing signed in the second of the unlisting does not undo it
    assert update(provider, gpu["id"], "--region", "eu-west").returncode == 0
    assert search(provider, "--region", "eu-west") == [gpu["id"]]


def test_several_alike_are_registered_once(provider: User) -> None:
    def rack(*more: str, count: int = 3) -> Any:
        hardware = ("--memory", "96", "--cuda-version", "12.4", "--base-price", "50")
        command = ("marketplace", "gpu", "register", "--name", "Rack", "--count", str(count))
        return run_here(provider, *command, *hardware, *more, "--format", "json")

    taken = register(provider, "Rack-2")["id"]
    refused = rack()
    assert refused.returncode == 2
    assert f"you list another GPU as 'Rack-2': {taken}" in refused.stderr
    assert search(provider, "--where", "memory=96") == []
    json_here(provider, "marketplace", "gpu", "unregister", "--gpu-id", taken)

    first = json.loads(rack(count=2).stdout)
    assert [gpu["name"] for gpu in first] == ["Rack-1", "Rack-2"]
    assert all(gpu["version"] == 1 for gpu in first)
    for before, maintenance in ((2, "+2h..+3h"), (3, "+2h..+4h")):
        done = rack("--maintenance", maintenance)
        found = json.loads(done.stdout)
        kept = ", ".join(f"{gpu['name']} ({gpu['id']})" for gpu in found[:before])
        assert f"keep the maintenance of then: {kept}\n" in done.stderr
        assert [gpu["name"] for gpu in found] == ["Rack-1", "Rack-2", "Rack-3"]
        assert [gpu["id"] for gpu in found[:2]] == [gpu["id"] for gpu in first]
        ids = {gpu["id"] for gpu in found}
        assert ids == set(search(provider, "--where", "memory=96"))
    assert rack("--gpu", "0").returncode == 2
    assert "maintenance" not in rack(count=2).stderr


def test_when_a_gpu_may_be_booked(provider: User, buyer: User) -> None:
    weekend = ("--available", "Sat-Sun 00:00-24:00", "--available", "mon 00:00-08:00")
    gpu = register(provider, "Weekend", "--region", "ap-northeast", *weekend)
    assert gpu["available"] == "sat 00:00-mon 08:00"
    assert register(provider, "Weekday", "--available", "tue 01:00-02:00")["available"]
    wednesday = datetime(2026, 1, 7, 12, tzinfo=UTC)
    while wednesday.timestamp() < time.time() + 86_400:
        wednesday += timedelta(days=7)
    start = wednesday.isoformat()
    asked = ("marketplace", "quote", "--gpu-id", gpu["id"], "--duration", "10m", "--start", start)
    refused = run_here(buyer, *asked)
    assert refused.returncode == 1
    assert "its provider does not offer GPU" in refused.stderr
    assert "on the clock of ap-northeast: sat 00:00-mon 08:00" in refused.stderr

    done = update(provider, "Weekend", "--available", "always", "--maintenance", "+2h..+5h")
    assert done.returncode == 0, done.stderr
    assert "sat 00:00-mon 08:00 → always" in done.stderr
    changed = json_here(provider, "marketplace", "gpu", "show", "Weekend")
    assert changed["maintenance_until"] - changed["maintenance_from"] == 3 * 3_600
    soon = (*asked[:-1], "+3h")
    assert "its provider does not offer GPU" in run_here(buyer, *soon).stderr
    assert update(provider, "Weekend", "--maintenance", "none").returncode == 0
    assert run_here(buyer, *soon).returncode == 0


def search(user: User, *filters: str) -> list[str]:
    return [gpu["id"] for gpu in json_here(user, "marketplace", "gpu", "list", *filters)]


def test_search(provider: User, gpu: dict[str, Any]) -> None:
    wanted = gpu["id"]
    for filters in (["--min-memory", "24"], ["--cuda", "12.1"], ["--max-price", "3.6"], []):
        assert wanted in search(provider, *filters)
    for filters in (["--min-memory", "25"], ["--cuda", "12.2"], ["--max-price", "0.01"]):
        assert wanted not in search(provider, *filters)
    assert len(search(provider, "--limit", "1")) == 1
    table = provider.run("marketplace", "gpu", "list")
    assert wanted in table.stdout
    assert "TUSD/H NOW" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gpu", "list", "--region", "atlantis"], "unknown region"),
        (["gpu", "list", "--cuda", "twelve"], "--cuda: 'twelve'"),
        (["gpu", "list", "--max-price", "-1"], "--max-price"),
        (["gpu", "list", "--model", '"'], "--model"),
        (["gpu", "list", "--where", ""], "--where: expected a condition"),
        (["gpu", "list", "--where", "!verified " * 32, "--cuda", "12"], "at most 32 conditions"),
        (["quote", "--duration", "5s"], "--where"),
        (["quote", "--gpu-id", "Shared", "--where", "memory>=24", "--duration", "5s"], "--gpu-id"),
        (["quote", "--where", "memory>=24 vram>8", "--duration", "5s"], "unknown field 'vram'"),
        (["gpu", "update", "--gpu-id", "Shared"], "nothing to change"),
        (["gpu", "update", "--gpu-id", "Shared", "--strategy", "x"], "unknown strategy"),
        (["gpu", "update", "--gpu-id", "Shared", "--floor-price", "4"], "between the floor"),
        (["gpu", "update", "--gpu-id", "Shared", "--name", "\x1b[2J"], "--name"),
        (["gpu", "update", "--gpu-id", "Shared", "--available", "mon"], "'mon' is no window"),
        (["gpu", "update", "--gpu-id", "Shared", "--maintenance", "+2h"], "START..END"),
        (["gpu", "update", "--gpu-id", "Shared", "--maintenance", "+2h..+1h"], "ends before"),
        (["gpu", "update", "--gpu-id", "Shared", "--maintenance", "+2h..+367d"], "than 366 days"),
        (["gpu", "show"], "which GPU"),
        (["book"], "--duration"),
        (["book", "--duration", "forever"], "not a duration"),
        (["book", "--duration", "5s", "--start", "yesterday"], "not a time"),
        (["book", "--quote", "q-aaaaaaaaaa"], "keeps no quote"),
        (["book", "--quote", "q-aaaaaaaaaa", "--gpu-id", "Shared"], "leave the other"),
        (["book", "--gpu-id", "Shared", "--duration", "5s", "--region", "us-west"], "names one"),
        (["book", "--gpu-id", "Shared", "--duration", "5s", "--where", "verified"], "names one"),
        (["quote", "--gpu-id", "Shared", "--duration", "5s", "--count", "2"], "names one"),
        (["quote", "--where", "verified", "--duration", "5s", "--count", "65"], "--count"),
        (["book", "--quote", "q-aaaaaaaaaa", "--count", "2"], "leave the other"),
        (["book", "--quote", "q-aaaaaaaaaa", "--where", "verified"], "leave the other"),
    ],
    ids=" ".join,
)
def test_bad_input_changes_nothing(
    provider: User, gpu: dict[str, Any], arguments: list[str], says: str
) -> None:
    before = fingerprint(provider.home)
    done = run_here(provider, "marketplace", *arguments)
    assert done.returncode == USAGE, done.stderr
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert fingerprint(provider.home) == before


def test_only_one_s_own_honest_listing_is_changed(
    live: LocalMarket, provider: User, buyer: User, gpu: dict[str, Any], canned: Canned
) -> None:
    refused = update(buyer, gpu["id"], "--base-price", "1")
    assert_refused(refused, NOT_AUTHORISED, "is not yours")

    answer = provider_view(live, gpu["id"])
    path = f"/v1/gpus/{gpu['id']}"
    altered = json.loads(json.dumps(answer))
    altered["listing"]["floor_price"] = "1"
    canned.say(path, json.dumps(altered))
    liar = {"AITBC_COORDINATOR_URL": canned.url}
    refused = update(provider, gpu["id"], "--base-price", "4", **liar)
    assert_refused(refused, FAILED, "signer of the listing")

    assert update(provider, gpu["id"], "--base-price", "4").returncode == 0
    canned.say(path, json.dumps(answer))
    refused = update(provider, gpu["id"], "--base-price", "5", **liar)
    assert_refused(refused, FAILED, "you signed version 2")
    assert [asked for asked in canned.asked if asked != path] == []


def provider_view(live: LocalMarket, gpu_id: str) -> dict[str, Any]:
    import httpx

    answer: dict[str, Any] = httpx.get(f"{live.coordinator_url}/v1/gpus/{gpu_id}").json()
    return answer


def test_from_quote_to_cancellation(live: LocalMarket, provider: User, buyer: User) -> None:
    gpu = register(provider, "Booked", "--region", "sa-east")
    quote = buyer.json(
        "marketplace", "quote", "--gpu-id", gpu["id"], "--duration", "10s", "--start", "+10m"
    )
    assert quote["ends_at"] - quote["starts_at"] == quote["duration_seconds"] == 10
    assert quote["factors"][0]["factor"] == "level"
    saved = buyer.home / "quote.json"
    saved.write_text(json.dumps(quote))
    for named in (quote["id"], str(saved)):
        explained = buyer.json("marketplace", "price", "explain", named)
        assert explained["verified"] is True
        assert explained["steps"][-1]["result"] == quote["amount"]
    before = live.money_of(buyer.address)
    booked = buyer.json("marketplace", "book", "--quote", quote["id"], "--yes")
    assert (booked["id"], booked["amount"]) == (quote["booking_id"], quote["amount"])
    paid = before - live.money_of(buyer.address)
    assert paid == live.money_of(live.escrow) > 0
    again = run_here(buyer, "marketplace", "book", "--quote", quote["id"], "--yes")
    assert_refused(again, FAILED, "paid already")

    watched = buyer.start("booking", "watch", booked["short_id"], "--format", "json")
    watched.wait_for('"status": "funded"')
    shown = buyer.json("booking", "show", booked["short_id"])
    assert (shown["status"], shown["fund_tx"]) == ("funded", booked["tx"])
    on_chain = shown["on_chain"]
    assert (on_chain["state"], on_chain["remaining"]) == ("open", booked["amount"])
    assert on_chain["disputed_at"] is None
    assert [b["id"] for b in json_here(buyer, "booking", "list", "--as", "buyer")] == [booked["id"]]
    assert json_here(buyer, "booking", "list", "--as", "provider") == []
    status = json_here(provider, "marketplace", "status", "--gpu-id", "Booked")
    assert [b["id"] for b in status["upcoming"]] == [booked["id"]]
    assert gpu["id"] in [g["id"] for g in json_here(provider, "marketplace", "status")]

    gone = buyer.json("booking", "cancel", booked["short_id"], "--yes")
    assert gone["refunded"] == booked["amount"]
    assert live.money_of(buyer.address) == before
    assert watched.wait() == 0
    assert [json.loads(line)["status"] for line in watched.lines][-1] == "cancelled"
    earned = json_here(provider, "marketplace", "earnings", "--gpu-id", "Booked")
    assert (earned["bookings"], earned["paid"], earned["pending"]) == (1, "0", "0")
    assert gpu["id"] in [g["id"] for g in json_here(provider, "marketplace", "earnings")]


def test_the_cheapest_that_fits_is_booked(provider: User, buyer: User) -> None:
    register(provider, "Dear", "--region", "af-south", "--base-price", "7.2")
    cheap = register(provider, "Cheap", "--region", "af-south")
    wish = ("marketplace", "book", "--region", "af-south", "--duration", "5s", "--start", "+1h")
    done = buyer.run(*wish, stdin="n\n")
    assert done.returncode == 3, done.stderr
    assert cheap["id"] in done.stderr
    assert "Lock 0.005" in done.stderr
    nothing = run_here(buyer, *wish, "--min-memory", "1000")
    assert_refused(nothing, FAILED, "no GPU fits")
    assert "hint: without memory>=1000, 2 of" in nothing.stderr
    dear = run_here(buyer, *wish, "--max-price", "0.01")
    assert_refused(dear, FAILED, "no GPU fits")


def test_what_is_wrong_with_an_expression_is_pointed_at(provider: User) -> None:
    wanted = "memory>=24 region in us-west,moon"
    command = ("marketplace", "gpu", "list", "--where", wanted)
    done = provider.run(*command)
    assert_refused(done, USAGE, "--where: unknown region 'moon'")
    shown, mark, hint = done.stderr.splitlines()[1:]
    assert shown == f"  {wanted}"
    assert mark == " " * (2 + wanted.index("moon")) + "^"
    assert hint.startswith("hint: fields: id, name, model, ")
    assert hint.endswith("operators: = != < <= > >= ~ in")

    done = run_here(provider, *command, "--format", "json")
    report = json.loads(done.stderr)
    assert (report["code"], report["expression"]) == ("invalid-where", wanted)
    assert report["position"] == wanted.index("moon")


@pytest.mark.parametrize(
    ("text", "position", "shown"),
    [
        ("ab\ncd", 3, "  ab cd\n     ^"),
        ("\x1b[2J", 0, "  \ufffd[2J\n  ^"),
        ("漢字", 1, "  漢字\n    ^"),
        ("", 0, "  \n  ^"),
        ("x" * 200, 100, "  …" + "x" * 120 + "…\n" + " " * 63 + "^"),
        ("x" * 100, 100, "  …" + "x" * 60 + "\n" + " " * 63 + "^"),
    ],
)
def test_the_mark_stands_under_its_character(text: str, position: int, shown: str) -> None:
    assert pointed(text, position) == shown


def test_a_search_by_an_expression(provider: User) -> None:
    register(provider, "Whole Name", "--region", "me-central", "--model", "NVIDIA A100-80G")
    register(provider, "Other", "--region", "ca-central", "--base-price", "36")
    for where, found in (
        ("region in me-central,ca-central", 2),
        ('model~"a100" region in me-central,ca-central', 1),
        ('name="Whole Name"', 1),
        ("region=me-central price<=3.6", 1),
        ("region in me-central,ca-central price>5 !verified", 1),
        (f"provider={provider.address} region=ca-central", 1),
    ):
        assert len(search(provider, "--where", where)) == found, where
    both = ("--where", "region in me-central,ca-central", "--max-price", "5")
    assert len(search(provider, *both)) == 1


def test_where_nothing_matches_it_is_shown_what_excludes_how_many(
    provider: User, buyer: User
) -> None:
    register(provider, "Alone", "--region", "ap-south")
    wanted = "region=ap-south memory>=48 price<9"
    done = run_here(provider, "marketplace", "gpu", "list", "--where", wanted)
    assert (done.returncode, done.stdout) == (0, "")
    said, heading, *rows, hint = done.stderr.splitlines()
    assert said == "no GPU matches"
    assert heading.split() == ["CONDITION", "EXCLUDES", "ALONE"]
    counts = {row.split()[0]: row.split()[1:] for row in rows}
    assert list(counts) == wanted.split()
    assert counts["memory>=48"][1] == "1"
    assert counts["region=ap-south"][1] == "0"
    assert hint.startswith("hint: without memory>=48, 1 of ")

    booked = ("marketplace", "book", "--where", wanted, "--duration", "5s", "--format", "json")
    done = run_here(buyer, *booked)
    report = json.loads(done.stderr)
    assert (done.returncode, report["code"]) == (FAILED, "no-match")
    assert [one["condition"] for one in report["no_match"]["conditions"]] == wanted.split()
    assert json_here(provider, "marketplace", "gpu", "list", "--where", wanted) == []


def test_advice_is_about_what_excludes_most_alone() -> None:
    def why(*alone: int | None) -> NoMatch:
        counted = [Exclusion(condition=f"c{i}", excluded=n, alone=n) for i, n in enumerate(alone)]
        return NoMatch(searched=9, conditions=counted)

    assert advice(why(1, 3, None)) == "without c1, 3 of 9 GPUs would match"
    assert "more than one condition" in advice(why(0, None))
    assert "not counted" in explanation(why(0, None))
    assert "no GPU is listed" in advice(NoMatch(searched=0, conditions=why(0).conditions))
    assert "gpu list" in advice(None)


def test_the_best_that_an_expression_finds_is_quoted(provider: User, buyer: User) -> None:
    register(provider, "Dearest", "--region", "au-southeast", "--base-price", "36")
    dear = register(provider, "Dearer", "--region", "au-southeast", "--base-price", "7.2")
    cheap = register(provider, "Cheaper", "--region", "au-southeast")
    ask = ("marketplace", "quote", "--duration", "5s", "--start", "+1h", "--where")
    quote = json_here(buyer, *ask, "region=au-southeast")
    assert quote["gpu_id"] == cheap["id"]
    quote = json_here(buyer, *ask, "region=au-southeast price>5")
    assert quote["gpu_id"] == dear["id"]
    done = buyer.run("marketplace", "book", "--quote", quote["id"], stdin="n\n")
    assert done.returncode == CANCELLED, done.stderr
    book = ("marketplace", "book", "--duration", "5s", "--start", "+2h", "--where")
    done = buyer.run(*book, "region=au-southeast price>5 price<10", stdin="n\n")
    assert dear["id"] in done.stderr
