"""Many buyers at once: each GPU is promised once, and whoever gets none is told so.

One process on SQLite, four on PostgreSQL, as operators run them.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, pairwise

import httpx
import pytest
from fastapi.testclient import TestClient
from servers import serving, serving_in_processes
from signed import NOW, Wallet, listing, quote_request

from aitbc.protocol import wire
from aitbc_coordinator.api.app import create_app
from aitbc_coordinator.context import Context
from aitbc_coordinator.settings import Settings

GPUS = 10
CLIENTS = 64
REQUESTS = 1_000
OVERLAPPING = 400
PROCESSES = 4
SEED = 7
SHARE_NAMED = 0.5
"""Of the requests: so many name a GPU, and the others take any."""
REFUSALS = {"no-match", "too-few", "taken"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    unlimited = {"address_requests_per_minute": 0, "wallet_requests_per_minute": 0}
    return settings.model_copy(update=unlimited)


@contextmanager
def replicas(context: Context) -> Iterator[list[int]]:
    if context.database.engine.dialect.name == "postgresql":
        with serving_in_processes(context, PROCESSES) as ports:
            yield ports
    else:
        with serving(create_app(replace(context), checks=dict, alerts=list)) as port:
            yield [port]


@pytest.fixture
def gpu_ids(client: TestClient, wallet: Callable[[], Wallet]) -> list[str]:
    provider, made = wallet(), []
    for salt in range(GPUS):
        body = listing(provider, salt=salt, name=f"gpu-{salt}", base_price=36_000 + salt)
        made.append(client.post("/v1/gpus", json=body.model_dump(mode="json")).json()["id"])
    return made


def send(ports: list[int], bodies: Sequence[str]) -> list[httpx.Response]:
    """What each request is answered with, when this many clients send them at once."""
    urls = [f"http://127.0.0.1:{port}/v1/quotes" for port in ports]
    turns = list(zip(bodies, cycle(urls)))
    heads = {"Content-Type": "application/json"}

    def one_client(number: int) -> list[httpx.Response]:
        with httpx.Client(timeout=120) as client:
            return [
                client.post(url, content=body, headers=heads)
                for body, url in turns[number::CLIENTS]
            ]

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [answer for answers in pool.map(one_client, range(CLIENTS)) for answer in answers]


def check_answers(answers: Sequence[httpx.Response]) -> list[wire.SignedQuote]:
    """The quotes, where every answer is one or a clean refusal, and no GPU is promised twice."""
    quotes: list[wire.SignedQuote] = []
    for answer in answers:
        if answer.status_code == 201:
            quotes += wire.SignedQuotes.model_validate_json(answer.content).items
            continue
        assert answer.status_code == 409, answer.text
        assert wire.Problem.model_validate_json(answer.content).code in REFUSALS, answer.text
    promised = defaultdict(list)
    for quote in quotes:
        promised[quote.gpu_id].append((quote.terms.starts_at, quote.terms.ends_at))
    for spans in promised.values():
        spans.sort()
        for (_, ends_at), (starts_at, _) in pairwise(spans):
            assert ends_at <= starts_at
    return quotes


@pytest.mark.parametrize(("count", "requests"), [(1, REQUESTS), (3, REQUESTS // 5)])
def test_as_many_get_a_gpu_in_one_slot_as_there_are(
    context: Context, wallet: Callable[[], Wallet], gpu_ids: list[str], count: int, requests: int
) -> None:
    buyers = [wallet() for _ in range(CLIENTS)]
    bodies = [
        quote_request(
            buyers[number % CLIENTS], "", salt=number * count, starts_at=NOW + 3600, count=count
        ).model_dump_json()
        for number in range(requests)
    ]
    with replicas(context) as ports:
        answers = send(ports, bodies)
    quotes = check_answers(answers)
    assert len(quotes) == GPUS // count * count
    assert Counter(quote.gpu_id for quote in quotes).most_common(1)[0][1] == 1
    assert {quote.gpu_id for quote in quotes} <= set(gpu_ids)


def test_no_gpu_is_promised_twice_at_overlapping_times(
    context: Context, wallet: Callable[[], Wallet], gpu_ids: list[str]
) -> None:
    chance = random.Random(SEED)
    buyers = [wallet() for _ in range(CLIENTS)]
    bodies = []
    for number in range(OVERLAPPING):
        # Some name a GPU, some take any, some want several.
        named = chance.random() < SHARE_NAMED
        changes = {
            "starts_at": NOW + 3600 + chance.randrange(50_000),
            "duration": chance.randrange(60, 20_000),
            "count": 1 if named else chance.choice((1, 1, 2, 5)),
        }
        gpu_id = chance.choice(gpu_ids) if named else ""
        request = quote_request(buyers[number % CLIENTS], gpu_id, salt=number * 5, **changes)
        bodies.append(request.model_dump_json())
    with replicas(context) as ports:
        quotes = check_answers(send(ports, bodies))
    assert len(quotes) > GPUS
