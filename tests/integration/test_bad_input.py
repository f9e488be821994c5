"""Bad input gets one line that says what to do next, its exit code, and changes nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from lying import lying_coordinator
from people import Buyer, Provider, listing, sign

from aitbc.errors import CoordinatorError
from aitbc.protocol.wire import SignedListing
from checks import FAILED, NOT_AUTHORISED, USAGE, assert_refused, fingerprint
from in_process import run_here
from local_market import LocalMarket, Node, User, write_secret

NOT_ASKED_FOR = "quote is not what was asked for"
NOWHERE = "http://127.0.0.1:9"
REGISTER = ("marketplace", "gpu", "register", "--name", "Bad")
GOOD_FLAGS = {"--memory": "24", "--cuda-version": "12.1", "--base-price": "0.05"}


@pytest.fixture(scope="module")
def gpu_id(provider: User) -> str:
    flags = [part for flag in GOOD_FLAGS.items() for part in flag]
    name = "Well-Listed"
    gpu = provider.json("marketplace", "gpu", "register", "--name", name, *flags)
    return str(gpu["id"])


class Unchanged:
    """The user's files, wallet and listings are after the block as they were before it."""

    def __init__(self, market: LocalMarket, user: User) -> None:
        self.market, self.user = market, user
        self.address = user.address if (user.home / "config.toml").exists() else None

    def state(self) -> tuple[Any, ...]:
        market, web3 = self.market, self.market.node.web3
        listings = Provider(market).coordinator.gpus(provider=self.address, limit=200)
        if self.address is None:
            return (fingerprint(self.user.home),)
        return (
            fingerprint(self.user.home),
            web3.eth.get_transaction_count(web3.to_checksum_address(self.address)),
            market.money_of(self.address),
            [(gpu.id, gpu.digest, gpu.listed) for gpu in listings.items],
        )

    def __enter__(self) -> None:
        self.before = self.state()

    def __exit__(self, *_: object) -> None:
        assert self.state() == self.before


def refused(user: User, *args: str, code: int, says: str, **env: str) -> None:
    """The installed program exits with `code` and one short error that contains `says`."""
    assert_refused(user.run(*args, **env), code, says)


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--base-price", "-0.05", "not an amount"),
        ("--base-price", "0." + "0" * 29 + "1", "30 decimals"),
        ("--base-price", "0", "base"),
        ("--base-price", "1e3", "not an amount"),
        ("--memory", "0", "memory"),
        ("--memory", "lots", "memory"),
        ("--cuda-version", "12", "CUDA"),
        ("--cuda-version", "12.1.1", "CUDA"),
        ("--region", "atlantis", "unknown region"),
        ("--strategy", "get-rich", "unknown strategy"),
    ],
)
def test_bad_listing(
    token_market: LocalMarket, provider: User, flag: str, value: str, says: str
) -> None:
    with Unchanged(token_market, provider):
        check_bad_listing(run_here(provider, *bad_listing(flag, value)), says)


def test_a_bad_listing_is_refused_by_the_installed_program(
    token_market: LocalMarket, provider: User
) -> None:
    with Unchanged(token_market, provider):
        check_bad_listing(provider.run(*bad_listing("--memory", "0")), "memory")


def bad_listing(flag: str, value: str) -> tuple[str, ...]:
    flags = (part for pair in {**GOOD_FLAGS, flag: value}.items() for part in pair)
    return (*REGISTER, *flags)


def check_bad_listing(done: CompletedProcess[str], says: str) -> None:
    assert done.returncode == USAGE, done.stderr
    assert done.stdout == ""
    assert says.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_wrong_passphrase(
    token_market: LocalMarket, provider: User, gpu_id: str, tmp_path: Path
) -> None:
    wrong = write_secret(tmp_path / "wrong")
    update = ("marketplace", "gpu", "update", "--gpu-id", gpu_id, "--base-price", "9")
    with Unchanged(token_market, provider):
        refused(
            provider,
            *update,
            code=NOT_AUTHORISED,
            says="wrong passphrase",
            AITBC_PASSPHRASE_FILE=str(wrong),
        )


def test_no_wallet(token_market: LocalMarket) -> None:
    nobody = token_market.user("nobody")
    flags = [part for flag in GOOD_FLAGS.items() for part in flag]
    done = nobody.run(*REGISTER, *flags)
    assert done.returncode == NOT_AUTHORISED, done.stderr
    assert "aitbc init" in done.stderr
    assert not nobody.home.exists() or not any(nobody.home.iterdir())


def test_coordinator_down(token_market: LocalMarket, provider: User) -> None:
    with Unchanged(token_market, provider):
        refused(
            provider,
            *("marketplace", "gpu", "list"),
            code=FAILED,
            says=NOWHERE,
            AITBC_COORDINATOR_URL=NOWHERE,
        )


def book(gpu_id: str, *more: str) -> tuple[str, ...]:
    return ("marketplace", "book", "--gpu-id", gpu_id, "--duration", "5s", "--yes", *more)


def test_node_down(token_market: LocalMarket, buyer: User, gpu_id: str) -> None:
    with Unchanged(token_market, buyer):
        refused(buyer, *book(gpu_id), code=FAILED, says="does not answer", AITBC_RPC_URL=NOWHERE)


@pytest.fixture(scope="module")
def other_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """An empty node on the market's chain id, and one on another."""
    folder = tmp_path_factory.mktemp("other-nodes")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    empty, foreign = Node(folder / "a"), Node(folder / "b", "--chain-id", "4242")
    yield empty, foreign
    empty.stop()
    foreign.stop()


def test_wrong_chain(
    token_market: LocalMarket, buyer: User, gpu_id: str, other_nodes: tuple[Node, Node]
) -> None:
    url = other_nodes[1].rpc_url
    with Unchanged(token_market, buyer):
        refused(buyer, *book(gpu_id), code=FAILED, says="4242", AITBC_RPC_URL=url)
        refused(buyer, "audit", "reconcile", code=FAILED, says="4242", AITBC_RPC_URL=url)


def test_escrow_without_code_or_with_other_code(
    token_market: LocalMarket, buyer: User, gpu_id: str, other_nodes: tuple[Node, Node]
) -> None:
    node = other_nodes[0]
    with Unchanged(token_market, buyer):
        refused(buyer, *book(gpu_id), code=FAILED, says="no contract", AITBC_RPC_URL=node.rpc_url)
        real = token_market.node.web3.eth.get_code(
            token_market.node.web3.to_checksum_address(token_market.escrow)
        )
        other = real[:200] + bytes([real[200] ^ 1]) + real[201:]
        node.web3.provider.make_request(
            "anvil_setCode",  # type: ignore[arg-type]  # anvil's own method
            [token_market.escrow, "0x" + other.hex()],
        )
        refused(
            buyer, *book(gpu_id), code=FAILED, says="not the escrow", AITBC_RPC_URL=node.rpc_url
        )


def test_insufficient_balance(
    token_market: LocalMarket, newcomer: Callable[[str], User], gpu_id: str
) -> None:
    poor = newcomer("poor")
    token_market.node.give_coin(poor.address, 10**17)
    with Unchanged(token_market, poor):
        done = poor.run(*book(gpu_id))
    assert done.returncode == FAILED
    assert "balance" in done.stderr or "not enough" in done.stderr


def test_insufficient_allowance(
    token_market: LocalMarket, newcomer: Callable[[str], User], gpu_id: str
) -> None:
    wary = newcomer("wary")
    token_market.fund(wary.address, 10**17, 10**6)
    with Unchanged(token_market, wary):
        done = wary.run(*book(gpu_id, "--pay-by", "allowance", "--no-approve"))
    assert done.returncode == FAILED
    assert "allowance" in done.stderr


def test_expired_quote(token_market: LocalMarket, buyer: User, gpu_id: str) -> None:
    quote = buyer.json("marketplace", "quote", "--gpu-id", gpu_id, "--duration", "5s")
    time.sleep(max(0, quote["expires_at"] + 1 - time.time()))
    with Unchanged(token_market, buyer):
        refused(
            buyer,
            *("marketplace", "book", "--quote", quote["id"], "--yes"),
            code=FAILED,
            says="expired",
        )


def _set(answer: dict[str, Any], *path: str, value: object) -> None:
    (quote,) = answer["items"]
    for key in path[:-1]:
        quote = quote[key]
    quote[path[-1]] = value


ALTERATIONS: list[tuple[tuple[str, ...], object]] = [
    (("terms", "amount"), "999999"),
    (("terms", "provider"), "0x" + "11" * 20),
    (("terms", "buyer"), "0x" + "11" * 20),
    (("terms", "ends_at"), 4_000_000_000),
    (("terms", "listing"), "0x" + "11" * 32),
    (("terms", "salt"), "1"),
    (("price", "per_hour"), "1"),
    (("inputs", "idle_seconds"), 10_000),
    (("booking_id",), "0x" + "11" * 32),
    (("signature",), "0x" + "11" * 65),
    (("gpu", "listing", "base_price"), "1"),
]


@pytest.fixture
def dear_gpu(token_market: LocalMarket) -> str:
    """A GPU of nobody else's, as a quote reserves it even when the quote is then altered."""
    return Provider(token_market).list_gpu(base_price=7_200_000)


@pytest.mark.parametrize(("path", "value"), ALTERATIONS, ids=str)
def test_altered_quote(
    token_market: LocalMarket, buyer: User, dear_gpu: str, path: tuple[str, ...], value: object
) -> None:
    with altering(token_market, path, value) as liar, Unchanged(token_market, buyer):
        done = run_here(buyer, *book(dear_gpu), AITBC_COORDINATOR_URL=liar)
    assert_refused(done, FAILED, NOT_ASKED_FOR)


def test_an_altered_quote_is_refused_by_the_installed_program(
    token_market: LocalMarket, buyer: User, dear_gpu: str
) -> None:
    path, value = ALTERATIONS[0]
    with altering(token_market, path, value) as liar, Unchanged(token_market, buyer):
        refused(
            buyer,
            *book(dear_gpu),
            code=FAILED,
            says=NOT_ASKED_FOR,
            AITBC_COORDINATOR_URL=liar,
        )


def altering(
    market: LocalMarket, path: tuple[str, ...], value: object
) -> AbstractContextManager[str]:
    """A coordinator that puts `value` into every quote."""
    url = market.coordinator_url
    return lying_coordinator(url, "/v1/quotes", lambda q: _set(q, *path, value=value))


def test_listing_signed_by_another_wallet(token_market: LocalMarket) -> None:
    owner, thief = Provider(token_market), Provider(token_market)
    wanted = listing(owner.address)
    forged = SignedListing(listing=wanted, signature=sign(thief.account, wanted, owner.domain))
    with pytest.raises(CoordinatorError) as refusal:
        thief.coordinator.list_gpu(forged)
    assert (refusal.value.status, refusal.value.problem) == (403, "wrong-signer")
    assert owner.coordinator.gpus(provider=owner.address).items == []


def test_updating_somebody_elses_gpu(
    token_market: LocalMarket, provider: User, buyer: User, gpu_id: str
) -> None:
    with Unchanged(token_market, provider), Unchanged(token_market, buyer):
        refused(
            buyer,
            *("marketplace", "gpu", "update", "--gpu-id", gpu_id, "--base-price", "9"),
            code=NOT_AUTHORISED,
            says=gpu_id,
        )


def test_booking_that_does_not_exist(token_market: LocalMarket, buyer: User) -> None:
    missing = "0x" + "ab" * 32
    with Unchanged(token_market, buyer):
        refused(buyer, "booking", "show", missing, code=FAILED, says="booking")
        for verb, *yes in (("watch",), ("cancel", "--yes"), ("reclaim", "--yes")):
            done = run_here(buyer, "booking", verb, missing, *yes)
            assert_refused(done, FAILED, "booking")


def test_heartbeats_replayed_or_for_anothers_booking(token_market: LocalMarket) -> None:
    owner, thief, customer = (kind(token_market) for kind in (Provider, Provider, Buyer))
    token_market.fund(customer.address, 10**17, 10**6)
    gpu = owner.list_gpu()
    owner.open_session()
    thief.open_session()
    quote = customer.quote(gpu, 8)
    customer.fund(quote.terms)
    starts_at, booking = quote.terms.starts_at, quote.booking_id
    time.sleep(max(0, starts_at + 2 - time.time()))

    first = owner.beat(booking, 1, starts_at, starts_at + 1)
    assert owner.beat(booking, 1, starts_at, starts_at + 1) == first
    for attempt, problem in (
        (lambda: owner.beat(booking, 1, starts_at, starts_at + 2), "replayed"),
        (lambda: thief.beat(booking, 2, starts_at + 1, starts_at + 2), "wrong-signer"),
        (lambda: owner.beat("0x" + "cd" * 32, 2, starts_at, starts_at + 1), "unknown-booking"),
        (lambda: owner.beat(booking, 2, starts_at - 2, starts_at), "outside-booking"),
    ):
        with pytest.raises(CoordinatorError) as refusal:
            attempt()
        assert refusal.value.problem == problem
    assert owner.coordinator.booking(booking).used_seconds == 1
