"""What gas is measured with: a node without chance, a floor that does its work, clear refusals."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hexbytes import HexBytes

import bench
from benchmark import Benchmark, Measured, Row
from gas import cases, verbs
from gas.chain import Call, Chain
from gas.market import Market, deploy_test_dollar
from local_market import LocalMarketError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    made = Chain(tmp_path_factory.mktemp("node"))
    yield made
    made.node.stop()


@pytest.fixture(scope="module", params=["native", "token"])
def market(request: pytest.FixtureRequest, chain: Chain) -> Market:
    return Market(chain, None if request.param == "native" else deploy_test_dollar(chain))


def balance(market: Market, account: str) -> int:
    if market.token is None:
        return market.chain.web3.eth.get_balance(account)
    return int(market.token.contract.functions.balanceOf(account).call())


def test_the_floor_moves_the_money(market: Market) -> None:
    booked = market.booked("moves")
    amount, provider = booked.terms.amount, booked.terms.provider
    before = balance(market, market.floor.address), balance(market, provider)

    market.fund_floor(booked)
    assert balance(market, market.floor.address) == before[0] + amount

    market.chain.gas(market.settle_floor_call(booked))
    assert balance(market, market.floor.address) == before[0] > 0
    assert balance(market, provider) == before[1] + amount


def test_what_stands_is_not_empty(market: Market) -> None:
    fees = market.escrow.functions.owed(market.fee_recipient.address).call()

    assert fees > 0
    assert balance(market, market.escrow.address) > fees


def test_measured_again_it_is_the_same(market: Market) -> None:
    case = cases.Case("fund", "", verbs.fund)

    assert case.row(market) == case.row(market)


def test_a_verb_that_reverts_is_no_figure(market: Market) -> None:
    booked = market.funded("too early")
    dispute = market.escrow.functions.dispute(booked.values)

    with pytest.raises(LocalMarketError, match="dispute reverted: 0x"):
        market.chain.gas(Call(booked.terms.buyer, dispute))


def test_what_is_not_in_the_block_is_no_figure(chain: Chain) -> None:
    with pytest.raises(LocalMarketError, match="mint is not in the block"):
        chain._mine([("mint", HexBytes(bytes(32)))])


def test_stale_artifacts_are_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts")
    monkeypatch.setattr(cases, "ROOT", tmp_path)
    cases.require_fresh_artifacts()
    with (tmp_path / "contracts/NativeEscrow.sol").open("a") as file:
        file.write("\n")

    with pytest.raises(LocalMarketError, match="NativeEscrow is stale: run `ape run compile`"):
        cases.require_fresh_artifacts()


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("a", "", 110, "gas", goal=1.1, floor=100, goal_of="ratio"), True),
        (Row("a", "", 110_001, "gas", goal=1.1, floor=100_000, goal_of="ratio"), False),
        (Row("a", "", 110, "gas", goal=110, floor=1), True),
        (Row("a", "", 111, "gas", goal=110), False),
        (Row("a", "", 2, "times", goal=2, bound="least"), True),
        (Row("a", "", 1.99, "times", goal=2, bound="least"), False),
        (Row("a", "", 111, "gas", floor=1), None),
    ],
)
def test_a_goal_is_the_most_or_the_least_that_is_accepted(row: Row, holds: bool | None) -> None:
    assert row.as_dict()["holds"] is holds


def test_a_benchmark_without_a_snapshot_refuses_to_write_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timing = Benchmark("timing", "differs", lambda: Measured({}, ()))
    monkeypatch.setattr(bench, "BENCHMARKS", {"timing": timing})
    monkeypatch.setattr(sys, "argv", ["bench", "timing", "--snapshot"])

    with pytest.raises(SystemExit) as stopped:
        bench.main()

    assert stopped.value.code == 2
    assert "timing differs from run to run and has no snapshot" in capsys.readouterr().err
